"""Runs mutants through benches until one finds them, and holds what none found against its explanations."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from dtss.rtl.simulators import BenchError
from tests.rtl.mutation.benches import Bench
from tests.rtl.mutation.netlists import AnyMutant

EXPLANATIONS = Path(__file__).with_name("survivors.toml")
BAR = 0.95  # of the mutants that a bench can find

Progress = Callable[[str, int, int], None]
"""Bench, mutants done, mutants to do."""


@dataclass(frozen=True)
class Explanation:
    """equal: nothing that can be seen differs, whatever runs; else the benches do not go there."""

    why: str
    equal: bool


@dataclass(frozen=True)
class Outcome:
    """killed_by: a bench, or none.  explanation: of one that survives."""

    mutant: AnyMutant
    killed_by: str | None
    explanation: Explanation | None = None


@dataclass(frozen=True)
class Score:
    """All outcomes. stale: explanations of mutants that do not exist, or that a bench finds."""

    outcomes: Sequence[Outcome]
    stale: Sequence[str]

    @property
    def killed(self) -> int:
        return sum(outcome.killed_by is not None for outcome in self.outcomes)

    @property
    def survivors(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.killed_by is None]

    @property
    def unexplained(self) -> list[Outcome]:
        return [outcome for outcome in self.survivors if outcome.explanation is None]

    @property
    def equal(self) -> int:
        """Survivors that no bench could find."""
        return sum(outcome.explanation is not None and outcome.explanation.equal for outcome in self.survivors)

    @property
    def of_all(self) -> float:
        return self.killed / len(self.outcomes)

    @property
    def of_unequal(self) -> float:
        """Without those that no bench could find."""
        return self.killed / (len(self.outcomes) - self.equal)

    @property
    def passed(self) -> bool:
        return self.of_unequal >= BAR and not self.unexplained and not self.stale


def run(benches: Iterable[Bench], mutants: Mapping[int, AnyMutant], jobs: int, progress: Progress) -> dict[int, str]:
    """Number → bench that found the mutant."""
    killed: dict[int, str] = {}
    for bench in benches:
        left = {number: mutant for number, mutant in mutants.items() if number not in killed and bench.takes(mutant)}
        if not left:
            continue
        progress(bench.name, 0, len(left))
        bench.build(left)
        if bench.kills(0):
            raise BenchError(f"{bench.name} fails without a mutant")
        killed |= dict.fromkeys(_found(bench, left, jobs, progress), bench.name)
    return killed


def _found(bench: Bench, mutants: Mapping[int, AnyMutant], jobs: int, progress: Progress) -> Iterator[int]:
    with ThreadPoolExecutor(jobs) as pool:
        for done, (number, killed) in enumerate(zip(mutants, pool.map(bench.kills, mutants), strict=True), 1):
            progress(bench.name, done, len(mutants))
            if killed:
                yield number


def scored(mutants: Mapping[int, AnyMutant], killed: Mapping[int, str], explained: Mapping[str, Explanation]) -> Score:
    """`explained`: by the mutant's name."""
    outcomes = [
        Outcome(mutant, killed.get(number), None if number in killed else explained.get(str(mutant)))
        for number, mutant in mutants.items()
    ]
    alive = {str(outcome.mutant) for outcome in outcomes if outcome.killed_by is None}
    return Score(outcomes, sorted(explained.keys() - alive))


def explanations(path: Path = EXPLANATIONS) -> dict[str, Explanation]:
    """By the mutant's name."""
    entries = tomllib.loads(path.read_text(encoding="utf-8")).get("survivor", [])
    return {entry["mutant"]: Explanation(entry["why"], entry["equal"]) for entry in entries}
