"""The layer table for a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from dtss.hwsim.report import quantities, summary
from dtss.hwsim.report.layers import MARKS, MEANINGS, Layer, layers, marks
from dtss.hwsim.result import Result

ENERGIES = ("compute nJ", "memory nJ", "leakage nJ")
COLUMNS = ("layer", "group", "steps", "spikes", "cycles", "accumulates", "rate", *ENERGIES)
LEFT = COLUMNS[:4]
NOT_IN_A_NARROW_TERMINAL = ("group", "rate")
SHORTEST_NAME = 12
WIDTH_OF_A_FILE = 140  # columns, where no terminal says how wide it is


def print_result(result: Result, console: Console) -> None:
    """Headline, layer table, facts, assumptions."""
    rows = layers(result)
    console.print(Text(summary.headline(result), style="bold"))
    console.print()
    console.print(_fitting_table(result, rows, console))
    console.print(Text(_legend(rows), style="dim"))
    console.print()
    console.print(_facts(result))


def _fitting_table(result: Result, rows: tuple[Layer, ...], console: Console) -> Table:
    """All columns if they fit, else fewer of them, and the ends of long names."""
    longest = max(len(row.name) for row in rows)
    table = _table(result, rows, COLUMNS, longest)
    if natural_width(table, console) <= console.width:
        return table
    columns = tuple(column for column in COLUMNS if column not in NOT_IN_A_NARROW_TERMINAL)
    missing = natural_width(_table(result, rows, columns, longest), console) - console.width
    return _table(result, rows, columns, max(SHORTEST_NAME, longest - max(0, missing)))


def natural_width(table: Table, console: Console) -> int:
    """Columns that it takes where nothing is cut."""
    return Measurement.get(console, console.options.update(max_width=10_000), table).maximum


def _table(result: Result, rows: tuple[Layer, ...], columns: tuple[str, ...], name_width: int) -> Table:
    table = Table(box=None, pad_edge=False, show_footer=True, footer_style="bold")
    footer = dict(zip(COLUMNS, _footer(result), strict=True))
    for column in columns:
        table.add_column(column, footer[column], justify="left" if column in LEFT else "right", no_wrap=True)
    for row in cells(rows):
        by_column = dict(zip(COLUMNS, row, strict=True)) | {COLUMNS[0]: shortened(row[0], name_width)}
        table.add_row(*(Text(by_column[column]) for column in columns))
    return table


def cells(rows: tuple[Layer, ...]) -> list[tuple[str, ...]]:
    """The text of every column of every row."""
    compute = quantities.nanojoules([row.compute_pj for row in rows])
    memory = quantities.nanojoules([row.memory_pj for row in rows])
    leakage = quantities.nanojoules([row.leakage_pj for row in rows])
    return [(*_cells(row), *energies) for row, *energies in zip(rows, compute, memory, leakage, strict=True)]


def shortened(name: str, width: int) -> str:
    """The end of a name, which tells more than its beginning."""
    return name if len(name) <= width else f"…{name[1 - width :]}"


def _cells(row: Layer) -> tuple[str, ...]:
    return (
        row.name,
        row.group or "",
        marks(row.states),
        marks(row.neuron_states or (row.states if row.rate is not None else ())),
        quantities.whole(row.cycles),
        quantities.whole(row.accumulates) if row.words_offered else "",
        "" if row.rate is None else quantities.rate(row.rate),
    )


def _footer(result: Result) -> tuple[str, ...]:
    return (
        "an image",
        "",
        "",
        "",
        quantities.whole(result.cycles.mean()),
        quantities.whole(result.sum_of("accumulates").mean()),
        "",
        *quantities.nanojoules([float(result.compute_pj.mean())]),
        *quantities.nanojoules([float(result.memory_pj.mean())]),
        *quantities.nanojoules([float(result.leakage_pj.mean())]),
    )


def _legend(rows: tuple[Layer, ...]) -> str:
    used = {state for row in rows for state in (*row.states, *row.neuron_states)}
    meanings = "   ".join(f"{mark} {MEANINGS[state]}" for state, mark in MARKS.items() if state in used)
    return f"{meanings}\nsteps: of the layer's value; spikes: of its neurons; rate: spikes per neuron and time step"


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
