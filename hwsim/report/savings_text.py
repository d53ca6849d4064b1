"""What pruning saves, as rows of text."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dtss.hwsim.report import quantities
from dtss.hwsim.savings import Saving

TITLE = "What pruning saves, an image"
COLUMNS = ("quantity", "every step", "as scheduled", "saved")


def print_savings(savings: tuple[Saving, ...], console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == COLUMNS[0] else "right", no_wrap=True)
    for row in savings_rows(savings):
        table.add_row(*row)
    console.print()
    console.print(Text(TITLE, style="bold"))
    console.print(table)


def savings_rows(savings: tuple[Saving, ...]) -> list[tuple[str, str, str, str]]:
    """The text of each column; energies with their unit."""
    return [(_name(saving), *_amounts(saving), quantities.percent(saving.share)) for saving in savings]


def _name(saving: Saving) -> str:
    return saving.quantity.removesuffix(" pJ")


def _amounts(saving: Saving) -> tuple[str, str]:
    show = quantities.energy if saving.quantity.endswith(" pJ") else quantities.whole
    return show(saving.unpruned), show(saving.pruned)
