"""dtss-train ablation: Tables III and IV of the DTSS paper for a network and machine of one's own."""

import argparse
import dataclasses
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dtss.models.ablation_grid import (
    PAPER_GROUPS,
    PAPER_INITIAL_STEPS,
    PAPER_TIME_STEPS,
    PAPER_WEIGHTS,
    TABLE_IV,
    Setting,
    TableName,
    groups_table,
    steps_table,
)
from dtss.models.cli import (
    EXIT_BAD_INPUT,
    EXIT_OK,
    add_data_options,
    given,
    mask_groups,
    positive,
    run_command,
)
from dtss.models.recipes import RECIPES, Recipe

if TYPE_CHECKING:  # torch takes seconds to import, and --help needs none of it
    from collections.abc import Mapping

    from dtss.models.ablation import Outcome, Plan, Run
    from dtss.models.ablation_report import Report
    from dtss.models.spikformer import SpikformerConfig

NAME = "dtss-train ablation"
WIDTH = 250  # a terminal wraps what it cannot show; rich would cut it
SHARED_OPTIONS = ("data_set", "limit_images", "epochs", "amp", "threads", "device")  # as dtss-train has them
STEPS_OPTIONS = ("mask_weights", "initial_steps", "time_steps")


def main(arguments: Sequence[str]) -> int:
    parser = build_parser()
    options = parser.parse_args(arguments)
    interrupted = "interrupted; the same command with --resume goes on from the last state"
    return run_command(NAME, lambda: _ablate(parser, options), interrupted)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=NAME,
        description="Train one network for each setting of the mask loss, compile and simulate each with dtss-compile "
        "and dtss-sim, and print accuracy, T_avg, spiking activity, synaptic operations, energy and cycles. "
        "Table III of the DTSS paper varies the groups in the mask loss, with the configuration's λ_m and steps; "
        "Table IV varies λ_m, initial and maximum steps, with the configuration's groups. FOLDER gets ablation.json, "
        "ablation.csv, ablation.md and the networks in runs/.",
        epilog="Lists are separated by spaces. Exit codes: 0 ok, 2 usage, 3 bad input or a setting that failed, "
        "70 internal error, 130 interrupted.",
    )
    parser.add_argument(
        "--config", required=True, metavar="NAME|FILE.toml", help=f"network and its recipe: {', '.join(RECIPES)}"
    )
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FOLDER", help="new, or with --resume")
    _add_grid_options(parser)
    add_data_options(parser)
    _add_training_options(parser)
    _add_simulation_options(parser)
    run = parser.add_argument_group("run and output")
    run.add_argument("--resume", action="store_true", help="go on where a killed study stopped; try failed runs again")
    run.add_argument("--save-every-minutes", type=float, metavar="N", help="of the state, within an epoch (10)")
    run.add_argument("--json", action="store_true", help="ablation.json on stdout instead of the tables")
    run.add_argument("--quiet", action="store_true", help="no progress, no tables")
    return parser


def _add_grid_options(parser: argparse.ArgumentParser) -> None:
    papers_groups = " ".join(",".join(each) or "none" for each in PAPER_GROUPS)
    grid = parser.add_argument_group("settings", "Left out, each is the paper's.")
    grid.add_argument(
        "--table", choices=("groups", "steps", "both"), default="both", help="groups: III; steps: IV; both (default)"
    )
    grid.add_argument(
        "--groups",
        nargs="+",
        type=_groups_or_none,
        metavar="GROUPS",
        help=f"of Table III, each comma-separated or none ({papers_groups})",
    )
    grid.add_argument(
        "--mask-weights", nargs="+", type=_weight, metavar="W", help=f"λ_m of Table IV ({_listed(PAPER_WEIGHTS)})"
    )
    grid.add_argument(
        "--initial-steps",
        nargs="+",
        type=positive,
        metavar="N",
        help=f"of Table IV ({_listed(PAPER_INITIAL_STEPS)}); pairs above the maximum are left out",
    )
    grid.add_argument(
        "--time-steps",
        nargs="+",
        type=positive,
        metavar="N",
        help=f"maximum, of Table IV ({_listed(PAPER_TIME_STEPS)}). Without these three: the paper's {len(TABLE_IV)} "
        "rows, else every combination",
    )


def _add_training_options(parser: argparse.ArgumentParser) -> None:
    training = parser.add_argument_group("training")
    training.add_argument("--epochs", type=int, metavar="N")
    training.add_argument(
        "--seeds", nargs="+", type=int, metavar="N", help="train each setting with each, give mean ± standard deviation"
    )
    training.add_argument("--amp", choices=("off", "bf16", "fp16"), help="mixed precision of the products")
    training.add_argument("--threads", type=int, metavar="N", help="CPU threads")
    training.add_argument("--device", metavar="NAME", help="cpu, cuda, … as torch names them (cpu)")


def _add_simulation_options(parser: argparse.ArgumentParser) -> None:
    simulation = parser.add_argument_group("simulation")
    simulation.add_argument(
        "--hardware", default="edge-16x16", metavar="NAME|FILE", help="as of dtss-compile (%(default)s)"
    )
    simulation.add_argument("--tech", default="45nm", metavar="NAME|FILE", help="as of dtss-sim (%(default)s)")
    simulation.add_argument(
        "--images", type=positive, metavar="N", help="the first N held-out images in each checkpoint (all)"
    )


def _listed(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)


def _groups_or_none(text: str) -> tuple[str, ...]:
    return () if text == "none" else mask_groups(text)


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0.0 <= weight < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no weight; give a finite number, 0 or more")
    return weight


def _ablate(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    folder: Path = options.output
    if folder.exists() and not folder.is_dir():
        parser.error(f"-o {folder}: this is a file; give the name of a folder")
    if not folder.absolute().parent.is_dir():
        parser.error(f"-o {folder}: the folder {folder.parent} does not exist; create it first")
    from dtss.models.ablation import CommandError, Watcher, holds_a_study, holds_other_files, study
    from dtss.models.ablation_report import report, write
    from dtss.models.errors import InputError
    from dtss.models.process_memory import keep_freed_memory

    if holds_a_study(folder) and not options.resume:
        parser.error(f"-o {folder}: holds an earlier study; give --resume to go on, or another folder")
    if holds_other_files(folder):
        parser.error(f"-o {folder}: holds other files; give a new or an empty folder")
    try:
        plan = _plan(parser, options)
        keep_freed_memory()
        with _progress(plan, hidden=options.quiet or options.json) as (start, update):
            watcher = Watcher(lambda outcomes: write(plan, folder, outcomes), start, update)
            outcomes = study(plan, folder, watcher)
    except (InputError, OSError, CommandError) as error:
        print(f"{NAME}: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    _print(plan, report(plan, outcomes), options)
    return _exit_code(outcomes)


def _exit_code(outcomes: "Mapping[str, Outcome]") -> int:
    failures = {name: each.failure for name, each in outcomes.items() if each.failure is not None}
    for name, failure in failures.items():
        print(f"{NAME}: {name}: {failure}", file=sys.stderr)
    return EXIT_BAD_INPUT if failures else EXIT_OK


def _plan(parser: argparse.ArgumentParser, options: argparse.Namespace) -> "Plan":
    from dtss.models.ablation import Plan
    from dtss.models.run import check_device
    from dtss.models.settings import settings_of

    try:
        if options.device is not None:
            check_device(options.device)
        config, recipe = settings_of(options.config)
        recipe = dataclasses.replace(recipe, **given(options, ("data_set", "epochs", "amp", "threads")))
        tables, left_out = _tables(config, recipe, options)
        return Plan(
            config=config,
            recipe=recipe,
            source=Path(options.config).name,
            shared=_shared(options),
            tables=tables,
            left_out=left_out,
            seeds=tuple(dict.fromkeys(options.seeds or (recipe.seed,))),
            hardware=options.hardware,
            technology=options.tech,
            data_folder=options.data,
            **given(options, ("images", "limit_images", "save_every_minutes", "device")),
        )
    except ValueError as error:
        parser.error(str(error))


def _tables(
    config: "SpikformerConfig", recipe: Recipe, options: argparse.Namespace
) -> tuple[dict[TableName, tuple[Setting, ...]], tuple[tuple[int, int], ...]]:
    """The rows asked for, and the pairs of steps left out; a ValueError where an option or the recipe gives none."""
    tables: dict[TableName, tuple[Setting, ...]] = {}
    left_out: tuple[tuple[int, int], ...] = ()
    if options.table in ("groups", "both"):
        if recipe.mask_weight == 0.0:
            raise ValueError(f"--config {options.config}: mask_weight is 0, and Table III needs a mask loss; set it")
        groups = options.groups or PAPER_GROUPS
        tables["groups"] = groups_table(groups, recipe.mask_weight, config.initial_steps, config.time_steps)
    elif options.groups is not None:
        raise ValueError("--groups is of Table III; leave it out, or --table steps out")
    grid: dict[str, Any] = given(options, STEPS_OPTIONS)
    if options.table in ("steps", "both"):
        if not recipe.mask_groups:
            raise ValueError(f"--config {options.config}: mask_groups is empty, and Table IV needs a mask loss; set it")
        tables["steps"], left_out = steps_table(recipe.mask_groups, *(grid.get(name) for name in STEPS_OPTIONS))
    elif grid:
        name = next(iter(grid)).replace("_", "-")
        raise ValueError(f"--{name} is of Table IV; leave it out, or --table groups out")
    if not all(tables.values()):
        pairs = ", ".join(f"{initial} of {steps}" for initial, steps in left_out)
        raise ValueError(f"--initial-steps: no setting is left of {pairs}; give some that are at most the --time-steps")
    return tables, left_out


def _shared(options: argparse.Namespace) -> tuple[str, ...]:
    """The options that every run has in common, as dtss-train takes them, without folders."""
    options_by_name = given(options, SHARED_OPTIONS)
    named = [part for name, value in options_by_name.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    return tuple(named if options.data is None else ["--data", "DIR", *named])


@contextmanager
def _progress(plan: "Plan", *, hidden: bool) -> Iterator[tuple[Callable[[int, "Run"], None], Callable[[float], None]]]:
    """What starts and moves a bar on stderr with the time left; nothing is shown where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("ablation"), BarColumn(), TaskProgressColumn(), TextColumn("{task.description}"))
    with Progress(
        *columns,
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
        disable=hidden or not console.is_terminal,
        transient=True,
    ) as bar:
        runs = len(plan.runs)
        task = bar.add_task("", total=float(runs))

        def start(place: int, run: "Run") -> None:
            bar.update(task, completed=float(place), description=f"run {place + 1} of {runs}: {run.name}")

        def update(done: float) -> None:
            bar.update(task, completed=done)

        yield start, update


def _print(plan: "Plan", content: "Report", options: argparse.Namespace) -> None:
    from dtss.models.ablation_report import encode

    if options.json:
        sys.stdout.write(encode(content).decode())
    elif not options.quiet:
        _print_tables(plan, content)


def _print_tables(plan: "Plan", content: "Report") -> None:
    from rich.console import Console
    from rich.table import Table

    from dtss.models.ablation_report import LEGEND, heading, tables

    console = Console(width=WIDTH, markup=False, highlight=False)
    for line in heading(plan, content):
        console.print(line, soft_wrap=True)
    for table in tables(plan, content):
        console.print(f"\n{table.title}\n")
        lines = Table(box=None, pad_edge=False)
        for header in table.headers:
            lines.add_column(header, justify="right", no_wrap=True)
        for row in table.rows:
            lines.add_row(*row)
        console.print(lines)
        for note in table.notes:
            console.print(note, soft_wrap=True)
    console.print(f"\n{LEGEND}.", soft_wrap=True)
