"""What `dtss-rtl characterize` prints."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from dtss.rtl.characterize.measure import Characterization
from dtss.rtl.characterize.table import Base

WIDTH_OF_A_FILE = 120
EVENTS = {
    "accumulate": "accumulate, active lane",
    "gated_accumulate": "gated lane",
    "zero_check": "zero check, a bit",
    "lif_update": "LIF update",
    "accumulator_read": "accumulator read, a bit",
    "accumulator_write": "accumulator write, a bit",
}
PICO = 1000  # ps of a ns


def print_characterization(result: Characterization, base: Base, path: Path) -> None:
    """Events beside the base table, units, and what the numbers say."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH_OF_A_FILE)
    console.print(_events(result, base))
    console.print(_units(result))
    for line in _findings(result, base):
        console.print(line, highlight=False, markup=False)
    console.print(f"Written to {path}: dtss-sim --tech {path}", highlight=False, markup=False, soft_wrap=True)


def _events(result: Characterization, base: Base) -> Table:
    title = f"{result.network} on {result.hardware}: {result.library}, {result.tool}"
    table = Table("pJ an event", f"table {base.name}", "measured", "without glitches", "measured / table", title=title)
    _right(table)
    for name, label in EVENTS.items():
        before, now = base.events[name], getattr(result.events, name)
        ratio = f"{now / before:.{0 if now >= 10 * before else 1}f}" if before else "–"
        table.add_row(label, _pj(before), _pj(now), _pj(getattr(result.events_without_glitches, name)), ratio)
    for name, label in (("weight_load", "loading a weight"), ("bank_change", "changing a column's bank")):
        table.add_row(
            label, "–", _pj(getattr(result.events, name)), _pj(getattr(result.events_without_glitches, name)), "–"
        )
    return table


def _units(result: Characterization) -> Table:
    table = Table("unit", "cells", "flip-flops", "area", "still after ns", "glitches", "clock, pJ a cycle")
    _right(table)
    for unit in result.units:
        glitches = 1 - unit.energy_without_glitches_pj / unit.energy_pj if unit.energy_pj else 0.0
        name = f"{unit.module}, {unit.columns} column{'s' * (unit.columns > 1)}" if unit.columns else unit.module
        table.add_row(
            name, f"{unit.cells:,}", f"{unit.flip_flops:,}", f"{unit.area:,.0f}", f"{unit.settled_ps / PICO:.1f}",
            f"{glitches:.0%}", f"{unit.clock_pj_per_cycle:.3g}",
        )  # fmt: skip
    return table


def _findings(result: Characterization, base: Base) -> list[str]:
    events, sample, fit = result.events, result.sample, result.fit
    layers = [abs(error) for error in fit.layer_errors.values()] or [0.0]
    period = PICO / result.frequency_mhz
    slow = [unit.module for unit in result.units if unit.settled_ps / PICO > period]
    gated, still = events.gated_accumulate / events.accumulate, sample.silent_pj_per_lane / events.accumulate
    assumed = base.events["gated_accumulate"] / (base.events["accumulate"] or 1)
    gates = "with" if result.clock_gates else "without"
    found = [
        f"Zero gating: a gated lane takes {gated:.0%} of an active one, in a word without spikes {still:.1%}.",
        (
            f"It saves {result.gating_saving(gated):.0%} of what the sample's lanes would take were all active; "
            f"by table {base.name} {result.gating_saving(assumed):.0%}."
        ),
        (
            f"What moves is the lane that changes: {fit.per_changed_lane_pj:.2f} pJ each; a fit that knows them has "
            f"R² {fit.r_squared_with_changes:.2f}, but no counter of the machine does."
        ),
        (
            f"Sample: {sample.words:,} words, {sample.active_lanes:,} active lanes, {sample.gated_lanes:,} gated; "
            f"{sample.updates:,} updates, {sample.fires:,} spikes. Every sum, membrane, spike and flag is right."
        ),
        (
            f"Fit: R² {fit.r_squared:.2f}, residual {fit.residual_pj:.2f} pJ a cycle, sum {fit.total_error:+.1%}, "
            f"layers {max(layers):.0%} off at most."
        ),
        (
            f"Clock of these units: {result.clock_pj_per_cycle:.4g} pJ a cycle, {gates} clock gates; in the table as "
            "power, with the registers' leakage."
        ),
    ]
    if slow:
        found.append(
            f"Not still within the {period:.1f} ns of a cycle: {', '.join(slow)}; simulated with a slower clock."
        )
    return found


def _right(table: Table) -> None:
    for column in table.columns[1:]:
        column.justify = "right"


def _pj(value: float) -> str:
    return f"{value:.3g}"


def characterization_object(result: Characterization, base: Base) -> dict[str, object]:
    """For --json: the same for the same Verilog, library and tools."""
    fields: dict[str, object] = msgspec.to_builtins(result)
    return fields | {"base": {"name": base.name, "events": base.events}}
