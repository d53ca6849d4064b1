"""What each optional pass is worth: the network compiled with it switched off, simulated, and compared.

A variant is compiled from the first pass on that it changes, and simulated unless it is what all passes give.

The simulator is run as the command dtss-sim and its files are read, since nothing here may import it.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dtss.compiler.errors import CompileError
from dtss.compiler.graph.ir import Graph
from dtss.compiler.passes.manager import PassResults
from dtss.compiler.pipeline import PIPELINE, Compiled, compile_graph
from dtss.compiler.schedule import io
from dtss.compiler.schedule.errors import BadInputError

ACCESSES = {
    "weight rows": ("weight_row_reads", "stationary_row_reads"),
    "spike words": ("spike_word_reads", "spike_word_writes", "spike_row_writes"),
    "membrane rows": ("membrane_row_reads", "membrane_row_writes"),
    "current rows": ("current_row_reads", "current_row_writes"),
}


@dataclass(frozen=True)
class AblationRow:
    """Means over the images of one variant; without numbers where the machine cannot hold it.

    accesses: reads and writes by what is moved.  same_integers: whether every logit of every step equals that of all
    passes together.  promised: whether it has to.  refused: the compiler's sentence, None if it compiled.
    """

    switched_off: tuple[str, ...]
    cycles: float | None = None
    energy_pj: float | None = None
    accumulates: float | None = None
    accesses: Mapping[str, float] | None = None
    same_integers: bool | None = None
    promised: bool = True
    refused: str | None = None

    @property
    def name(self) -> str:
        if not self.switched_off:
            return "all passes"
        return "none of them" if len(self.switched_off) > 1 else f"without {self.switched_off[0]}"


@dataclass(frozen=True)
class Ablation:
    """The first row is that of all passes. images: how many the means are of."""

    rows: tuple[AblationRow, ...]
    tech: str
    images: int

    @property
    def agrees(self) -> bool:
        return all(row.same_integers is not False or not row.promised for row in self.rows)

    def as_records(self) -> list[dict[str, object]]:
        """For --json."""
        return [dataclasses.asdict(row) for row in self.rows]

    def as_text(self) -> str:
        """A table; in brackets the change against all passes."""
        header = ("", "cycles", f"energy, {self.tech}", "accumulates", *ACCESSES, "integers")
        cells = [header, *(tuple(_cells(row, self.rows[0])) for row in self.rows)]
        widths = [max(len(line[column]) for line in cells) for column in range(len(header))]
        lines = [
            "  ".join(
                [
                    line[0].ljust(widths[0]),
                    *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)),
                ]
            )
            for line in cells
        ]
        refused = [f"{row.name}: {row.refused}" for row in self.rows if row.refused]
        return "\n".join([f"for an image, mean of {self.images}", *(line.rstrip() for line in lines), *refused])


def ablate(graph: Graph, results: PassResults, samples: Mapping[str, np.ndarray], tech: str, limit: int) -> Ablation:
    """All passes, each optional one off, and all of those off that keep the integers and compile by themselves.

    Simulated on the first `limit` of the samples.  results: of earlier compilations of the graph.
    """
    if io.IMAGES not in samples:
        raise BadInputError("--ablation", "no images to simulate came with the model", "give some with --calibration")
    whole = compile_graph(graph, results.target, results=results)
    study = _Study(graph, whole, results, samples, tech, limit)
    passes = [study.row((step.name,), promised=step.keeps_integers) for step in PIPELINE if step.optional]
    together = tuple(name for row in passes if row.promised and not row.refused for name in row.switched_off)
    rows = (study.row(()), *passes, study.row(together))
    return Ablation(rows, tech, min(limit, len(samples[io.IMAGES])))


@dataclass(frozen=True, eq=False)
class _Study:
    """A network with all passes, and what its variants are compared on."""

    graph: Graph
    whole: Compiled
    results: PassResults
    samples: Mapping[str, np.ndarray]
    tech: str
    limit: int

    @cached_property
    def of_all(self) -> tuple[dict[str, Any], NDArray[np.float64]]:
        return _simulated(self.whole, self.samples, self.tech, self.limit)

    def row(self, switched_off: tuple[str, ...], *, promised: bool = True) -> AblationRow:
        disabled = frozenset(switched_off)
        try:
            compiled = compile_graph(self.graph, self.results.target, disabled=disabled, results=self.results)
        except CompileError as error:
            return AblationRow(switched_off, promised=promised, refused=str(error))
        alike = _alike(compiled, self.whole)
        result, logits = self.of_all if alike else _simulated(compiled, self.samples, self.tech, self.limit)
        same = bool(np.array_equal(logits, self.of_all[1]))
        return _row(switched_off, result, same_integers=same, promised=promised)


def _row(switched_off: tuple[str, ...], result: dict[str, Any], *, same_integers: bool, promised: bool) -> AblationRow:
    totals = result["totals"]
    counts = {name: count / result["images"] for name, count in totals["counts"].items()}
    return AblationRow(
        switched_off,
        cycles=totals["cycles_per_image"],
        energy_pj=totals["energy_pj_per_image"],
        accumulates=counts["accumulates"],
        accesses={kind: sum(counts[name] for name in names) for kind, names in ACCESSES.items()},
        same_integers=same_integers,
        promised=promised,
    )


def _alike(left: Compiled, right: Compiled) -> bool:
    """Whether two schedules do the same work, whatever passes made them."""
    unnamed = msgspec.structs.replace(left.schedule, passes=right.schedule.passes)
    return unnamed == right.schedule and all(
        np.array_equal(tensor, right.tensors[name]) for name, tensor in left.tensors.items()
    )


def _simulated(
    compiled: Compiled, samples: Mapping[str, np.ndarray], tech: str, limit: int
) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """(dtss-sim's JSON, logits of every step)."""
    with tempfile.TemporaryDirectory(prefix="dtss-ablation-") as folder:
        schedule, result, outputs = (Path(folder) / name for name in ("schedule.json", "result.json", "outputs.npz"))
        io.save(schedule, compiled.schedule, compiled.tensors | dict(samples))
        _run_simulator(
            [str(schedule), "--tech", tech, "--limit", str(limit), "--json", str(result), "--outputs", str(outputs)]
        )
        with np.load(outputs) as arrays:
            return json.loads(result.read_text()), arrays["logits_per_step"]


def _run_simulator(arguments: list[str]) -> None:
    command = [sys.executable, "-P", "-m", "dtss.hwsim.cli", *arguments, "--quiet"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        found = answer.stderr.strip().removeprefix("dtss-sim: error: ") or f"exit code {answer.returncode}"
        raise BadInputError("--ablation: dtss-sim", found, "simulate the schedule by itself to see more")


def _cells(row: AblationRow, whole: AblationRow) -> Iterator[str]:
    yield row.name
    if row.cycles is None or row.energy_pj is None or row.accumulates is None or row.accesses is None:
        yield from ("does not compile", *("",) * (3 + len(ACCESSES)))
        return
    yield f"{row.cycles:,.0f}{_change(row.cycles, whole.cycles)}"
    yield f"{row.energy_pj / 1e6:,.3f} µJ{_change(row.energy_pj, whole.energy_pj)}"
    yield f"{row.accumulates:,.0f}"
    yield from (f"{count:,.0f}" for count in row.accesses.values())
    yield "the same" if row.same_integers else "DIFFER" if row.promised else "others"


def _change(value: float, reference: float | None) -> str:
    return "" if not reference or value == reference else f" ({100 * (value / reference - 1):+.1f} %)"
