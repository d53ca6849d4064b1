"""docs/passes.md has a row for every pass, in order, with its switch or why it has none."""

from pathlib import Path

import pytest

from dtss.compiler.passes.base import Pass
from dtss.compiler.pipeline import PIPELINE


@pytest.fixture(scope="module")
def rows(repository: Path) -> list[list[str]]:
    """Cells of the page's first table: pass, what it does, left out, what it keeps."""
    page = (repository / "docs" / "passes.md").read_text(encoding="utf-8")
    table = page.partition("|---|---|---|---|\n")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_rows_are_the_pipeline(rows: list[list[str]]) -> None:
    assert [row[0] for row in rows] == [f"`{step.name}`" for step in PIPELINE]
    assert all(len(row) == 4 and all(row) for row in rows)


@pytest.mark.parametrize("step", PIPELINE, ids=lambda step: str(step.name))
def test_row_names_the_switch_or_the_reason(step: Pass, rows: list[list[str]]) -> None:
    left_out = rows[PIPELINE.index(step)][2]
    assert left_out.startswith(f"`--no-{step.name}`" if step.optional else "never: ")
    assert ("other integers" in left_out) == (step.optional and not step.keeps_integers)
