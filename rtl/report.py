"""What dtss-rtl prints."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from dtss.rtl.generate import Manifest
from dtss.rtl.verify import LayerReport, Report

WIDTH_OF_A_FILE = 120
SHOWN_MISMATCHES = 20


def print_generated(manifest: Manifest, folder: Path) -> None:
    """One line: what was written, and where."""
    modules = sum(name.startswith("rtl/") for name in manifest.files)
    _console().print(f"{folder}: {modules} Verilog modules, memories of {len(manifest.layers)} layers", highlight=False)


def print_report(report: Report) -> None:
    """A table of the layers, then every violation."""
    console = _console()
    table = Table("layer", "image", "simulator", *_NUMBERS, "", title=f"{report.network}: RTL against golden model")
    for name in _NUMBERS:
        table.columns[list(_TITLES).index(name)].justify = "right"
    for layer in report.layers:
        table.add_row(*_row(layer))
    console.print(table)
    for bench in report.benches:
        verdict = "ok" if bench.passed else f"FAILED, see {bench.log}"
        console.print(f"{bench.bench} on {bench.simulator}: {verdict} ({bench.seconds} s)", highlight=False)
    _print_violations(console, report)
    console.print("all checks passed" if report.passed else "[bold red]checks failed[/]", highlight=False)


_NUMBERS = ("cycles RTL", "cycles sim", "words", "spikes", "values", "wrong")
_TITLES = ("layer", "image", "simulator", *_NUMBERS)


def _row(layer: LayerReport) -> tuple[str, ...]:
    spikes = layer.compared.get("spikes", 0)
    values = sum(layer.compared.values()) - spikes
    numbers = (layer.cycles_rtl, layer.cycles_simulated, layer.words_issued, spikes, values, layer.differing)
    verdict = "[red]FAILED[/]" if layer.differing else "ok"
    return layer.layer, str(layer.image), layer.simulator, *(f"{number:,}" for number in numbers), verdict


def _print_violations(console: Console, report: Report) -> None:
    console.print(f"lint: {len(report.lint) or 'no'} warnings; structure: {len(report.structure) or 'no'} findings")
    mismatches = [mismatch for layer in report.layers for mismatch in layer.mismatches]
    for item in (*report.lint, *report.structure, *mismatches[:SHOWN_MISMATCHES]):
        console.print(str(item), style="red", highlight=False, markup=False, soft_wrap=True)
    if len(mismatches) > SHOWN_MISMATCHES:
        console.print(f"… and {len(mismatches) - SHOWN_MISMATCHES} more", style="red")


def report_object(report: Report) -> dict[str, object]:
    """The report with its verdict, for --json."""
    fields: dict[str, object] = msgspec.to_builtins(report)
    return fields | {"passed": report.passed}


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else WIDTH_OF_A_FILE)
