"""What `dtss-rtl synth` prints."""

from __future__ import annotations

import sys

import msgspec
from rich.console import Console
from rich.table import Table

from dtss.rtl.netlist import Use
from dtss.rtl.synthesis import Synthesis, Target

WIDTH_OF_A_FILE = 120
DEPTH = 3  # of the table; --json has all
TITLES: dict[Target, dict[str, str]] = {
    "7series": {
        "lut": "LUT", "lutram": "as RAM", "ff": "FF", "carry4": "CARRY4", "ramb36": "RAMB36", "ramb18": "RAMB18",
        "dsp": "DSP",
    },
    "ecp5": {"lut": "LUT4", "lutram": "as RAM", "ff": "FF", "ccu2c": "CCU2C", "ebr": "EBR", "dsp": "DSP"},
    "liberty": {"area": "area", "cells": "cells", "memory_bits": "memory bits"},
}  # fmt: skip


def print_synthesis(synthesis: Synthesis) -> None:
    """A table of the hierarchy, then how full the part is, then what is wrong."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH_OF_A_FILE)
    titles = TITLES[synthesis.target]
    table = Table("module", "", *titles.values(), title=f"{synthesis.top}: {synthesis.target}, {synthesis.tool}")
    for column in table.columns[1:]:
        column.justify = "right"
    for use in synthesis.modules:
        if use.resources and use.path.count("/") <= DEPTH:
            table.add_row(*_row(use, tuple(titles)))
    console.print(table)
    for name, (used, available) in utilisation(synthesis).items():
        said = f"{synthesis.part}: {used:,} of {available:,} {name}, {used / available:.1%}"
        console.print(said, highlight=False)
    if synthesis.max_frequency_mhz is not None:
        said = f"{synthesis.part}: up to {synthesis.max_frequency_mhz:.1f} MHz after routing, as nextpnr estimates it"
        console.print(said, highlight=False)
    for finding in synthesis.findings:
        console.print(finding, style="red", highlight=False, markup=False)


def _row(use: Use, names: tuple[str, ...]) -> tuple[str, ...]:
    numbers = (use.resources.get(name, 0) for name in names)
    label = "  " * use.path.count("/") + use.path.rpartition("/")[2]
    return label, f"×{use.instances}" if use.instances > 1 else "", *(f"{number:,.0f}" for number in numbers)


def utilisation(synthesis: Synthesis) -> dict[str, tuple[int, int]]:
    """Resource → (used, available); two RAMB18 share a RAMB36."""
    totals = synthesis.totals
    used = {**totals, "bram36": totals.get("ramb36", 0) + -(-int(totals.get("ramb18", 0)) // 2)}
    return {name: (int(used.get(name, 0)), count) for name, count in synthesis.available.items()}


def synthesis_object(synthesis: Synthesis) -> dict[str, object]:
    """For --json: the same for the same Verilog and tools."""
    fields: dict[str, object] = msgspec.to_builtins(synthesis)
    return fields | {
        "passed": synthesis.passed,
        "utilisation": {name: round(used / count, 4) for name, (used, count) in utilisation(synthesis).items()},
    }
