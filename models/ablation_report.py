"""What an ablation study writes: JSON with everything, CSV with raw numbers, Markdown and text for people.

The same outcomes give the same bytes: no times, no folders.
"""

import csv
import dataclasses
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Literal

import msgspec

from dtss.models.ablation import FORMAT, STATE, Measurement, Outcome, Plan
from dtss.models.ablation_grid import PAPER_ORDER, TABLE_III, TABLE_IV, Published, Setting, TableName
from dtss.models.atomic import remove_leftovers, write_atomically
from dtss.models.spikformer import CONFIGS

METRICS = (
    "test_accuracy",
    "average_time_steps",
    "average_time_steps_pruned",
    "spike_rate",
    "accumulates_per_image",
    "compute_energy_pj_per_image",
    "memory_energy_pj_per_image",
    "energy_pj_per_image",
    "cycles_per_image",
)
ENERGIES = ("compute_energy_pj_per_image", "memory_energy_pj_per_image", "energy_pj_per_image")
PUBLISHED = tuple(field.name for field in dataclasses.fields(Published))
PAPER: Mapping[TableName, Mapping[Setting, Published]] = {"groups": TABLE_III, "steps": TABLE_IV}
TITLES: Mapping[TableName, str] = {
    "groups": "Groups in the mask loss (as Table III)",
    "steps": "Initial steps, maximum steps and λ_m (as Table IV)",
}
SETTING_HEADERS: Mapping[TableName, tuple[str, ...]] = {"groups": PAPER_ORDER, "steps": ("initial", "max", "λ_m")}
CSV_COLUMNS = (
    *("table", "groups", "mask_weight", "initial_steps", "time_steps", "measured_runs"),
    *METRICS,
    *(f"{name}_spread" for name in METRICS),
    *(f"published_{name}" for name in PUBLISHED),
    "failures",
)
PAPER_HEADERS = ("paper: accuracy %", "paper: T_avg", "paper: activity %", "paper: SOPs M")
ENERGY_UNITS = ("pJ", "nJ", "µJ", "mJ", "J")
COUNT_PREFIXES = ("", "k", "M", "G", "T")
MISSING = "–"
LEGEND = (
    "accuracy: float network on all images held out; T_avg: of the trained masks; T pruned: what is left to run after "
    "the compiler's pruning; activity: spikes per neuron and step of T_max, mean over LIF layers; SOPs (accumulates "
    "performed), energies and cycles: of one image, from dtss-sim"
)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One setting over all seeds.

    mean, spread  of the runs that ended with a measurement; the spread is their standard deviation (n − 1), None of
                  one run alone.
    published     the paper's row, None unless `is_the_papers`.
    failures      the other runs' reasons, by name.
    """

    setting: Setting
    runs: tuple[str, ...]
    mean: Mapping[str, float] | None
    spread: Mapping[str, float] | None
    published: Published | None
    failures: Mapping[str, str]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """ablation.json."""

    format: Literal["dtss-ablation/1"]
    options: Mapping[str, Any]
    runs: Mapping[str, Outcome]
    tables: Mapping[TableName, Sequence[Row]]
    left_out: Sequence[tuple[int, int]]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table in the words that people read, ready to be aligned."""

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Column:
    """A metric as printed: value · factor, with so many decimals."""

    header: str
    metric: str
    factor: float
    decimals: int

    def cell(self, row: Row) -> str:
        if row.mean is None:
            return MISSING
        mean = f"{row.mean[self.metric] * self.factor:,.{self.decimals}f}"
        if row.spread is None:
            return mean
        return f"{mean} ± {row.spread[self.metric] * self.factor:,.{self.decimals}f}"


def report(plan: Plan, outcomes: Mapping[str, Outcome]) -> Report:
    return Report(
        format=FORMAT,
        options=plan.options,
        runs=outcomes,
        tables={
            name: tuple(_row(plan, name, setting, outcomes) for setting in settings)
            for name, settings in plan.tables.items()
        },
        left_out=plan.left_out,
    )


def _row(plan: Plan, table: TableName, setting: Setting, outcomes: Mapping[str, Outcome]) -> Row:
    names = tuple(run.name for run in plan.runs if run.setting == setting)
    ended = {name: outcomes[name] for name in names if name in outcomes}
    measured = [each.measurement for each in ended.values() if each.measurement is not None]
    return Row(
        setting=setting,
        runs=names,
        mean={name: fmean(_values(measured, name)) for name in METRICS} if measured else None,
        spread={name: stdev(_values(measured, name)) for name in METRICS} if len(measured) > 1 else None,
        published=PAPER[table].get(setting) if is_the_papers(plan) else None,
        failures={name: each.failure for name, each in ended.items() if each.failure is not None},
    )


def _values(measured: Sequence[Measurement], name: str) -> list[float]:
    return [getattr(each, name) for each in measured]


def is_the_papers(plan: Plan) -> bool:
    """Whether the paper's rows speak of this network and data: Spikformer-4-384 on all of CIFAR-100."""
    papers = CONFIGS["spikformer-4-384"]
    own = dataclasses.replace(
        plan.config, initial_steps=papers.initial_steps, time_steps=papers.time_steps, classes=papers.classes
    )
    return own == papers and plan.recipe.data_set == "cifar100" and plan.limit_images is None


def encode(content: Report) -> bytes:
    """The same report gives the same bytes."""
    return msgspec.json.format(msgspec.json.encode(content, order="sorted"), indent=2) + b"\n"


def write(plan: Plan, folder: Path, outcomes: Mapping[str, Outcome]) -> None:
    """All three files; first ablation.json, from which a killed study goes on."""
    content = report(plan, outcomes)
    files = {
        STATE: encode(content),
        "ablation.csv": csv_text(content).encode(),
        "ablation.md": markdown(plan, content).encode(),
    }
    for name, data in files.items():
        _write(folder / name, data)


def _write(path: Path, data: bytes) -> None:
    remove_leftovers(path)
    write_atomically(path, lambda file: file.write(data))


def csv_text(content: Report) -> str:
    """One line for each row of each table, in the units of the JSON."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for table, rows in content.tables.items():
        writer.writerows(_csv_row(table, row, content) for row in rows)
    return text.getvalue()


def _csv_row(table: TableName, row: Row, content: Report) -> dict[str, float | str]:
    published = {} if row.published is None else dataclasses.asdict(row.published)
    return {
        "table": table,
        "groups": row.setting.group_names,
        "mask_weight": row.setting.mask_weight,
        "initial_steps": row.setting.initial_steps,
        "time_steps": row.setting.time_steps,
        "measured_runs": sum(_measured(content, name) for name in row.runs),
        **(row.mean or {}),
        **{f"{name}_spread": value for name, value in (row.spread or {}).items()},
        **{f"published_{name}": value for name, value in published.items()},
        "failures": "; ".join(f"{name}: {failure}" for name, failure in row.failures.items()),
    }


def _measured(content: Report, name: str) -> bool:
    outcome = content.runs.get(name)
    return outcome is not None and outcome.measurement is not None


def markdown(plan: Plan, content: Report) -> str:
    """Both tables with what they were made with."""
    parts = [f"# Ablation of {plan.config.name} on {plan.recipe.data_set}", "\n".join(heading(plan, content))]
    for table in tables(plan, content):
        notes = ["\n".join(f"- {note}" for note in table.notes)] if table.notes else []
        parts += [f"## {table.title}", _markdown_table(table), *notes]
    return "\n\n".join([*parts, f"{LEGEND}."]) + "\n"


def _markdown_table(table: Table) -> str:
    lines = [table.headers, *table.rows]
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(table.headers))]
    rule = "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|"
    cells = [[f"{cell:>{width}}" for cell, width in zip(line, widths, strict=True)] for line in lines]
    padded = [f"| {' | '.join(line)} |" for line in cells]
    return "\n".join([padded[0], rule, *padded[1:]])


def heading(plan: Plan, content: Report) -> list[str]:
    """What all runs share, one fact a line."""
    measured = [outcome.measurement for outcome in content.runs.values() if outcome.measurement is not None]
    seeds = ", ".join(map(str, plan.seeds))
    several = f"; means ± standard deviations over seeds {seeds}" if len(plan.seeds) > 1 else f", seed {seeds}"
    lines = [
        f"Training: {plan.recipe.epochs} epochs{several}.",
        f"Simulation: {content.options['hardware']}, {content.options['technology']} energies.",
        f"Runs measured: {len(measured)} of {len(plan.runs)}.",
    ]
    if not measured:
        return lines
    any_run = measured[0]
    return [*lines, f"Images: {any_run.test_images} held out, {any_run.simulated_images} of them simulated."]


def tables(plan: Plan, content: Report) -> list[Table]:
    return [_table(plan, name, rows, content.left_out) for name, rows in content.tables.items()]


def _table(plan: Plan, name: TableName, rows: Sequence[Row], left_out: Sequence[tuple[int, int]]) -> Table:
    columns = _columns(rows)
    published = any(row.published is not None for row in rows)
    paper_headers = PAPER_HEADERS if published else ()

    def cells(row: Row) -> tuple[str, ...]:
        papers = _published_cells(row.published) if published else ()
        return (*_setting_cells(name, row.setting), *(column.cell(row) for column in columns), *papers)

    return Table(
        title=TITLES[name],
        headers=(*SETTING_HEADERS[name], *(column.header for column in columns), *paper_headers),
        rows=tuple(cells(row) for row in rows),
        notes=(*_shared(plan, name), *_left_out(name, left_out), *_failures(rows)),
    )


def _setting_cells(table: TableName, setting: Setting) -> tuple[str, ...]:
    if table == "groups":
        return tuple("✓" if name in setting.groups else "×" for name in PAPER_ORDER)
    return str(setting.initial_steps), str(setting.time_steps), f"{setting.mask_weight:g}"


def _published_cells(published: Published | None) -> tuple[str, ...]:
    if published is None:
        return (MISSING,) * len(PUBLISHED)
    return tuple(f"{getattr(published, name):.2f}" for name in PUBLISHED)


def _columns(rows: Sequence[Row]) -> tuple[_Column, ...]:
    def largest(*metrics: str) -> float:
        return max((row.mean[name] for row in rows if row.mean for name in metrics), default=0.0)

    sops, energy = _power(largest("accumulates_per_image")), _power(largest(*ENERGIES))
    count_decimals = _decimals(largest("accumulates_per_image") / 1000**sops)
    energy_decimals = _decimals(largest(*ENERGIES) / 1000**energy)
    unit = ENERGY_UNITS[energy]
    energies = zip(("compute", "memory", "energy"), ENERGIES, strict=True)
    return (
        _Column("accuracy %", "test_accuracy", 100.0, 2),
        _Column("T_avg", "average_time_steps", 1.0, 2),
        _Column("T pruned", "average_time_steps_pruned", 1.0, 2),
        _Column("activity %", "spike_rate", 100.0, 2),
        _Column(f"SOPs {COUNT_PREFIXES[sops]}".rstrip(), "accumulates_per_image", 1000.0**-sops, count_decimals),
        *(_Column(f"{name} {unit}", metric, 1000.0**-energy, energy_decimals) for name, metric in energies),
        _Column("cycles", "cycles_per_image", 1.0, 0),
    )


def _power(largest: float) -> int:
    """The power of 1000 that leaves one to three digits before the point."""
    return min(max(math.floor(math.log10(largest) / 3), 0), len(ENERGY_UNITS) - 1) if largest > 0.0 else 0


def _decimals(largest: float) -> int:
    """As many as give the largest value four digits."""
    return min(max(3 - math.floor(math.log10(largest)), 0), 3) if largest > 0.0 else 0


def _shared(plan: Plan, table: TableName) -> tuple[str, ...]:
    """What the rows of a table have in common."""
    first = next((each for each in plan.tables[table] if each.groups), None)
    if first is None:
        return ()
    if table == "groups":
        return (f"λ_m = {first.mask_weight:g}; masks start with {first.initial_steps} of {first.time_steps} steps.",)
    return (f"Mask loss over {first.group_names}.",)


def _left_out(table: TableName, pairs: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    if table != "steps" or not pairs:
        return ()
    return (f"Left out, initial above maximum: {', '.join(f'{initial} of {steps}' for initial, steps in pairs)}.",)


def _failures(rows: Sequence[Row]) -> tuple[str, ...]:
    """Why each failed run failed, in one line: the last of what was printed, where an exception's message stands."""
    return tuple(
        f"{name} failed: {' … '.join(dict.fromkeys((failure.splitlines()[0], failure.splitlines()[-1])))}"
        for row in rows
        for name, failure in row.failures.items()
    )
