"""The layer table for a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dtss.hwsim.report import quantities, summary
from dtss.hwsim.report.layers import MARKS, MEANINGS, Layer, layers, marks
from dtss.hwsim.simulate import Result

COLUMNS = ("layer", "group", "steps", "spikes", "cycles", "accumulates", "rate", "compute nJ", "memory nJ")
LEFT = COLUMNS[:4]
WIDTH_OF_A_FILE = 140  # columns, where no terminal says how wide it is


def print_result(result: Result, console: Console) -> None:
    """Headline, layer table, facts, assumptions."""
    rows = layers(result)
    console.print(Text(summary.headline(result), style="bold"))
    console.print()
    console.print(_table(result, rows))
    console.print(Text(_legend(rows), style="dim"))
    console.print()
    console.print(_facts(result))


def _table(result: Result, rows: tuple[Layer, ...]) -> Table:
    table = Table(box=None, pad_edge=False, show_footer=True, footer_style="bold")
    for column, footer in zip(COLUMNS, _footer(result), strict=True):
        table.add_column(
            column,
            footer,
            justify="left" if column in LEFT else "right",
            no_wrap=column != "layer",
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in _cells(row)))
    return table


def _cells(row: Layer) -> tuple[str, ...]:
    return (
        row.name,
        row.group or "",
        marks(row.states),
        marks(row.neuron_states or (row.states if row.rate is not None else ())),
        quantities.whole(row.cycles),
        quantities.whole(row.accumulates) if row.words_offered else "",
        "" if row.rate is None else quantities.percent(row.rate),
        quantities.nanojoules(row.compute_pj),
        quantities.nanojoules(row.memory_pj),
    )


def _footer(result: Result) -> tuple[str, ...]:
    return (
        "mean of an image",
        "",
        "",
        "",
        quantities.whole(result.cycles.mean()),
        quantities.whole(result.sum_of("accumulates").mean()),
        "",
        quantities.nanojoules(result.compute_pj.mean()),
        quantities.nanojoules(result.memory_pj.mean()),
    )


def _legend(rows: tuple[Layer, ...]) -> str:
    used = {state for row in rows for state in (*row.states, *row.neuron_states)}
    meanings = "   ".join(f"{mark} {MEANINGS[state]}" for state, mark in MARKS.items() if state in used)
    return f"{meanings}\nsteps: of the product; spikes: of its neurons; rate: spikes per neuron and time step"


def _facts(result: Result) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for subject, sentence in summary.facts(result):
        table.add_row(subject, Text(sentence))
    guesses = summary.assumptions(result)
    told = f"no published figure for {', '.join(guesses)}; sources are in --html and --json" if guesses else "none"
    table.add_row("assumptions", Text(told))
    return table
