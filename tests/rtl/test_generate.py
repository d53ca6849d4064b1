"""What `dtss-rtl generate` writes, and what it refuses."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dtss.compiler.schedule.dram import transfers
from dtss.compiler.schedule.errors import BadInputError
from dtss.compiler.schedule.io import LoadedSchedule, load
from dtss.rtl.engine import COUNTERS, Engine, engine_for
from dtss.rtl.generate import MANIFEST, TOP, generate, leaf_modules, read_manifest
from dtss.rtl.memory_image import bits_of, hex_text, integer_of_row, integers_of, pack_fields
from dtss.rtl.places import step_vector
from dtss.rtl.program import FILL, RUN, ProgramRow, program
from dtss.rtl.shell import loader_for, shell_for, transfer_rows

GOLDEN = Path(__file__).parent / "golden"


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def program_of(loaded: LoadedSchedule) -> tuple[tuple[ProgramRow, ...], Engine]:
    rows = program(loaded.schedule, loaded.tensors)
    return rows, engine_for(loaded.schedule, len(rows))


def part_of(loaded: LoadedSchedule, name: str, part: str) -> dict[str, object]:
    """Fields of the first run of a node."""
    nodes = loaded.schedule.nodes
    row = next(row for row in program_of(loaded)[0] if nodes[row.node].name == name and row.operation == RUN)
    return dict(dict(row.parts)[part])


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("file", [f"rtl/{TOP}.v", "README.md"])
def test_the_generated_text_is_the_golden_one(
    file: str, streams: bool, small_schedule: Callable[..., Path], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    generate(
        load(small_schedule((12, 4, 21, 3, 2) if streams else (16, 16, 32, 4, 1), streams=streams)), tmp_path / "out"
    )
    path = Path(file)
    golden = GOLDEN / f"{path.stem}_{'streams' if streams else 'resident'}{path.suffix}"
    text = (tmp_path / "out" / file).read_text()
    if request.config.getoption("--update-golden"):
        golden.write_text(text)
    assert text == golden.read_text(), "if the change is meant, run pytest with --update-golden"


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
    with pytest.raises(BadInputError, match=r"is not a dtss-rtl/2 manifest.*give a folder written by"):
        read_manifest(tmp_path)


def test_bit_t_of_a_step_vector_is_step_t() -> None:
    assert step_vector(()) == 0
    assert step_vector((0, 2)) == 0b101
    assert step_vector((3,)) == 0b1000


def test_a_run_holds_the_schedules_steps(small: LoadedSchedule) -> None:
    stem, q = (part_of(small, name, "layer") for name in ("stem.conv", "q.linear"))
    assert (stem["state_steps"], stem["active_steps"]) == (0b111, 0b101)
    assert (stem["slot_steps"], stem["reused_steps"]) == (0b001, 0b110)
    assert (stem["membrane_reads"], stem["membrane_writes"]) == (0, 0), (
        "time innermost: the membrane stays in a register"
    )
    assert (stem["leak_fixed"], stem["leak_multiplier"], stem["leak_shift"], stem["hard_reset"]) == (1, 157, 8, False)
    assert (stem["planes"], stem["group_planes"], stem["group_slots"]) == (4, 0, 1)
    assert (q["slot_steps"], q["walk_slot_stride"], q["hard_reset"]) == (0b101, 2, True)


def test_membrane_steps_are_configured_where_time_is_outermost(small_schedule: Callable[..., Path]) -> None:
    stem = part_of(load(small_schedule(order="outer")), "stem.conv", "layer")
    assert (stem["membrane_reads"], stem["membrane_writes"]) == (0b110, 0b011)


def test_the_program_has_a_row_for_each_block_and_each_head(small_schedule: Callable[..., Path]) -> None:
    """Four columns: most layers have several output tiles, and these schedules cut them into two blocks."""
    loaded = load(small_schedule((12, 4, 21, 3, 2)))
    rows, _ = program_of(loaded)
    names = [(loaded.schedule.nodes[row.node].name, row.operation, row.block, row.group) for row in rows]
    assert [name for name in names if name[0] == "q.linear"] == [("q.linear", RUN, 0, 0), ("q.linear", RUN, 1, 0)]
    heads = [("kv", operation, 0, head) for head in (0, 1) for operation in (FILL, RUN)]
    assert [name for name in names if name[0] == "kv"] == heads
    assert "dead.linear" not in {name[0] for name in names}


@pytest.mark.parametrize("streams", [False, True])
def test_a_transfer_waits_for_what_it_overwrites_and_a_row_for_its_transfer(
    streams: bool, small_schedule: Callable[..., Path]
) -> None:
    loaded = load(small_schedule((12, 4, 21, 3, 2), streams=streams))
    rows, engine = program_of(loaded)
    shell = shell_for(loaded.schedule)
    table = transfer_rows(loaded.schedule, loader_for(engine, shell), shell, rows)
    assert any(transfer.after for transfer in table) is streams
    names = [node.name for node in loaded.schedule.nodes]
    users = [  # rows of the program that use what each transfer brings
        [number for number, row in enumerate(rows[:-1]) if (names[row.node], row.block) == (move.node, move.block)]
        for move in transfers(loaded.schedule)
    ]
    assert all(rows[used[0]].transfers_needed == move + 1 for move, used in enumerate(users))
    for memory in ("weight", "parameter"):
        depth = getattr(engine, f"{memory}_rows")
        content: dict[int, int] = {}  # row → transfer whose rows are there
        for number, transfer in enumerate(table):
            first = getattr(transfer, f"first_{memory}_row")
            for row in range(first, first + getattr(transfer, f"{memory}_rows")):
                over = content.get(row % depth)
                if over is not None:
                    assert max(users[over]) < transfer.after, (memory, number, over)
                content[row % depth] = number


def test_counters_are_numbered_as_in_the_cycle_rules() -> None:
    text = next(path for path in leaf_modules() if path.stem == "performance_counters").read_text()
    listed = re.findall(r"^        {.*}[,;]?\s+// (\w+)$", text, re.MULTILINE)
    assert listed == list(reversed(COUNTERS)), "the highest number comes first"


@pytest.mark.parametrize("part", ["gather", "sequence", "layer", "stationary", "elementwise"])
def test_fields_are_packed_in_the_order_of_the_verilog(part: str, small: LoadedSchedule) -> None:
    _, engine = program_of(small)
    text = next(path for path in leaf_modules() if path.stem == f"{part}_fields").read_text()
    order = text.split("assign {")[1].split("}")[0].replace("\n", " ").split(",")
    assert [name.strip() for name in order] == list(getattr(engine, f"{part}_widths"))


def test_bits_and_integers_are_inverse() -> None:
    values = np.array([[-128, -1, 0, 1, 127]])
    assert (integers_of(bits_of(values, 8), signed=True) == values).all()
    assert integers_of(bits_of(np.array([255]), 8), signed=False).tolist() == [255]
    assert bits_of(np.array([-1]), 70).sum() == 70


def test_the_last_field_is_in_the_lowest_bits() -> None:
    rows = pack_fields({"high": 3, "low": 6}, {"high": np.array([5]), "low": np.array([[1, 2, 3]])})
    assert integer_of_row(rows[0]) == 5 << 6 | 0b11_10_01
    assert hex_text(rows) == "179\n"
