"""The cycles of each layer by unit and time step, as the page draws them."""

from __future__ import annotations

import msgspec

from dtss.hwsim.report import quantities
from dtss.hwsim.report.steps import SHARED_NAMES, LayerSteps, layer_steps, shared_sentence
from dtss.hwsim.report.steps_text import STEP_COLUMNS, step_cells
from dtss.hwsim.result import Result

OWN = (
    ("words_issued", "stream", "array"),
    ("walk_cycles", "walk", "neuron walk"),
    ("fill_cycles", "fill", "operand fill"),
    ("elementwise_cycles", "elementwise", "elementwise"),
)
SHARED = {
    "skipper": "skipper",
    "weight_load": "stall",
    "word_wait": "words",
    "drain": "drain",
    "last_results": "drain",
    "control": "control",
    "dram_wait": "dram",
}


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Cycles of one unit, at one step or shared; `width` in percent of the longest layer."""

    unit: str
    cycles: float
    width: float
    title: str


class StepBar(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    name: str
    cycles: float
    text: str
    parts: tuple[Part, ...]


class StepSection(msgspec.Struct, frozen=True, kw_only=True):
    """legend: (unit, name).  rows: (layer, step, text of `columns`)."""

    finding: str
    legend: tuple[tuple[str, str], ...]
    bars: tuple[StepBar, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, int, tuple[str, ...]], ...]


def step_section(result: Result, numbers: dict[str, int]) -> StepSection | None:
    """None where steps were not counted, or nothing takes a cycle. numbers: of each layer, as elsewhere on the page."""
    layers = layer_steps(result)
    if not layers:
        return None
    longest = max(layer.cycles for layer in layers)
    bars = tuple(_bar(layer, numbers[layer.name], longest) for layer in layers)
    used = {part.unit for bar in bars for part in bar.parts}
    names: dict[str, list[str]] = {}
    for unit, label in (*((unit, label) for _, unit, label in OWN), *((SHARED[n], SHARED_NAMES[n]) for n in SHARED)):
        names.setdefault(unit, []).append(label)
    return StepSection(
        finding=_finding(layers),
        legend=tuple((unit, ", ".join(labels)) for unit, labels in names.items() if unit in used),
        bars=bars,
        columns=STEP_COLUMNS[2:],
        rows=tuple(
            (layer.name, step.step, cells[2:])
            for layer in layers
            for step, cells in zip(layer.steps, step_cells(layer), strict=True)
        ),
    )


def _bar(layer: LayerSteps, number: int, longest: float) -> StepBar:
    own = [
        (unit, getattr(step, field), f"{label} at step {step.step}")
        for field, unit, label in OWN
        for step in layer.steps
    ]
    shared = [(SHARED[name], cycles, SHARED_NAMES[name]) for name, cycles in layer.shared.items()]
    return StepBar(
        number=number,
        name=layer.name,
        cycles=layer.cycles,
        text=quantities.whole(layer.cycles),
        parts=tuple(
            Part(
                unit=unit,
                cycles=cycles,
                width=round(100 * cycles / longest, 3),
                title=f"{layer.name}: {label}, {quantities.whole(cycles)} of {quantities.whole(layer.cycles)} cycles",
            )
            for unit, cycles, label in (*own, *shared)
            if cycles
        ),
    )


def _finding(layers: tuple[LayerSteps, ...]) -> str:
    whole = sum(layer.cycles for layer in layers)
    shared = sum(sum(layer.shared.values()) for layer in layers)
    return (
        f"A part of a bar for each step of a unit, in the order of time. {shared_sentence()} "
        f"That is {quantities.percent(shared / whole)} of the cycles."
    )
