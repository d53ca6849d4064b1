"""What `dtss-rtl generate` writes, and what it refuses."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from dtss.compiler.schedule.cycles import Counts
from dtss.compiler.schedule.errors import BadInputError, UnsupportedError
from dtss.compiler.schedule.format import Lif, Value
from dtss.compiler.schedule.io import LoadedSchedule, load
from dtss.compiler.schedule.numerics import FixedLeak
from dtss.rtl.engine import engine_for
from dtss.rtl.generate import (
    MANIFEST,
    TOP,
    configuration,
    descriptors,
    generate,
    leaf_modules,
    read_manifest,
    step_vector,
)
from dtss.rtl.layout import Layout, layout_of
from dtss.rtl.memory_image import bits_of, hex_text, integer_of_row, integers_of, pack_fields

GOLDEN = Path(__file__).parent / "golden"


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def layouts_of(loaded: LoadedSchedule) -> list[Layout]:
    return [layout_of(loaded.schedule, node) for node in loaded.schedule.products]


def fields_of(widths: dict[str, int], row: np.ndarray) -> dict[str, int]:
    """The inverse of pack_fields for one row."""
    values, start = {}, 0
    for name in reversed(widths):
        values[name] = integer_of_row(row[start : start + widths[name]])
        start += widths[name]
    return values


def test_the_generated_top_is_the_golden_one(small: LoadedSchedule, tmp_path: Path) -> None:
    generate(small, tmp_path / "out")
    golden = GOLDEN / f"{TOP}.v"
    text = (tmp_path / "out" / "rtl" / f"{TOP}.v").read_text()
    assert text == golden.read_text(), f"if the change is meant, copy the new text to {golden}"


def test_the_same_schedule_gives_the_same_bytes(small: LoadedSchedule, tmp_path: Path) -> None:
    generate(small, tmp_path / "a")
    generate(small, tmp_path / "b")
    first = tree(tmp_path / "a")
    assert first == tree(tmp_path / "b")
    generate(small, tmp_path / "a")  # over its own folder
    assert tree(tmp_path / "a") == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "small.json", "small.safetensors"]


def test_leaf_modules_are_copied_verbatim_and_the_manifest_lists_every_file(
    small: LoadedSchedule, tmp_path: Path
) -> None:
    manifest = generate(small, tmp_path / "out")
    files = tree(tmp_path / "out")
    for path in leaf_modules():
        assert files[f"rtl/{path.name}"] == path.read_bytes()
    assert set(files) - {MANIFEST} == set(manifest.files)
    assert read_manifest(tmp_path / "out") == manifest
    assert [entry.name for entry in manifest.layers] == [node.name for node in small.schedule.products]


def test_a_folder_that_is_not_ours_stays_as_it_is(small: LoadedSchedule, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep me")
    with pytest.raises(BadInputError, match=r"manifest\.json: cannot be read"):
        generate(small, tmp_path / "mine")
    assert tree(tmp_path / "mine") == {"notes.txt": b"keep me"}
    (tmp_path / "file").write_text("a file")
    with pytest.raises(BadInputError, match="is not a folder"):
        generate(small, tmp_path / "file")


@pytest.mark.parametrize("content", [b"{}", b"not json", b"\xff"])
def test_a_damaged_manifest_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_bytes(content)
    with pytest.raises(BadInputError, match=r"is not a dtss-rtl/1 manifest.*give a folder written by"):
        read_manifest(tmp_path)


def test_bit_t_of_a_step_vector_is_step_t() -> None:
    assert step_vector(()) == 0
    assert step_vector((0, 2)) == 0b101
    assert step_vector((3,)) == 0b1000


def test_the_configuration_holds_the_schedules_steps(small: LoadedSchedule) -> None:
    layouts = layouts_of(small)
    engine = engine_for(small.schedule, layouts)
    stem, q = (
        fields_of(engine.layer_widths, configuration(small.schedule, engine, layout)[0]) for layout in layouts[:2]
    )
    assert (stem["state_steps"], stem["active_steps"]) == (0b111, 0b101)
    assert (stem["slot_steps"], stem["reused_steps"]) == (0b001, 0b110)
    assert (stem["membrane_reads"], stem["membrane_writes"]) == (0, 0), (
        "time innermost: the membrane stays in a register"
    )
    assert (stem["leak_fixed"], stem["leak_multiplier"], stem["leak_shift"], stem["hard_reset"]) == (1, 157, 8, 0)
    assert (stem["planes"], stem["group_planes"], stem["group_slots"]) == (4, 0, 1)
    assert (q["slot_steps"], q["walk_slot_stride"], q["hard_reset"]) == (0b101, 2, 1)


def test_membrane_steps_are_configured_where_time_is_outermost(small_schedule: Callable[..., Path]) -> None:
    loaded = load(small_schedule(order="outer"))
    layouts = layouts_of(loaded)
    engine = engine_for(loaded.schedule, layouts)
    stem = fields_of(engine.layer_widths, configuration(loaded.schedule, engine, layouts[0])[0])
    assert (stem["membrane_reads"], stem["membrane_writes"]) == (0b110, 0b011)
    rows = descriptors(engine, layouts[0])
    windows = {fields_of(engine.descriptor_widths, row)["window"] for row in rows}
    assert windows == {0b001, 0b010, 0b100}


def test_descriptors_are_the_pass_table(small: LoadedSchedule) -> None:
    layouts = layouts_of(small)
    engine = engine_for(small.schedule, layouts)
    assert [layout.node.name for layout in layouts if not layout.runs] == ["dead.linear"]
    for layout in (layout for layout in layouts if layout.runs):
        rows = [fields_of(engine.descriptor_widths, row) for row in descriptors(engine, layout)]
        assert [row["last"] for row in rows] == [0] * (len(rows) - 1) + [1]
        assert [row["rows"] for row in rows] == layout.table.rows.tolist()
        assert [row["columns"] for row in rows] == layout.table.columns.tolist()
        assert [row["walks"] for row in rows] == (layout.table.walk > 0).astype(int).tolist()
        ends = [row["word_base"] + row["words"] for row in rows]
        assert max(ends) <= layout.flag_rows * engine.group


def test_a_block_is_a_run_of_the_engine(small_schedule: Callable[..., Path]) -> None:
    """Five columns: most layers have several output tiles, and these schedules cut them into two blocks."""
    loaded = load(small_schedule((12, 5, 21, 3, 2)))
    layouts = layouts_of(loaded)
    engine = engine_for(loaded.schedule, layouts)
    assert max(len(layout.block_starts) for layout in layouts) == 2
    for layout in (layout for layout in layouts if layout.runs):
        last = [fields_of(engine.descriptor_widths, row)["last"] for row in descriptors(engine, layout)]
        assert [row + 1 for row, ends in enumerate(last) if ends] == [*layout.block_starts[1:], len(last)]


def test_counters_are_numbered_as_in_the_cycle_rules() -> None:
    text = next(path for path in leaf_modules() if path.stem == "performance_counters").read_text()
    for number, name in enumerate(Counts.__struct_fields__):
        assert (
            f"5'd{number}: value = {name};" in text
            or f"5'd{number}: value = {{COUNTER_BITS{{1'b0}}}};  // {name}:" in text
        )


@pytest.mark.parametrize("module", ["descriptor_fields", "layer_fields"])
def test_fields_are_packed_in_the_order_of_the_verilog(module: str, small: LoadedSchedule) -> None:
    engine = engine_for(small.schedule, layouts_of(small))
    text = next(path for path in leaf_modules() if path.stem == module).read_text()
    order = text.split("assign {")[1].split("}")[0].replace("\n", " ").split(",")
    widths = engine.descriptor_widths if module == "descriptor_fields" else engine.layer_widths
    assert [name.strip() for name in order] == list(widths)


def with_first_lif(loaded: LoadedSchedule, **changes: object) -> LoadedSchedule:
    nodes = list(loaded.schedule.nodes)
    index = next(index for index, node in enumerate(nodes) if isinstance(node, Lif))
    nodes[index] = msgspec.structs.replace(nodes[index], **changes)
    return LoadedSchedule(msgspec.structs.replace(loaded.schedule, nodes=tuple(nodes)), loaded.tensors)


def test_a_leak_above_one_is_unsupported(small: LoadedSchedule, tmp_path: Path) -> None:
    wrong = with_first_lif(small, leak=FixedLeak(257, 8))
    with pytest.raises(UnsupportedError) as caught:
        generate(wrong, tmp_path / "out")
    assert str(caught.value) == (
        "stem.lif.leak: found 257 / 2^8; the LIF unit takes a leak from 0 to 1 with at most 63 fraction bits"
    )
    assert not (tmp_path / "out").exists()


def test_what_does_not_fit_its_field_is_unsupported(small: LoadedSchedule, tmp_path: Path) -> None:
    wrong = with_first_lif(small, membrane=Value(low=-(1 << 24), high=0))
    with pytest.raises(
        UnsupportedError, match=r"^stem\.conv: membrane: needs 25, the engine has 24; compile for wider"
    ):
        generate(wrong, tmp_path / "out")
    tensors = dict(small.tensors) | {"stem.lif.threshold": np.full(7, 1 << 30, np.int32)}
    with pytest.raises(UnsupportedError, match=r"^stem\.conv: threshold: needs 32, the engine has 24"):
        generate(LoadedSchedule(small.schedule, tensors), tmp_path / "out")


def test_bits_and_integers_are_inverse() -> None:
    values = np.array([[-128, -1, 0, 1, 127]])
    assert (integers_of(bits_of(values, 8), signed=True) == values).all()
    assert integers_of(bits_of(np.array([255]), 8), signed=False).tolist() == [255]
    assert bits_of(np.array([-1]), 70).sum() == 70


def test_the_last_field_is_in_the_lowest_bits() -> None:
    rows = pack_fields({"high": 3, "low": 6}, {"high": np.array([5]), "low": np.array([[1, 2, 3]])})
    assert integer_of_row(rows[0]) == 5 << 6 | 0b11_10_01
    assert hex_text(rows) == "179\n"
