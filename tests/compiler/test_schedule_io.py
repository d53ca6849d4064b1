"""schedule.json and its tensors: written whole, read back the same, and every damage named."""

import copy
import errno
import hashlib
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from dtss.compiler.frontend.source import Source
from dtss.compiler.passes.base import Target
from dtss.compiler.pipeline import Compiled, compile_graph
from dtss.compiler.schedule import io
from dtss.compiler.schedule.check import INVARIANTS
from dtss.compiler.schedule.errors import BadInputError
from dtss.compiler.schedule.hardware import load_hardware
from tests.compiler.small_networks import spike_residual

Document = dict[str, Any]
Edit = Callable[[Document], object]


@pytest.fixture(scope="module")
def small() -> Compiled:
    return compile_graph(spike_residual(), Target(load_hardware("edge-16x16")))


@pytest.fixture
def path(small: Compiled, tmp_path: Path) -> Path:
    path = tmp_path / "small.json"
    io.save(path, small.schedule, small.tensors)
    return path


def refusal(path: Path) -> str:
    """The sentence with which `path` is refused, its folder left out."""
    with pytest.raises(BadInputError) as error:
        io.load(path)
    return str(error.value).replace(f"{path.parent}/", "")


def test_round_trip(digits: Source, compiled: Compiled, tmp_path: Path) -> None:
    tensors = compiled.tensors | digits.sample_tensors()
    bound = io.save(tmp_path / "digits.json", compiled.schedule, tensors)
    loaded = io.load(tmp_path / "digits.json")
    assert loaded.schedule == bound
    assert loaded.schedule.nodes == compiled.schedule.nodes
    assert set(loaded.tensors) == set(tensors)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(loaded.tensors[name], tensor)
        assert loaded.tensors[name].dtype == tensor.dtype
    assert sorted(file.name for file in tmp_path.iterdir()) == ["digits.json", "digits.safetensors"]
    assert (tmp_path / "digits.json").stat().st_mode & 0o777 == 0o644


def test_same_schedule_same_bytes(small: Compiled, path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    io.save(other / "small.json", small.schedule, dict(reversed(small.tensors.items())))
    for suffix in (".json", ".safetensors"):
        assert (other / "small").with_suffix(suffix).read_bytes() == path.with_suffix(suffix).read_bytes()


def test_text_is_the_encoding_with_short_lists_on_one_line(path: Path) -> None:
    text = path.read_text()
    assert '      "shape": [4, 4, 1],\n' in text
    assert max(map(len, text.splitlines())) <= 118
    assert io.encode(io.decode(text.encode(), "text")) == text.encode()


def test_other_tensors_are_refused(path: Path) -> None:
    side_car = path.with_suffix(".safetensors")
    before = hashlib.sha256(side_car.read_bytes()).hexdigest()
    side_car.write_bytes(side_car.read_bytes()[:-1] + b"\x7f")
    after = hashlib.sha256(side_car.read_bytes()).hexdigest()
    assert refusal(path) == (
        f"small.json: tensors.sha256: small.safetensors has {after[:12]}…, the schedule was compiled with "
        f"{before[:12]}…; recompile, or restore the file that belongs to this schedule"
    )


def test_missing_tensors_are_named(path: Path) -> None:
    path.with_suffix(".safetensors").unlink()
    assert refusal(path) == (
        "small.safetensors: cannot be read as the schedule's tensors (No such file or directory); check the path"
    )


def test_missing_schedule_is_named(tmp_path: Path) -> None:
    assert (
        refusal(tmp_path / "no.json")
        == "no.json: cannot be read as a schedule (No such file or directory); check the path"
    )
    assert refusal(tmp_path / ".").endswith("cannot be read as a schedule (Is a directory); check the path")


def test_side_car_that_is_no_safetensors_file(path: Path) -> None:
    path.with_suffix(".safetensors").write_bytes(b"hello")
    edit(path, put("tensors.sha256", hashlib.sha256(b"hello").hexdigest()))
    assert refusal(path).startswith("small.safetensors: is not a safetensors file (")


@pytest.mark.parametrize("name", ["../small.safetensors", "folder/x", "/etc/passwd", "a\0b"])
def test_side_car_outside_the_folder_is_refused(path: Path, name: str) -> None:
    edit(path, put("tensors.file", name))
    assert refusal(path) == (f"small.json: tensors.file: found {name!r}; name a file in the schedule's own folder")


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_side_car_that_is_a_folder_is_refused(path: Path, name: str) -> None:
    edit(path, put("tensors.file", name))
    refusal(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Input data was truncated"),
        (b'{"format": "dtss-sch', "Input data was truncated"),
        (b"[]", "Expected `object`, got `array`"),
        (b"\xff\xfe", "JSON is malformed: invalid character (byte 0)"),
        (b'{"network": "\xff"}', "Object missing required field"),
        (b'{"format": "dtss-schedule/9"}', "Invalid enum value 'dtss-schedule/9' - at `$.format`"),
    ],
)
def test_text_that_is_no_schedule(path: Path, content: bytes, reason: str) -> None:
    path.write_bytes(content)
    sentence = refusal(path)
    assert sentence.startswith("small.json: is not a valid dtss-schedule/1 file: ")
    assert sentence.endswith("; recompile it with dtss-compile")
    assert reason in sentence or b"\xff" in content


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_truncated_schedule(path: Path, share: float) -> None:
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert refusal(path) == (
        "small.json: is not a valid dtss-schedule/1 file: Input data was truncated; recompile it with dtss-compile"
    )


def test_deep_nesting(path: Path) -> None:
    path.write_text('{"network": ' + "[" * 100_000 + "]" * 100_000 + "}")
    assert refusal(path).startswith("small.json: is ")
    path.write_text('{"surprise": ' + "[" * 100_000 + "]" * 100_000 + "}")
    assert refusal(path).startswith("small.json: is ")


def put(field: str, value: object) -> Edit:
    """Set `a.b`, or `name/a.b` of the node of that name; a number is an index."""

    def change(document: Document) -> None:
        name, _, rest = field.rpartition("/")
        target: Any = next(node for node in document["nodes"] if node["name"] == name) if name else document
        *parents, last = rest.split(".")
        for part in parents:
            target = target[int(part) if isinstance(target, list) else part]
        target[last] = value

    return change


def drop(field: str) -> Edit:
    def change(document: Document) -> None:
        del document[field]

    return change


def integrate(**steps: list[int]) -> Edit:
    """Adds an integrator of the logits."""

    def change(document: Document) -> None:
        head = next(node for node in document["nodes"] if node["name"] == "head")
        late = {"kind": "integrator", "name": "late", "inputs": ["head"], "leak": {"kind": "shift", "shift": 1}}
        document["nodes"].append(late | {key: head[key] for key in ("shape", "value")} | {"steps": steps})

    return change


def swap(first: int, second: int) -> Edit:
    def change(document: Document) -> None:
        nodes = document["nodes"]
        nodes[first], nodes[second] = nodes[second], nodes[first]

    return change


def edit(path: Path, *changes: Edit) -> None:
    document = json.loads(path.read_text())
    for change in changes:
        change(document)
    path.write_text(json.dumps(document))


TYPED: list[tuple[Edit, str]] = [
    (put("surprise", 1), "Object contains unknown field `surprise`"),
    (put("stem.conv/surprise", 1), "Object contains unknown field `surprise` - at `$.nodes[1]`"),
    (put("stem.conv/kind", "softmax"), "Invalid value 'softmax' - at `$.nodes[1].kind`"),
    (put("stem.conv/stride", "1"), "Expected `int`, got `str` - at `$.nodes[1].stride`"),
    (put("stem.lif/leak.kind", "slow"), "Invalid value 'slow' - at `$.nodes[2].leak.kind`"),
    (drop("format"), "Object missing required field `format`"),
    (drop("hardware"), "Object missing required field `hardware`"),
    (put("hardware.widths.weight", 8.5), "Expected `int`, got `float` - at `$.hardware.widths.weight`"),
]


@pytest.mark.parametrize(("change", "reason"), TYPED, ids=[reason for _, reason in TYPED])
def test_wrong_types_are_named_by_path(path: Path, change: Edit, reason: str) -> None:
    edit(path, change)
    assert refusal(path) == (
        f"small.json: is not a valid dtss-schedule/1 file: {reason}; recompile it with dtss-compile"
    )


VIOLATIONS: list[tuple[str, Edit, str]] = [
    ("_whole", put("time_steps", 0), "time_steps: found 0; give 1 to 64"),
    ("_whole", put("time_steps", 65), "time_steps: found 65; give 1 to 64"),
    ("_whole", put("nodes", []), "nodes: the first node is not the image; recompile"),
    ("_whole", swap(0, 1), "nodes: the first node is not the image; recompile"),
    ("_whole", put("preprocess.std", [0.0]), "preprocess: mean is empty or a std is 0; recompile"),
    ("_whole", put("preprocess.mean", []), "preprocess: mean is empty or a std is 0; recompile"),
    ("_names", put("stem.lif/name", "image"), "nodes[2] image: the name occurs twice; give every node its own name"),
    (
        "_names",
        put("stem.conv/inputs", ["head"]),
        "nodes[1] stem.conv.inputs: head is not computed before it; put nodes in execution order",
    ),
    ("_names", put("stem.conv/inputs", []), "nodes[1] stem.conv.inputs: found 0; convolution takes 1"),
    ("_names", put("attn.add/inputs", ["image"]), "nodes[15] attn.add.inputs: found 1; add takes two or more"),
    (
        "_names",
        lambda document: document["nodes"].append(document["nodes"][0] | {"name": "second"}),
        "nodes[23] second: is a second image; a schedule has one",
    ),
    ("_names", put("output.node", "tail"), "output.node: tail is no node; name the node that computes the logits"),
    ("_numbers", put("preprocess.mean", [0.0, 0.0]), "preprocess.mean: found 2 numbers; the image has 1 channels"),
    ("_numbers", put("preprocess.pixel_max", 9), "preprocess.pixel_max: found 9; the image's values go up to 15"),
    ("_numbers", put("stem.conv/stride", 0), "stem.conv.stride: found 0; give 1 to 1048576"),
    ("_numbers", put("stem.conv/padding", -1), "stem.conv.padding: found -1; give 0 to 1048576"),
    ("_numbers", put("stem.pool/stride", 0), "stem.pool.stride: found 0; give 1 to 1048576"),
    ("_numbers", put("stem.pool/kernel", -3), "stem.pool.kernel: found -3; give 1 to 1048576"),
    ("_numbers", put("attn.product/heads", 0), "attn.product.heads: found 0; give 1 to 1048576"),
    (
        "_numbers",
        put("attn.product/heads", 3),
        "attn.product.heads: found 3; choose a divisor of attn.q.lif's 4 channels",
    ),
    ("_numbers", put("head/current_shift", -1), "head.current_shift: found -1; give 0 to 47"),
    ("_numbers", put("stem.lif/leak.shift", 64), "stem.lif.leak.shift: found 64; give 1 to 47"),
    (
        "_numbers",
        put("stem.lif/leak", {"kind": "fixed", "multiplier": 5, "fraction_bits": 2}),
        "stem.lif.leak.multiplier: found 5; give 0 to 4",
    ),
    (
        "_numbers",
        put("stem.lif/leak", {"kind": "fixed", "multiplier": 0, "fraction_bits": -1}),
        "stem.lif.leak.fraction_bits: found -1; give 0 to 47",
    ),
    (
        "_numbers",
        put("head/value", {"low": 3, "high": 2}),
        "head.value: found 3 … 2; put the lower bound first",
    ),
    (
        "_numbers",
        put("head/value.high", 2**60),
        f"head.value.high: found {2**60}; give {-(2**48)} to {2**48}",
    ),
    (
        "_steps",
        put("image/steps", {"active": [0], "reused": [1, 2]}),
        "image.steps: the lists hold [0, 1, 2]; together they hold each of [0, 1, 2, 3] once",
    ),
    (
        "_steps",
        put("image/steps", {"reused": [0, 1, 2, 3]}),
        "image.steps.reused: no active step to reuse; make one step active",
    ),
    (
        "_steps",
        put("image/steps", {"active": [0], "reused": [1, 2, 3], "why": ["", "x"]}),
        "image.steps.why: 2 entries; give 4 or none",
    ),
    (
        "_steps",
        put("image/steps", {"active": [0], "reused": [3, 1, 2]}),
        "image.steps.reused: found (3, 1, 2); list steps in ascending order",
    ),
    (
        "_lif",
        put("stem.lif/mask_steps", [0]),
        "stem.lif.steps.active: found (0, 1); the time-step mask allows (0,)",
    ),
    (
        "_lif",
        put("stem.lif/state_steps", [1]),
        "stem.lif.state_steps: found (1,); the state is needed at every step up to 1",
    ),
    (
        "_lif",
        put("stem.lif/state_steps", [0, 1, 4]),
        "stem.lif.state_steps: found (0, 1, 4); list steps of the run in ascending order",
    ),
    (
        "_lif",
        put("stem.lif/membrane_reads", [2]),
        "stem.lif.membrane_reads: found (2,); choose from the state steps (0, 1)",
    ),
    (
        "_lif",
        put("stem.lif/membrane_writes", []),
        "stem.lif.membrane_reads: the state of step 1 is lost; write before it and read at it",
    ),
    (
        "_lif",
        put("stem.lif/threshold", "nothing"),
        "stem.lif.threshold: the side-car has no tensor nothing; recompile",
    ),
    (
        "_lif",
        put("stem.lif/threshold", "head.bias"),
        "stem.lif.threshold: head.bias is int8 (3,); an integer tensor of shape (4,) is needed; recompile",
    ),
    (
        "_tensors",
        put("stem.conv/weight", "nothing"),
        "stem.conv.weight: the side-car has no tensor nothing; recompile",
    ),
    (
        "_tensors",
        put("stem.conv/kernel", [5, 5]),
        (
            "stem.conv.weight: stem.conv.weight is int8 (4, 3, 3, 1); "
            "an integer tensor of shape (4, 5, 5, 1) is needed; recompile"
        ),
    ),
    (
        "_tensors",
        put("head/bias", "stem.lif.threshold"),
        "head.bias: stem.lif.threshold is int16 (4,); an integer tensor of shape (3,) is needed; recompile",
    ),
    (
        "_tensors",
        put("stem.conv/weight_bits", 7),
        "stem.conv.weight: stem.conv.weight holds -76 … 127; 7-bit weights are -64 … 63",
    ),
    (
        "_tensors",
        put("hardware.widths.weight", 7),
        "stem.conv.weight_bits: is 8; the array takes 2 to 7 bits; recompile",
    ),
    (
        "_tensors",
        put("stem.conv/pad_value", "spare"),
        "stem.conv.pad_value: spare holds 99 … 99; it stands for values 0 … 15; recompile",
    ),
    ("_shapes", put("image/shape", [0, 4, 1]), "image.shape: found (0, 4, 1); sizes are 1 to 1048576"),
    (
        "_shapes",
        put("stem.conv/shape", [4, 5, 4]),
        "stem.conv.shape: found (4, 5, 4); its inputs and weights give (4, 4, 4)",
    ),
    (
        "_shapes",
        put("attn.product.key_value/shape", [2, 2, 3]),
        "attn.product.key_value.shape: found (2, 2, 3); its inputs and weights give (2, 2, 2)",
    ),
    ("_shapes", put("output.classes", ["a"]), "output.classes: 1 names for shape (1, 1, 3); one name for each class"),
    (
        "_reads_of_dead_values",
        put("stem.pool/steps", {"active": [0], "dead": [1], "zero": [2, 3]}),
        "attn.q.linear.steps: reads stem.pool at steps [1], where it is dead; recompile",
    ),
    (
        "_reads_of_dead_values",
        put("head/steps", {"active": [0, 1, 2], "dead": [3]}),
        "head.steps.dead: found (3,); the logits are needed at every step",
    ),
    (
        "_neurons",
        put("stem.conv/neuron", "proj.lif"),
        "stem.conv.neuron: found proj.lif; name the LIF that reads this product",
    ),
    (
        "_neurons",
        put("stem.conv/neuron", "stem.pool"),
        "stem.conv.neuron: found stem.pool; name the LIF that reads this product",
    ),
    (
        "_shapes",
        put("attn.product/inputs", ["attn.q.lif", "attn.k.lif"]),
        "attn.product.inputs: attn.k.lif has shape (2, 2, 4); (2, 2, 2) fits",
    ),
    (
        "_neurons",
        put("stem.conv/steps", {"active": [0, 1, 2], "dead": [3]}),
        "stem.conv.steps.active: found (0, 1, 2); stem.lif only looks at steps (0, 1)",
    ),
    ("_neurons", put("stem.lif/time_order", "outer"), "stem.lif.time_order: found outer; its product runs inner"),
    ("_tilings", put("stem.conv/tiling", None), "stem.conv.tiling: is missing; recompile"),
    (
        "_tilings",
        put("image/value.low", -1),
        "stem.conv.inputs: image is signed; only unsigned values travel as bit planes",
    ),
    (
        "_tilings",
        put("stem.conv/tiling.offsets_per_word", 1),
        "stem.conv.tiling.offsets_per_word: found 1; 16 rows take 9",
    ),
    (
        "_tilings",
        put("stem.conv/tiling.positions_per_strip", 0),
        "stem.conv.tiling.positions_per_strip: found 0; give at least 1",
    ),
    (
        "_tilings",
        put("stem.conv/tiling.positions_per_strip", 33),
        "stem.conv.tiling.positions_per_strip: needs 33 slots; the array has 32",
    ),
    (
        "_tilings",
        put("attn.q.linear/tiling.positions_per_strip", 33),
        "attn.q.linear.tiling.positions_per_strip: needs 66 slots; the array has 32",
    ),
    (
        "_tilings",
        put("stem.conv/tiling.strips", 2),
        "stem.conv.tiling: found (2, 1, 1); strips, reduction_tiles and output_tiles are (1, 1, 1)",
    ),
    (
        "_tilings",
        lambda document: [put(f"stem.{x}", "outer")(document) for x in ("conv/tiling.time_order", "lif/time_order")],
        "stem.conv.tiling.time_order: is outer, yet steps are reused; run it innermost",
    ),
    (
        "_integrators",
        integrate(active=[1, 2, 3], dead=[0]),
        (
            "late.steps.active: found (1, 2, 3); zero up to the first active step, then no gap: the state is needed at "
            "every step"
        ),
    ),
    (
        "_integrators",
        integrate(active=[0, 2], zero=[1, 3]),
        (
            "late.steps.active: found (0, 2); zero up to the first active step, then no gap: the state is needed at "
            "every step"
        ),
    ),
    (
        "_integrators",
        integrate(active=[0, 1], reused=[2, 3]),
        "late.steps: has reused or bias-only steps; an integrator computes every step",
    ),
    (
        "_tilings",
        put("stem.conv/tiling.output_tiles_per_block", 2),
        "stem.conv.tiling.output_tiles_per_block: found 2; give 1 to 1",
    ),
    ("check_memory", put("memory.regions", []), "memory.regions: no weight rows for stem.conv, block 0; recompile"),
    (
        "check_memory",
        lambda document: document["memory"]["regions"].append(dict(document["memory"]["regions"][0])),
        "memory.regions[32]: weight of stem.conv, block 0, again; nothing needs it; recompile",
    ),
    (
        "check_memory",
        put("memory.regions.0.rows", 1),
        "memory.regions[0].rows: found 1; stem.conv needs 9",
    ),
    (
        "check_memory",
        put("memory.regions.1.first_row", 0),
        "memory.weight: stem.conv and attn.q.linear share rows; both are needed at once",
    ),
    (
        "check_memory",
        put("memory.regions.0.first_row", -1),
        "memory.weight: rows -1 … 7 of stem.conv; it has rows 0 … 16383",
    ),
    (
        "check_memory",
        put("memory.weights_resident", False),
        "memory.weights_resident: found False; the weights make it True",
    ),
    ("check_memory", put("memory.weight_bits", 8), "memory.weight_bits: found 8; the weights have 1408"),
    (
        "check_memory",
        put("memory.spike.needed_rows", 1),
        "memory.spike.needed_rows: found 1; it is 72; recompile",
    ),
    (
        "check_hardware",
        put("hardware.array.rows", 0),
        "hardware: array.rows: found 0; give a whole number from 1 to 1024",
    ),
    ("check_hardware", put("hardware.frequency_mhz", -1.0), "hardware: frequency_mhz: found -1.0; give a clock in MHz"),
]


def add_tensor(path: Path, name: str, tensor: np.ndarray) -> None:
    side_car = path.with_suffix(".safetensors")
    content = safetensors.numpy.save(safetensors.numpy.load_file(side_car) | {name: tensor})
    side_car.write_bytes(content)
    edit(path, put("tensors.sha256", hashlib.sha256(content).hexdigest()))


@pytest.mark.parametrize(
    ("row", "change", "sentence"), VIOLATIONS, ids=[f"{row}-{index}" for index, (row, _, _) in enumerate(VIOLATIONS)]
)
def test_each_violation_is_named_by_its_field(path: Path, row: str, change: Edit, sentence: str) -> None:
    add_tensor(path, "spare", np.array([99], np.int8))
    edit(path, change)
    assert refusal(path) == f"small.json: {sentence}"


def first_violated(path: Path) -> str:
    schedule = io.decode(path.read_bytes(), "small")
    tensors = safetensors.numpy.load_file(path.with_suffix(".safetensors"))
    return next((row.__name__ for row in INVARIANTS if next(row(schedule, tensors), None)), "none")


def test_every_row_of_the_table_is_violated_by_an_edit(path: Path) -> None:
    add_tensor(path, "spare", np.array([99], np.int8))
    whole = path.read_text()
    found = []
    for row, change, sentence in VIOLATIONS:
        if row != "check_hardware":
            path.write_text(whole)
            edit(path, change)
            found.append((sentence, row, first_violated(path)))
    assert [wrong for wrong in found if wrong[1] != wrong[2]] == []
    assert {row for _, row, _ in found} == {row.__name__ for row in INVARIANTS}


def test_schedule_that_breaks_an_invariant_is_not_written(small: Compiled, tmp_path: Path) -> None:
    tensors = {name: tensor for name, tensor in small.tensors.items() if name != "head.bias"}
    with pytest.raises(BadInputError, match=r"head\.bias: the side-car has no tensor head\.bias; recompile$"):
        io.save(tmp_path / "small.json", small.schedule, tensors)
    assert list(tmp_path.iterdir()) == []


def test_schedule_named_like_its_tensors_is_refused(small: Compiled, tmp_path: Path) -> None:
    with pytest.raises(BadInputError) as error:
        io.save(tmp_path / "small.safetensors", small.schedule, small.tensors)
    assert str(error.value) == (
        f"{tmp_path}/small.safetensors: is the name of the schedule's tensors; end the schedule's name in .json"
    )
    assert list(tmp_path.iterdir()) == []


def full_disk(*_arguments: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("call", ["fsync", "fdopen"])
def test_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    path = tmp_path / "old.txt"
    path.write_text("old")
    monkeypatch.setattr(os, call, full_disk)
    with pytest.raises(BadInputError) as error:
        io.write_atomically(path, b"new")
    assert str(error.value) == (
        f"{path}: cannot be written (No space left on device); nothing was changed; free space or choose another place"
    )
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["old.txt"]


def test_disk_that_fills_up_after_the_tensors_leaves_both_old_files(
    small: Compiled, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    other = {name: tensor * 0 if name == "head.bias" else tensor for name, tensor in small.tensors.items()}
    synced: list[int] = []

    def second_fails(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) == 2:
            full_disk()

    monkeypatch.setattr(os, "fsync", second_fails)
    with pytest.raises(BadInputError, match="No space left on device"):
        io.save(path, small.schedule, other)
    assert len(synced) == 2
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before


def test_schedule_that_is_a_folder_leaves_no_tensors_behind(small: Compiled, tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(BadInputError, match=r"folder\.json: cannot be written \(Is a directory\)"):
        io.save(tmp_path / "folder.json", small.schedule, small.tensors)
    assert [file.name for file in tmp_path.iterdir()] == ["folder.json"]


def test_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(BadInputError) as error:
        io.write_atomically(tmp_path / "no" / "file", b"x")
    assert str(error.value).startswith(f"{tmp_path}/no/file: cannot be written (No such file or directory); ")


VALUES: tuple[object, ...] = (
    None, True, 0, -1, 1, 3, 7, 2**31, 2**70, -(2**70), 0.5, -0.0, 1e308, "", "head", "stem.lif", "\0", "é\ud7ff",
    [], [0], [0, 1, 2, 3], [-1], [2**64], ["image"], {}, {"kind": "image"}, {"low": 0, "high": 1}, [[[]]], "outer",
)  # fmt: skip


def places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of every value in a JSON document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [inner for key, child in items for inner in places(child, (*path, key))]


def mutated_values(document: Document, generator: random.Random) -> str:
    changed = copy.deepcopy(document)
    place = generator.choice(places(changed))
    parent: Any = changed
    for key in place[:-1]:
        parent = parent[key]
    match generator.randrange(4):
        case 0:
            del parent[place[-1]]
        case 1:
            other: Any = changed
            for key in generator.choice(places(changed)):
                other = other[key]
            parent[place[-1]] = copy.deepcopy(other)
        case _:
            parent[place[-1]] = generator.choice(VALUES)
    return json.dumps(changed)


def mutated_bytes(content: bytes, generator: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(generator.randint(1, 3)):
        start = generator.randrange(len(changed))
        changed[start : start + generator.choice((0, 1, 1, 5))] = generator.randbytes(generator.choice((0, 1, 1, 3)))
    return bytes(changed)


@pytest.mark.parametrize("seed", range(5))
def test_any_damage_is_refused_or_harmless(path: Path, seed: int) -> None:
    """Random changes of bytes and of values: a schedule or `BadInputError`, never another exception."""
    generator = random.Random(seed)
    content = path.read_bytes()
    document = json.loads(content)
    outcomes = {"loaded": 0, "refused": 0}
    for round_ in range(60):
        damaged = mutated_bytes(content, generator) if round_ % 3 == 0 else mutated_values(document, generator).encode()
        path.write_bytes(damaged)
        try:
            io.load(path)
            outcomes["loaded"] += 1
        except BadInputError:
            outcomes["refused"] += 1
    assert outcomes["refused"] > outcomes["loaded"]
