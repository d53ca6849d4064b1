"""The report as one self-contained page: no script, no font, no picture from elsewhere."""

from __future__ import annotations

import math
from itertools import groupby
from pathlib import Path
from typing import assert_never

import jinja2
import msgspec

from dtss.hwsim.energy import COMPUTE_KINDS, LEAKAGE_KINDS, EnergyByKind
from dtss.hwsim.report import quantities, summary
from dtss.hwsim.report.beside import NOTHING, Beside
from dtss.hwsim.report.comparison_html import comparison_section
from dtss.hwsim.report.in_memory_html import in_memory_section
from dtss.hwsim.report.kinds import KIND_NAMES, Segment, segments
from dtss.hwsim.report.layers import MEANINGS, Layer, State, layers
from dtss.hwsim.report.paper_html import paper_section
from dtss.hwsim.report.quantities import NO_BREAK
from dtss.hwsim.report.roofline import roofline
from dtss.hwsim.report.savings_text import savings_rows
from dtss.hwsim.report.steps_html import step_section
from dtss.hwsim.result import Result
from dtss.hwsim.technology import AnyEntry, Entry, Leakage, ProductCurve, SizeCurve, WidthCurve
from dtss.hwsim.traffic import MemoryRow, memory_rows

TEMPLATES = Path(__file__).parent / "template"

UNITS = (
    ("words_issued", "stream", "array", "a spike word enters"),
    ("skipper_cycles", "skipper", "skipper", "a group of zeros passes"),
    ("load_stall_cycles", "stall", "weight wait", "next tile still loading"),
    ("word_stall_cycles", "words", "word wait", "words still gathered"),
    ("walk_cycles", "walk", "neuron walk", "sums leave the array"),
    ("fill_cycles", "fill", "operand fill", "what attention holds"),
    ("elementwise_cycles", "elementwise", "elementwise", "adds, pools, token sums"),
    ("control_cycles", "control", "control", "the next operation begins"),
    ("memory_stall_cycles", "dram", "DRAM wait", "data still on its way"),
)

NUMBER_FITS = 0.022  # of the timeline's width: a layer's number beside its neighbours'
NUMBER_FITS_A_PHONE = 0.055


class EnergyRow(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    layer: Layer
    energy_pj: float
    text: str
    segments: tuple[Segment, ...]


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One time step of one layer."""

    step: int
    state: State
    title: str


class StepRow(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    layer: Layer
    computed: tuple[Cell, ...]
    emitted: tuple[Cell, ...]
    facts: str


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """A layer's stretch of the timeline, in percent of its width."""

    number: int
    name: str
    left: float
    width: float
    fits: bool
    fits_a_phone: bool


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """A unit's share of one layer's cycles: x and width of 1000, height of 100."""

    x: float
    width: float
    height: float
    title: str


class Lane(msgspec.Struct, frozen=True, kw_only=True):
    unit: str
    label: str
    detail: str
    cycles: float
    share: str
    bars: tuple[Bar, ...]


class MemoryLine(msgspec.Struct, frozen=True, kw_only=True):
    """A memory's row; `width` of its bar in percent of the busiest one's."""

    row: MemoryRow
    label: str
    width: float


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A headline number; `key` is its place in the JSON result."""

    label: str
    value: float | None
    text: str
    note: str
    key: str


def page(result: Result, beside: Beside = NOTHING) -> bytes:
    """The same result gives the same bytes."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "energy": quantities.energy,
        "nanojoules": quantities.nanojoules,
        "whole": quantities.whole,
        "size": quantities.size,
        "rate": quantities.rate,
    }
    rows, memories = layers(result), memory_rows(result)
    text = environment.get_template("report.html.j2").render(
        result=result,
        schedule=result.schedule,
        technology=result.technology,
        layers=rows,
        headline=summary.headline(result),
        facts=summary.facts(result),
        figures=_figures(result),
        kinds=_kinds(result),
        energy_rows=_energy_rows(rows),
        energy_finding=_energy_finding(result, rows),
        step_rows=_step_rows(rows),
        step_finding=_step_finding(result, rows),
        meanings=_used_meanings(rows),
        slots=_slots(rows),
        lanes=_lanes(rows),
        ticks=_ticks(_cycles(rows)),
        timeline_finding=_timeline_finding(rows),
        step_section=step_section(result, {row.name: number for number, row in enumerate(rows, start=1)}),
        comparison=None if beside.comparison is None else comparison_section(result, beside.comparison),
        paper=None if beside.paper_model is None else paper_section(beside.paper_model),
        in_memory=None if result.in_memory is None else in_memory_section(result.in_memory, rows),
        savings=None if beside.savings is None else savings_rows(beside.savings),
        memories=_memories(memories),
        memory_finding=_memory_finding(memories),
        roofline=roofline(result),
        entries=[(name, _entry_value(entry), entry) for name, entry in result.technology.entries.items()],
    )
    return text.encode()


def _figures(result: Result) -> tuple[Figure, ...]:
    whole, significant = quantities.whole, quantities.significant
    cycles, energy = float(result.cycles.mean()), float(result.energy_pj.mean())
    average = result.schedule.average_time_steps
    offered, issued = int(result.sum_of("words_offered").sum()), int(result.sum_of("words_issued").sum())
    return (
        Figure(
            label="energy an image",
            value=energy,
            text=quantities.energy(energy),
            note=f"± {quantities.energy(quantities.spread(result.energy_pj))}; "
            f"{quantities.percent(result.memory_pj.mean() / energy)} of it moves data",
            key="totals.energy_pj_per_image",
        ),
        Figure(
            label="latency an image",
            value=float(result.latency_us.mean()),
            text=quantities.duration(result.latency_us.mean()),
            note=f"{whole(cycles)} ± {whole(quantities.spread(result.cycles))} cycles",
            key="totals.latency_us_per_image",
        ),
        _accuracy_figure(result),
        Figure(
            label="average time steps",
            value=average.pruned,
            text=significant(average.pruned),
            note=f"{significant(average.masks)} in the masks, of T{NO_BREAK}={NO_BREAK}{result.schedule.time_steps}",
            key="time_steps.average_after_pruning",
        ),
        Figure(
            label="spike words skipped",
            value=None,
            text=quantities.percent(1 - issued / offered) if offered else "none",
            note=f"{whole(issued / result.images)} of {whole(offered / result.images)} an image issued",
            key="",
        ),
    )


def _accuracy_figure(result: Result) -> Figure:
    accuracy = result.accuracy
    if accuracy.integer_top1 is None:
        return Figure(label="accuracy", value=None, text="unknown", note="these images have no labels", key="")
    note = f"{result.images} images"
    if accuracy.float_top1 is not None and accuracy.agreement is not None:
        same = quantities.percent(accuracy.agreement, 4)
        note = f"float {quantities.percent(accuracy.float_top1, 4)}; same answer in {same}"
    return Figure(
        label="accuracy in integers",
        value=accuracy.integer_top1,
        text=quantities.percent(accuracy.integer_top1, 4),
        note=note,
        key="accuracy.integer_top1",
    )


def _kinds(result: Result) -> tuple[Segment, ...]:
    """The whole network's energy by kind, kinds without any left out."""
    total = float(result.energy_pj.mean())
    energies = {kind: float(result.kind_pj(kind).mean()) for kind in EnergyByKind.__struct_fields__}
    return segments(energies, longest=total, whole=total)


def _energy_rows(rows: tuple[Layer, ...]) -> tuple[EnergyRow, ...]:
    longest = max(row.whole_pj for row in rows)
    whole = sum(row.whole_pj for row in rows)
    return tuple(
        EnergyRow(
            number=number,
            layer=row,
            energy_pj=row.whole_pj,
            text=quantities.energy(row.whole_pj),
            segments=segments(row.energy_pj, longest, whole),
        )
        for number, row in enumerate(rows, start=1)
    )


def _energy_finding(result: Result, rows: tuple[Layer, ...]) -> str:
    kinds = _kinds(result)
    top_kind = max(kinds, key=lambda segment: segment.energy_pj)
    top_layer = max(rows, key=lambda row: row.whole_pj)
    whole = sum(segment.energy_pj for segment in kinds)
    compute = sum(segment.energy_pj for segment in kinds if segment.kind in COMPUTE_KINDS)
    leakage = sum(segment.energy_pj for segment in kinds if segment.kind in LEAKAGE_KINDS)
    return (
        f"{quantities.percent(compute / whole, 2)} computes, {quantities.percent(leakage / whole, 2)} leaks, "
        f"the rest moves data. The largest part is "
        f"{top_kind.label}, {top_kind.share}; the largest layer is {top_layer.name}, "
        f"{quantities.percent(top_layer.whole_pj / whole, 2)}."
    )


def _step_rows(rows: tuple[Layer, ...]) -> tuple[StepRow, ...]:
    return tuple(
        StepRow(
            number=number,
            layer=row,
            computed=_cells(row.name, row.states, row.reasons),
            emitted=_cells(row.neuron or "", row.neuron_states, row.neuron_reasons),
            facts=_facts(row),
        )
        for number, row in enumerate(rows, start=1)
    )


def _cells(name: str, states: tuple[State, ...], reasons: tuple[str, ...]) -> tuple[Cell, ...]:
    return tuple(
        Cell(step=step, state=state, title=f"{name}, step {step}: {reason or MEANINGS[state]}")
        for step, (state, reason) in enumerate(zip(states, reasons, strict=True))
    )


def _facts(row: Layer) -> str:
    """Why steps are left out: for the values, then for the spikes."""
    values, spikes = _ranges(row.reasons), _ranges(row.neuron_reasons)
    parts = [("values ", values), ("spikes ", spikes)] if row.neuron else [("", values)]
    return "; ".join(f"{what}{steps}: {reason}" for what, ranges in parts for steps, reason in ranges)


def _ranges(reasons: tuple[str, ...]) -> list[tuple[str, str]]:
    """("1–3", reason) of neighbouring steps with the same reason."""
    ranges = []
    for reason, group in groupby(range(len(reasons)), key=lambda step: reasons[step]):
        steps = list(group)
        if reason:
            ranges.append((f"{steps[0]}–{steps[-1]}" if len(steps) > 1 else f"{steps[0]}", reason))
    return ranges


def _step_finding(result: Result, rows: tuple[Layer, ...]) -> str:
    every = [state for row in rows for state in row.states]
    computed = every.count("active")
    average = result.schedule.average_time_steps
    return (
        f"{computed} of {len(every)} layer steps are computed. The masks keep "
        f"{quantities.significant(average.masks)} of {result.schedule.time_steps} steps on average, "
        f"{quantities.significant(average.pruned)} are left after pruning."
    )


def _used_meanings(rows: tuple[Layer, ...]) -> tuple[tuple[str, str], ...]:
    used = {state for row in rows for state in (*row.states, *row.neuron_states)}
    return tuple((state, meaning) for state, meaning in MEANINGS.items() if state in used)


def _slots(rows: tuple[Layer, ...]) -> tuple[Slot, ...]:
    whole = _cycles(rows)
    slots, start = [], 0.0
    for number, row in enumerate(rows, start=1):
        share = row.cycles / whole
        slots.append(
            Slot(
                number=number,
                name=row.name,
                left=round(100 * start / whole, 3),
                width=round(100 * share, 3),
                fits=share >= NUMBER_FITS,
                fits_a_phone=share >= NUMBER_FITS_A_PHONE,
            )
        )
        start += row.cycles
    return tuple(slot for slot in slots if slot.width > 0)


def _cycles(rows: tuple[Layer, ...]) -> float:
    """Of an image, and never 0: a network whose every step is pruned takes none."""
    return sum(row.cycles for row in rows) or 1.0


def _lanes(rows: tuple[Layer, ...]) -> tuple[Lane, ...]:
    whole = _cycles(rows)
    lanes = []
    for field, unit, label, detail in UNITS:
        bars, start = [], 0.0
        for row in rows:
            busy = getattr(row, field)
            if busy > 0:
                bars.append(_bar(row, busy, start, whole, label))
            start += row.cycles
        cycles = sum(getattr(row, field) for row in rows)
        lanes.append(
            Lane(
                unit=unit,
                label=label,
                detail=detail,
                cycles=cycles,
                share=quantities.percent(cycles / whole),
                bars=tuple(bars),
            )
        )
    return tuple(lanes)


def _bar(row: Layer, busy: float, start: float, whole: float, label: str) -> Bar:
    share = busy / row.cycles
    return Bar(
        x=round(1000 * start / whole, 3),
        width=round(1000 * row.cycles / whole, 3),
        height=round(100 * share, 2),
        title=f"{row.name}: {label} {quantities.percent(share)} of {quantities.whole(row.cycles)} cycles",
    )


def _ticks(cycles: float) -> tuple[tuple[float, str], ...]:
    """(left in percent, label) of round cycle numbers, four to eight of them."""
    step = 10 ** math.floor(math.log10(cycles))
    step = next(size for size in (step / 5, step / 2, step, 2 * step) if cycles / size <= 6.5)
    count = int(cycles / step)
    return tuple((round(100 * i * step / cycles, 3), quantities.whole(i * step)) for i in range(count + 1))


def _memories(rows: tuple[MemoryRow, ...]) -> tuple[MemoryLine, ...]:
    longest = max((row.read_bits + row.written_bits for row in rows), default=1.0)
    return tuple(
        MemoryLine(
            row=row, label=KIND_NAMES[row.memory], width=round(100 * (row.read_bits + row.written_bits) / longest, 3)
        )
        for row in rows
    )


def _memory_finding(rows: tuple[MemoryRow, ...]) -> str:
    if not rows:
        return "Nothing moves: every step is pruned."
    bits = sum(row.read_bits + row.written_bits for row in rows)
    busiest, dearest = rows[0], max(rows, key=lambda row: row.energy_pj)
    share = quantities.percent((busiest.read_bits + busiest.written_bits) / bits)
    return (
        f"{quantities.size(bits)} cross the ports of all memories for an image, {share} of them those of the "
        f"{KIND_NAMES[busiest.memory]}. Most energy goes to the {KIND_NAMES[dearest.memory]}: "
        f"{quantities.energy(dearest.energy_pj)}."
    )


def _timeline_finding(rows: tuple[Layer, ...]) -> str:
    whole = _cycles(rows)
    longest = max(rows, key=lambda row: row.cycles)
    weights, words = (sum(getattr(row, f"{kind}_stall_cycles") for row in rows) / whole for kind in ("load", "word"))
    return (
        f"The array waits for weights in {quantities.percent(weights)} of the cycles, for words in "
        f"{quantities.percent(words)}. The longest layer is {longest.name}, "
        f"{quantities.percent(longest.cycles / whole)} of the time."
    )


def _entry_value(entry: AnyEntry) -> str:
    match entry:
        case Entry():
            return f"{entry.pj:g} pJ"
        case Leakage():
            return f"{entry.uw:g} µW"
        case WidthCurve() | ProductCurve():
            return "; ".join(f"{anchor.pj:g} pJ at {anchor.bits} bits" for anchor in entry.anchors)
        case SizeCurve():
            return "; ".join(f"{anchor.pj:g} pJ at {_bytes(anchor.bytes)}" for anchor in entry.anchors)
        case _:
            assert_never(entry)


def _bytes(size_bytes: int) -> str:
    for unit, size in (("MB", 1 << 20), ("KB", 1 << 10)):
        if size_bytes % size == 0:
            return f"{size_bytes // size} {unit}"
    return f"{size_bytes} bytes"
