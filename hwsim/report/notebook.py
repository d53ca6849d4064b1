"""What a notebook shows of a result: the headline, the facts and the layer table, as HTML with no style of its own."""

from __future__ import annotations

from html import escape

from dtss.hwsim.report import summary
from dtss.hwsim.report.layers import layers
from dtss.hwsim.report.text import COLUMNS, LEFT, cells
from dtss.hwsim.result import Result


def fragment(result: Result) -> str:
    """Elements that stand in any page."""
    facts = "".join(
        f"<tr>{_cell('th', subject, 'left')}{_cell('td', sentence, 'left')}</tr>"
        for subject, sentence in summary.facts(result)
    )
    head = "".join(_cell("th", column, _side(column)) for column in COLUMNS)
    rows = (
        "".join(_cell("td", text, _side(column)) for column, text in zip(COLUMNS, row, strict=True))
        for row in cells(layers(result))
    )
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return (
        f"<p><b>{escape(summary.headline(result))}</b></p><table>{facts}</table>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _side(column: str) -> str:
    return "left" if column in LEFT else "right"


def _cell(tag: str, text: str, side: str) -> str:
    return f'<{tag} style="text-align:{side}">{escape(text)}</{tag}>'
