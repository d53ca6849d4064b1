"""`dtss-sim --paper` as a table and as dtss-paper/1."""

from __future__ import annotations

from itertools import groupby
from typing import Literal

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dtss.hwsim.paper import Check
from dtss.hwsim.report.quantities import significant


class PaperJson(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every check; errors are derived / published − 1, null where nothing can be derived."""

    format: Literal["dtss-paper/1"] = "dtss-paper/1"
    checks: tuple[Check, ...]


def encode(checks: tuple[Check, ...]) -> bytes:
    """The same checks give the same bytes."""
    return msgspec.json.format(msgspec.json.encode(PaperJson(checks=checks), order="sorted"), indent=2) + b"\n"


def print_checks(checks: tuple[Check, ...], console: Console) -> None:
    """One table for each published table."""
    for name, group in groupby(checks, key=lambda check: check.table):
        console.print(Text(name, style="bold"))
        console.print(_table(tuple(group)))
        console.print()
    console.print(Text(_closing(checks), style="dim"))


def _table(checks: tuple[Check, ...]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column, justify in (("cell", "left"), ("published", "right"), ("derived", "right"), ("error", "right")):
        table.add_column(column, justify="right" if justify == "right" else "left", no_wrap=True)
    table.add_column("from")
    for check in checks:
        table.add_row(
            Text(check.cell),
            f"{significant(check.published, 7).rstrip('0').rstrip('.')} {check.unit}".strip(),
            "-" if check.derived is None else significant(check.derived, 4),
            "-" if check.error is None else f"{round(100 * check.error, 1) + 0.0:+.1f} %",
            Text(check.basis),
        )
    return table


def _closing(checks: tuple[Check, ...]) -> str:
    derived = [check for check in checks if check.error is not None]
    near = sum(abs(check.error or 0.0) < 0.03 for check in derived)
    return (
        f"{len(checks)} cells: {near} within 3 %, {len(derived) - near} further off, "
        f"{len(checks) - len(derived)} that nothing published gives"
    )
