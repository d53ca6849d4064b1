"""The whole measurement: mutants, benches, score, what is printed."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from dtss.rtl.generate import leaf_modules
from tests.rtl.mutation.benches import all_benches, find_netlist_mutants
from tests.rtl.mutation.netlists import AnyMutant, NetlistMutant
from tests.rtl.mutation.sample import missing_names, sample
from tests.rtl.mutation.score import BAR, Score, explanations, run, scored
from tests.rtl.mutation.sites import find_mutants

WIDTH_OF_A_FILE = 120


def measure(work: Path, modules: Sequence[str] | None, jobs: int, json: Path | None) -> int:
    """The exit code."""
    candidates = find_mutants(leaf_modules())
    if missing := missing_names(candidates):
        print(f"no place in the source for: {'; '.join(missing)}", file=sys.stderr)
        return 1
    chosen: list[AnyMutant] = [*sample(candidates), *find_netlist_mutants(work)]
    explained = explanations()
    if modules is not None:
        chosen = [mutant for mutant in chosen if mutant.module in modules]
        explained = {name: each for name, each in explained.items() if name.split(":")[0] in modules}
    mutants = dict(enumerate(chosen, 1))
    with _progress() as bar:
        task = bar.add_task("", total=None)
        killed = run(
            all_benches(work),
            mutants,
            jobs,
            lambda bench, done, total: bar.update(task, description=bench, completed=done, total=total),
        )
    score = scored(mutants, killed, explained)
    print_score(score, len(candidates))
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(score_object(score)), indent=2) + b"\n")
    return 0 if score.passed else 1


def _progress() -> Progress:
    """On a terminal only."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=True)


def score_object(score: Score) -> dict[str, object]:
    """All of it, sorted as it was found."""
    return {
        "bar": BAR,
        "equal": score.equal,
        "killed": score.killed,
        "killed_of_all": round(score.of_all, 4),
        "killed_of_unequal": round(score.of_unequal, 4),
        "mutants": [
            {
                "killed_by": outcome.killed_by,
                "module": outcome.mutant.module,
                "mutant": str(outcome.mutant),
                "rule": outcome.mutant.rule,
                "why": None if outcome.explanation is None else outcome.explanation.why,
                "equal": outcome.explanation is not None and outcome.explanation.equal,
            }
            for outcome in score.outcomes
        ],
        "passed": score.passed,
        "stale": list(score.stale),
    }


def print_score(score: Score, candidates: int) -> None:
    """A row for each module, survivors with their explanations, the score."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH_OF_A_FILE)
    table = Table("module", "mutants", "networks", "unit benches", "handshakes", "survivors", "equal")
    for column in table.columns[1:]:
        column.justify = "right"
    by_module: dict[str, Counter[str]] = {}
    for outcome in score.outcomes:
        kind = "netlist of " if isinstance(outcome.mutant, NetlistMutant) else ""
        counts = by_module.setdefault(f"{kind}{outcome.mutant.module}", Counter())
        counts["mutants"] += 1
        counts[_kind(outcome.killed_by)] += 1
        counts["equal"] += outcome.explanation is not None and outcome.explanation.equal
    total = sum(by_module.values(), Counter[str]())
    for name in sorted(by_module):
        table.add_row(name, *_row(by_module[name]), end_section=name == sorted(by_module)[-1])
    table.add_row("all", *_row(total))
    console.print(table)
    for outcome in score.survivors:
        said = "[red]NOT EXPLAINED[/]" if outcome.explanation is None else outcome.explanation.why
        console.print(f"{str(outcome.mutant).replace('[', chr(92) + '[')}\n    {said}", highlight=False)
    for name in score.stale:
        console.print("[red]explained, but not a survivor:[/]", end=" ")
        console.print(name, markup=False, highlight=False)
    console.print(
        f"{score.killed} of {len(score.outcomes)} found: {score.of_all:.1%} of all, {score.of_unequal:.1%} without the "
        f"{score.equal} that change nothing; the sources have {candidates} mutants",
        highlight=False,
    )


def _row(counts: Counter[str]) -> list[str]:
    columns = ("mutants", "network", "unit", "handshakes", "survivor", "equal")
    return [str(counts[name]) if counts[name] else "" for name in columns]


def _kind(bench: str | None) -> str:
    if bench is None:
        return "survivor"
    return "network" if "network" in bench else "handshakes" if "handshakes" in bench else "unit"
