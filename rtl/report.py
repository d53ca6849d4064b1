"""What dtss-rtl prints."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from dtss.rtl.generate import Manifest
from dtss.rtl.verify import ImageReport, LayerReport, Report

WIDTH_OF_A_FILE = 120
SHOWN_MISMATCHES = 20


def print_generated(manifest: Manifest, folder: Path) -> None:
    """One line: what was written, and where."""
    modules = sum(name.startswith("rtl/") for name in manifest.files)
    rows, transfers = manifest.engine.program_rows, manifest.shell.table_rows
    said = f"{folder}: {modules} Verilog modules, a program of {rows} rows, {transfers} transfers of weights"
    _console().print(said, highlight=False, soft_wrap=True)


def print_report(report: Report) -> None:
    """A table of the layers, then every violation."""
    console = _console()
    numbers = ("cycles RTL", "cycles rules", "words", "spikes", "values", "wrong")
    table = Table("layer", "image", *numbers, "", title=f"{report.network}: RTL against golden model")
    for column in table.columns[2:-1]:
        column.justify = "right"
    for image in report.images:
        for layer in (layer for layer in report.layers if layer.image == image.image):
            table.add_row(layer.layer, *_row(layer, layer.words_issued))
        words = sum(layer.words_issued for layer in report.layers if layer.image == image.image)
        table.add_row("the whole image", *_row(image, words), end_section=True)
    console.print(table)
    for bench in report.benches:
        verdict = "ok" if bench.passed else f"FAILED, see {bench.log}"
        console.print(f"{bench.bench} on {bench.simulator}: {verdict} ({bench.seconds} s)", highlight=False)
    _print_violations(console, report)
    console.print("all checks passed" if report.passed else "[bold red]checks failed[/]", highlight=False)


def _row(report: ImageReport | LayerReport, words: int) -> tuple[str, ...]:
    spikes = report.compared.get("spikes", 0)
    values = sum(report.compared.values()) - spikes
    numbers = (report.cycles_rtl, report.cycles_expected, words, spikes, values, report.differing)
    verdict = "[red]FAILED[/]" if report.differing else "ok"
    return str(report.image), *(f"{number:,}" for number in numbers), verdict


def _print_violations(console: Console, report: Report) -> None:
    console.print(f"lint: {len(report.lint) or 'no'} warnings; structure: {len(report.structure) or 'no'} findings")
    mismatches = report.mismatches
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
