"""cocotb bench of whole layers: every pass, every walk, every value, every counter."""

from __future__ import annotations

from typing import Any

import cocotb
import msgspec
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge, SimTimeoutError, with_timeout

from dtss.compiler.schedule.cycles import Counts
from dtss.rtl.benches.plan import ANSWER, EXPECTED, PLAN, Answer, LayerAnswer, LayerPlan, Plan, layer_folder
from dtss.rtl.compare import Comparison, Mismatch, compare_walks, read_trace
from dtss.rtl.layout import Visits
from dtss.rtl.stimulus import Expected

PERIOD_NS = 10


@cocotb.test()
async def every_layer_equals_the_interpreter(dut: Any) -> None:
    plan = msgspec.json.decode(PLAN.read_bytes(), type=Plan)
    Clock(dut.clock, PERIOD_NS, unit="ns").start()
    await _reset(dut)
    answers = []
    for index, layer in enumerate(plan.layers):
        ended, counters = await _run(dut, index, layer)
        trace = read_trace((layer_folder(index) / "trace.hex").read_text(), plan.engine)
        comparison = compare_walks(layer.name, _expected(index), trace) if ended else _endless(layer)
        answers.append(LayerAnswer(name=layer.name, counters=counters, comparison=comparison))
        if not ended:
            await _reset(dut)
    ANSWER.write_bytes(msgspec.json.encode(Answer(layers=tuple(answers))))
    wrong = [str(mismatch) for answer in answers for mismatch in answer.comparison.mismatches]
    assert not wrong, "\n".join(wrong)


async def _reset(dut: Any) -> None:
    for name in ("load", "start", "start_row", "finish", "layer_index", "layer", "counter_select"):
        getattr(dut, name).value = 0
    dut.reset.value = 1
    await ClockCycles(dut.clock, 3)
    dut.reset.value = 0
    await RisingEdge(dut.clock)


async def _run(dut: Any, index: int, layer: LayerPlan) -> tuple[bool, dict[str, int]]:
    """Load, run block after block, add up the counters. False if a block did not end."""
    dut.layer_index.value = index
    dut.layer.value = int(layer.configuration, 16)
    for memory, rows in layer.rows.items():
        getattr(dut, f"{memory}_rows").value = rows
    await _pulse(dut, dut.load)
    ended, counters = True, dict.fromkeys(Counts.__struct_fields__, 0)
    for row in layer.block_starts:
        dut.start_row.value = row
        await _pulse(dut, dut.start)
        try:
            await with_timeout(RisingEdge(dut.done), layer.cycle_limit * PERIOD_NS, "ns")
        except SimTimeoutError:
            ended = False
            break
        await ClockCycles(dut.clock, 3)
        for name, count in (await _counters(dut)).items():
            counters[name] += count
    await _pulse(dut, dut.finish)
    return ended, counters


def _endless(layer: LayerPlan) -> Comparison:
    limit = f"done within {layer.cycle_limit} cycles"
    mismatch = Mismatch(layer=layer.name, quantity="cycles", where="", expected=limit, got="still busy")
    return Comparison(compared={}, differing=1, mismatches=[mismatch])


async def _pulse(dut: Any, signal: Any) -> None:
    signal.value = 1
    await RisingEdge(dut.clock)
    signal.value = 0
    await RisingEdge(dut.clock)


async def _counters(dut: Any) -> dict[str, int]:
    counters = {}
    for number, name in enumerate(Counts.__struct_fields__):
        dut.counter_select.value = number
        await RisingEdge(dut.clock)
        counters[name] = int(dut.counter_value.value)
    return counters


def _expected(index: int) -> Expected:
    with np.load(layer_folder(index) / EXPECTED) as arrays:
        visits = Visits(*arrays["visits"])
        return Expected(visits, {name: arrays[name] for name in arrays.files if name != "visits"})
