"""What each time step does, for a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dtss.hwsim.report import quantities
from dtss.hwsim.report.steps import OWN_CYCLES, SHARED_NAMES, LayerStep, LayerSteps, layer_steps, shared_sentence
from dtss.hwsim.report.text import SHORTEST_NAME, natural_width, shortened
from dtss.hwsim.result import Result

STEP_COLUMNS = (
    "layer", "step", "words in", "skipped", "ones", "array busy", "lanes busy", "walk", "fill", "elementwise",
    "membrane rows", "spikes",
)  # fmt: skip
CYCLE_COLUMNS = ("layer", "cycles", "array", "walk", "fill", "elementwise", *SHARED_NAMES.values())


def print_steps(result: Result, console: Console) -> None:
    """A row for each layer and step, then what the cycles of each layer went into."""
    layers = layer_steps(result)
    if not layers:
        return
    steps = [row for layer in layers for row in step_cells(layer)]
    _print(console, "What each time step does, an image", STEP_COLUMNS, steps)
    _print(console, "Where the cycles of each layer go, an image", CYCLE_COLUMNS, list(map(cycle_cells, layers)))
    console.print(Text(f"Array, walk, fill and elementwise are sums of the steps. {shared_sentence()}", style="dim"))


def _print(console: Console, title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Columns that say anything; long names lose their beginnings, and no number is ever cut."""
    used = [index for index in range(len(columns)) if any(row[index] for row in rows)]
    longest = max(len(row[0]) for row in rows)

    def table_of(name_width: int) -> Table:
        table = Table(box=None, pad_edge=False)
        for index in used:
            table.add_column(columns[index], justify="right" if index else "left", no_wrap=True)
        for name, *cells in rows:
            texts = shortened(name, name_width), *cells
            table.add_row(*(Text(texts[index]) for index in used))
        table.width = natural_width(table, console)
        return table

    table = table_of(longest)
    missing = natural_width(table, console) - console.width
    if missing > 0:
        table = table_of(max(SHORTEST_NAME, longest - missing))
    console.print()
    console.print(Text(title, style="bold"))
    console.print()
    console.print(table, crop=False)


def step_cells(layer: LayerSteps) -> list[tuple[str, ...]]:
    """The text of `STEP_COLUMNS`; nothing where a layer has no words, or no neurons."""
    return [(layer.name, *_cells(step)) for step in layer.steps]


def _cells(step: LayerStep) -> tuple[str, ...]:
    streams = step.words_offered > 0
    return (
        str(step.step),
        quantities.whole(step.words_issued) if streams else "",
        quantities.share(1 - step.words_issued / step.words_offered) if streams else "",
        quantities.whole(step.active_bits) if streams else "",
        quantities.share(step.array_busy) if streams else "",
        quantities.share(step.lanes_busy) if streams else "",
        quantities.whole(step.walk_cycles) if step.walk_cycles else "",
        quantities.whole(step.fill_cycles) if step.fill_cycles else "",
        quantities.whole(step.elementwise_cycles) if step.elementwise_cycles else "",
        quantities.whole(step.membrane_rows) if step.membrane_rows else "",
        "" if step.spikes is None else quantities.whole(step.spikes),
    )


def cycle_cells(layer: LayerSteps) -> tuple[str, ...]:
    """The text of `CYCLE_COLUMNS`."""
    own = [sum(getattr(step, name) for step in layer.steps) for name in OWN_CYCLES]
    amounts = [layer.cycles, *own, *layer.shared.values()]
    return (layer.name, *(quantities.whole(amount) if amount else "" for amount in amounts))
