"""The streams as the ports of each unit see them, and what each unit must answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.errors import BadInputError, CheckFailedError
from dtss.rtl.characterize.gate_simulation import Activity, simulate
from dtss.rtl.characterize.gates import GateNetlist
from dtss.rtl.characterize.neuron_streams import NeuronStream
from dtss.rtl.characterize.streams import ArrayStream
from dtss.rtl.engine import Engine, bits_to_count
from dtss.rtl.memory_image import bits_of, integers_of

Bits = NDArray[np.uint8]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Answer:
    """What an output must be: [cycles, elements], where `known` [cycles]."""

    port: str
    values: Integers
    known: NDArray[np.bool_]


@dataclass(frozen=True)
class Stimulus:
    """ports: [cycles, bits].  measured [cycles]: whether a cycle's energy counts."""

    ports: Mapping[str, Bits]
    answers: tuple[Answer, ...]
    measured: NDArray[np.bool_]


def run(netlist: GateNetlist, stimulus: Stimulus, *, timed: bool = True) -> Activity:
    """Simulate; `CheckFailedError` if an output is not what it must be."""
    if set(netlist.inputs) != set(stimulus.ports):
        found = f"has the inputs {', '.join(sorted(netlist.inputs))}"
        raise BadInputError(f"rtl/{netlist.name}.v", found, "generate the folder again, with this version")
    activity = simulate(netlist, stimulus.ports, timed=timed)
    for answer in stimulus.answers:
        bits = activity.outputs[answer.port]
        elements = bits.reshape(len(bits), answer.values.shape[1], -1)
        wanted = bits_of(answer.values, elements.shape[2])
        wrong = np.argwhere((elements != wanted).any(axis=2) & answer.known[:, None])
        if len(wrong):
            cycle, element = wrong[0]
            got, expected = (
                int(integers_of(of[cycle, element], signed=wanted.shape[2] > 1)) for of in (elements, wanted)
            )
            found = f"cycle {cycle}, element {element}: got {got}, expected {expected}; {len(wrong)} differ in all"
            raise CheckFailedError(
                f"netlist of {netlist.name}: {answer.port}", found, "run `dtss-rtl verify` on the folder"
            )
    return activity


def column(stream: ArrayStream, engine: Engine) -> Stimulus:
    """ac_column: one column of the array."""
    beats = -(-engine.rows // engine.load_rows)
    writes = np.zeros((len(stream.beat), beats), np.uint8)
    loads = np.flatnonzero(stream.beat >= 0)
    writes[loads, stream.beat[loads]] = 1
    ports = {"write_beat": writes, **_common(stream, engine)}
    return _array(stream, ports, "sum")


def array(stream: ArrayStream, engine: Engine) -> Stimulus:
    """ac_array: all columns."""
    bits = bits_to_count(-(-engine.rows // engine.load_rows))
    ports = {
        "write_enable": (stream.beat >= 0).astype(np.uint8)[:, None],
        "write_beat": bits_of(np.maximum(stream.beat, 0), bits),
        **_common(stream, engine),
    }
    return _array(stream, ports, "sums")


def _common(stream: ArrayStream, engine: Engine) -> dict[str, Bits]:
    return {
        "write_bank": bits_of(1 - stream.bank, 1),
        "write_weights": bits_of(stream.loading, engine.weight_bits).reshape(len(stream.bank), -1),
        "enable": bits_of(stream.enable, 1),
        "spikes": stream.spikes,
        "bank": bits_of(stream.bank, 1),
    }


def _array(stream: ArrayStream, ports: Mapping[str, Bits], port: str) -> Stimulus:
    """A word's sums come out in the cycle after it."""
    sums, known = np.roll(stream.sums, 1, axis=0), np.roll(stream.enable, 1).astype(np.bool_)
    return Stimulus(ports, (Answer(port, sums, known),), stream.node >= 0)


def silent(stimulus: Stimulus) -> Stimulus:
    """The same words, loads and banks, with every spike 0."""
    ports = {**stimulus.ports, "spikes": np.zeros_like(stimulus.ports["spikes"])}
    return Stimulus(ports, (), stimulus.measured)


def neurons(stream: NeuronStream, engine: Engine) -> Stimulus:
    """lif_unit with one column."""
    widths = {
        "accumulators": engine.accumulator_bits,
        "stored_row": engine.membrane_bits,
        "memory_row": engine.membrane_bits,
        "current_shift": engine.shift_bits,
        "leak_shift": engine.shift_bits,
        "leak_multiplier": engine.leak_multiplier_bits,
    }
    parameters = ("bias", "threshold", "reset_to", "initial")
    ports = {
        name: bits_of(values, widths.get(name, 1)) for name, values in stream.ports.items() if name not in parameters
    }
    ports["parameters"] = np.concatenate(
        [bits_of(stream.ports[name], engine.value_bits) for name in parameters], axis=1
    )
    updated = stream.spikes >= 0
    answers = (
        Answer("spikes", stream.spikes[:, None], updated),
        Answer("membranes", stream.membranes[:, None], updated),
    )
    return Stimulus(ports, answers, np.ones(len(updated), np.bool_))


def accumulators(stream: ArrayStream, engine: Engine) -> Stimulus:
    """accumulator_file with one column: the sums of the first simulated column, then a walk over what they filled."""
    modulus = 1 << engine.accumulator_bits
    held: dict[int, int] = {}
    rows: list[tuple[int, int, int, int, int, int]] = []  # clear, accumulate, read, slot, plane, sum
    answers: list[int] = []
    issued = np.flatnonzero(stream.enable)
    for number, cycle in enumerate(issued):
        slot, plane, value = int(stream.slot[cycle]), int(stream.plane[cycle]), int(stream.sums[cycle, 0])
        rows.append((0, 1, 0, slot, plane, value))
        answers.append(0)
        held[slot] = (held.get(slot, 0) + (value << plane)) % modulus
        if number + 1 == len(issued) or stream.owner[issued[number + 1]] != stream.owner[cycle]:
            rows += [(0, 0, 1, each, plane, value) for each in sorted(held)]
            answers += [held[each] for each in sorted(held)]
            rows.append((1, 0, 0, 0, plane, value))
            answers.append(0)
            held = {}
    fields = np.array(rows, np.int64).T
    ports = {
        "reset": np.zeros((len(rows), 1), np.uint8),
        "clear": bits_of(fields[0], 1),
        "accumulate": bits_of(fields[1], 1),
        "read": bits_of(fields[2], 1),
        "slot": bits_of(fields[3], engine.slot_bits),
        "plane": bits_of(fields[4], engine.plane_bits),
        "sums": bits_of(fields[5], sum_bits(engine)),
    }
    every = np.ones(len(rows), np.bool_)
    return Stimulus(ports, (Answer("row", np.array(answers)[:, None], every),), every)


def flags(groups: Sequence[Bits]) -> Stimulus:
    """word_flag: every word that is offered."""
    words = np.concatenate(groups)
    live, every = words.max(axis=1).astype(np.int64), np.ones(len(words), np.bool_)
    return Stimulus({"word": words}, (Answer("flag", live[:, None], every),), every)


def skipper(groups: Sequence[Bits], engine: Engine) -> Stimulus:
    """zero_skipper: the flags of every group, for as many cycles as it has words that are not zero, at least one."""
    seen, lanes, issue, done = [], [], [], []
    for group in groups:
        live = np.flatnonzero(group.any(axis=1)).tolist()
        flag = np.isin(np.arange(engine.group), live).astype(np.uint8)
        count = max(1, len(live))
        seen += [flag] * count
        lanes += live or [0]
        issue += [int(bool(live))] * count
        done += [0] * (count - 1) + [1]
    every = np.ones(len(seen), np.bool_)
    zeros = np.zeros((len(seen), 1), np.uint8)
    answers = (
        Answer("issue", np.array(issue)[:, None], every),
        Answer("lane", np.array(lanes)[:, None], every),
        Answer("group_done", np.array(done)[:, None], every),
    )
    return Stimulus({"reset": zeros, "enable": zeros + 1, "flags": np.array(seen)}, answers, every)


def sum_bits(engine: Engine) -> int:
    """Of a column's sum."""
    return engine.weight_bits + (engine.rows - 1).bit_length()


UnitParameters = Callable[[Engine], Mapping[str, int]]
PARAMETERS: Mapping[str, UnitParameters] = {
    "ac_column": lambda engine: {
        "ROWS": engine.rows,
        "WEIGHT_BITS": engine.weight_bits,
        "LOAD_ROWS": engine.load_rows,
        "BEATS": -(-engine.rows // engine.load_rows),
        "SUM_BITS": sum_bits(engine),
    },
    "ac_array": lambda engine: {
        **PARAMETERS["ac_column"](engine),
        "COLUMNS": engine.columns,
        "BEAT_BITS": bits_to_count(-(-engine.rows // engine.load_rows)),
    },
    "lif_unit": lambda engine: {
        "COLUMNS": 1,
        "ACCUMULATOR_BITS": engine.accumulator_bits,
        "MEMBRANE_BITS": engine.membrane_bits,
        "VALUE_BITS": engine.value_bits,
        "SHIFT_BITS": engine.shift_bits,
        "FIXED_LEAK": engine.fixed_leak,
        "LEAK_MULTIPLIER_BITS": engine.leak_multiplier_bits,
    },
    "accumulator_file": lambda engine: {
        "COLUMNS": 1,
        "SLOTS": engine.slots,
        "SLOT_BITS": engine.slot_bits,
        "PLANE_BITS": engine.plane_bits,
        "SUM_BITS": sum_bits(engine),
        "ACCUMULATOR_BITS": engine.accumulator_bits,
    },
    "word_flag": lambda engine: {"ROWS": engine.rows},
    "zero_skipper": lambda engine: {"GROUP": engine.group, "LANE_BITS": bits_to_count(engine.group)},
}
