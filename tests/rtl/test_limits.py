"""What the generator refuses, by name, before it writes anything."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from dtss.compiler.schedule.errors import EXIT_UNSUPPORTED, UnsupportedError
from dtss.compiler.schedule.format import AnyNode, AttentionProduct, Linear, Schedule, Steps, Value
from dtss.compiler.schedule.io import LoadedSchedule, load, save
from dtss.compiler.schedule.numerics import FixedLeak
from dtss.rtl.cli import main
from dtss.rtl.generate import generate

pytestmark = pytest.mark.rtl


def with_node(loaded: LoadedSchedule, name: str, **changes: object) -> LoadedSchedule:
    nodes = [msgspec.structs.replace(node, **changes) if node.name == name else node for node in loaded.schedule.nodes]
    return with_schedule(loaded, nodes=tuple(nodes))


def with_hardware(loaded: LoadedSchedule, part: str, **changes: int) -> LoadedSchedule:
    hardware = loaded.schedule.hardware
    changed = msgspec.structs.replace(getattr(hardware, part), **changes)
    return with_schedule(loaded, hardware=msgspec.structs.replace(hardware, **{part: changed}))


def with_schedule(loaded: LoadedSchedule, **changes: object) -> LoadedSchedule:
    return LoadedSchedule(msgspec.structs.replace(loaded.schedule, **changes), loaded.tensors)


def refused(loaded: LoadedSchedule, folder: Path) -> str:
    with pytest.raises(UnsupportedError) as caught:
        generate(loaded, folder / "out")
    assert not (folder / "out").exists()
    return str(caught.value)


def node_of(schedule: Schedule, name: str) -> AnyNode:
    return schedule.node(name)


def strips_of(loaded: LoadedSchedule, name: str, positions: int) -> LoadedSchedule:
    node = loaded.schedule.node(name)
    assert isinstance(node, AttentionProduct)
    assert node.tiling is not None
    return with_node(loaded, name, tiling=msgspec.structs.replace(node.tiling, positions_per_strip=positions))


WIDE = Value(low=-(1 << 24), high=0)
CASES: dict[str, tuple[Callable[[LoadedSchedule], LoadedSchedule], str]] = {
    "rows and columns": (
        lambda net: with_hardware(net, "array", columns=6),
        "hardware: array: 16 rows and 6 columns; give a number of rows that is a multiple of the columns",
    ),
    "interface": (
        lambda net: with_hardware(net, "dram", bits_per_cycle=48),
        "hardware: dram.bits_per_cycle: found 48; give a power of two, at least 8: an AXI stream's width",
    ),
    "pixels": (
        lambda net: with_hardware(net, "array", rows=1, columns=1),
        "image: channels: found 2, a word has 1 lanes; compile for wider hardware",
    ),
    "head width and columns": (
        lambda net: with_hardware(net, "array", rows=18, columns=3),
        "kv: head width: d = 4 with 3 columns; choose d to divide the columns or be a multiple of them",
    ),
    "head width and rows": (
        lambda net: with_hardware(net, "array", rows=6, columns=2),
        "kv: head width: d = 4 with 6 rows; choose d to divide the rows or be a multiple of them",
    ),
    "a strip of turned words": (
        lambda net: strips_of(with_hardware(net, "array", rows=2, columns=2), "kv", 3),
        "kv: strip: strips of 3 channels of words of 2 lanes; choose strips that divide a word",
    ),
    "elementwise inputs in another memory": (
        lambda net: with_node(net, "add", value=Value(low=-1, high=1)),
        "add: inputs: qkv.lif is in spike memory, the result in current memory; let a neuron come between",
    ),
    "planes of K in KᵀV": (
        lambda net: with_node(net, "k.lif", value=Value(low=0, high=3)),
        "kv: turned operand: k.lif has 2 planes; let K be spikes",
    ),
    "a stationary operand": (
        lambda net: with_node(net, "kv", value=Value(low=0, high=128)),
        "qkv: stationary operand: needs 9, the engine has 8; compile for wider hardware",
    ),
    "a stored value": (
        lambda net: with_node(net, "head", value=WIDE),
        "head: stored value: needs 25, the engine has 24; compile for wider hardware",
    ),
    "a membrane": (
        lambda net: with_node(net, "stem.lif", membrane=WIDE),
        "stem.lif: membrane: needs 25, the engine has 24; compile for wider hardware",
    ),
    "a current's shift": (
        lambda net: with_node(net, "stem.conv", current_shift=64),
        "stem.conv: current_shift: needs 64, the engine has 63; compile for wider hardware",
    ),
    "a leak": (
        lambda net: with_node(net, "stem.lif", leak=FixedLeak(257, 8)),
        "stem.lif.leak: found 257 / 2^8; the LIF unit takes a leak from 0 to 1 with at most 63 fraction bits",
    ),
    "logits in spike memory": (
        lambda net: with_schedule(net, output=msgspec.structs.replace(net.schedule.output, node="add")),
        "add: output: not one position of stored currents; let a linear layer give the logits",
    ),
    "a result of heads without a neuron": (
        lambda net: with_node(with_hardware(net, "array", columns=8), "qk.v", neuron=None),
        "qk.v: stored result: d = 4 with 8 columns; a stored head takes whole rows of currents",
    ),
    "a parameter": (
        lambda net: LoadedSchedule(
            net.schedule, dict(net.tensors) | {"stem.lif.threshold": np.full(7, 1 << 30, np.int32)}
        ),
        "stem.conv: threshold: needs 32, the engine has 24; compile for wider hardware",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_the_verilog_cannot_run_is_refused(case: str, small: LoadedSchedule, tmp_path: Path) -> None:
    change, message = CASES[case]
    assert refused(change(small), tmp_path) == message


def test_logits_of_more_than_32_bits_are_refused(small: LoadedSchedule, tmp_path: Path) -> None:
    wide = with_hardware(small, "widths", membrane=40)
    message = refused(with_node(wide, "head", value=Value(low=-(1 << 32), high=0)), tmp_path)
    assert message == "head: output: 33 bits; logits leave with 32 bits"


def test_a_fifth_narrow_width_is_refused(small: LoadedSchedule, tmp_path: Path) -> None:
    linears = [node.name for node in small.schedule.nodes if isinstance(node, Linear)]
    for bits, name in enumerate(linears, 2):
        small = with_node(small, name, weight_bits=bits)
    assert len(linears) == 5
    assert refused(small, tmp_path) == "weight_bits: 2, 3, 4, 5, 6 bits; use at most 4 widths below the array's"


def test_a_network_without_work_is_refused(small: LoadedSchedule, tmp_path: Path) -> None:
    every = tuple(range(small.schedule.time_steps))
    for node in small.schedule.nodes:
        changes = {"state_steps": ()} if hasattr(node, "state_steps") else {}
        small = with_node(small, node.name, steps=Steps(dead=every), **changes)
    message = refused(small, tmp_path)
    assert message == "network: no step of any layer is needed; compile one that computes something"


def test_the_command_says_it_and_exits_with_4(
    small_schedule: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = small_schedule()
    wrong = with_hardware(load(path), "dram", bits_per_cycle=48)
    save(tmp_path / "wrong.json", wrong.schedule, wrong.tensors)
    assert main(["generate", str(tmp_path / "wrong.json"), "-o", str(tmp_path / "out")]) == EXIT_UNSUPPORTED
    assert capsys.readouterr().err.startswith("dtss-rtl: error: hardware: dram.bits_per_cycle: found 48; ")
