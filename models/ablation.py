"""An ablation study: one training for each setting and seed, each compiled and simulated, resumable after a kill.

Networks are trained by `run.run_job`, the code of dtss-train. dtss-compile and dtss-sim run as commands, and the
JSON of the latter is read: nothing here counts or costs anything by itself.
"""

import dataclasses
import hashlib
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from dtss.models.ablation_grid import Setting, TableName
from dtss.models.atomic import remove_leftovers
from dtss.models.checkpoint import Checkpoint, CheckpointError
from dtss.models.errors import InputError
from dtss.models.recipes import Recipe
from dtss.models.run import Job, Observer, check_images, finished_checkpoint, run_job
from dtss.models.spikformer import SpikformerConfig
from dtss.models.training_log import mean_spike_rate

FORMAT: Literal["dtss-ablation/1"] = "dtss-ablation/1"
STATE = "ablation.json"
RUNS = "runs"
COMMANDS: Mapping[str, str] = {"dtss-compile": "dtss.compiler.cli", "dtss-sim": "dtss.hwsim.cli"}
EXIT_UNSUPPORTED = 4  # of dtss-compile: the model does not fit the machine
TRAINED = Path(__file__).parent / "zoo" / "digits.pt"
# of Job.fingerprint: what the runs of one study differ in
VARIED = (
    "network.initial_steps",
    "network.time_steps",
    "recipe.mask_groups",
    "recipe.mask_weight",
    "recipe.seed",
)


class StudyError(InputError):
    """A folder that holds another study, or one that cannot be read."""


class CommandError(Exception):
    """dtss-compile or dtss-sim failed; the message holds what it printed on stderr."""

    def __init__(self, program: str, exit_code: int, stderr: str) -> None:
        said = stderr.strip().removeprefix(f"{program}: error: ") or "nothing on stderr"
        end = f"exit code {exit_code}" if exit_code >= 0 else f"signal {-exit_code}"
        super().__init__(f"{program} ended with {end}: {said}")
        self.exit_code = exit_code


class Measurement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one trained network does.

    test_accuracy              share of all held-out images right, float network.
    average_time_steps         T_avg of the trained masks (Eq. 3).
    average_time_steps_pruned  T_avg of what is left to run after the compiler's pruning.
    spike_rate                 spikes per neuron and step, mean over LIF layers and all T_max steps, float network on
                               the samples of the checkpoint: the column of the training log.
    accumulates_per_image      synaptic operations: dtss-sim's count `accumulates`, additions of a weight to a sum
                               because a bit was 1, in all products, the image's bit planes and attention included.
    energy_pj_per_image        = compute + memory + leakage, from the technology table.
    integer_accuracy           share of the simulated images right, integer network; None without labels.
    """

    test_accuracy: float
    test_images: int
    average_time_steps: float
    average_time_steps_pruned: float
    spike_rate: float
    accumulates_per_image: float
    compute_energy_pj_per_image: float
    memory_energy_pj_per_image: float
    energy_pj_per_image: float
    cycles_per_image: float
    integer_accuracy: float | None
    simulated_images: int


class Outcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a run ended: with a measurement, or a failure in words."""

    measurement: Measurement | None = None
    failure: str | None = None


@dataclasses.dataclass(frozen=True)
class Run:
    """One training."""

    setting: Setting
    seed: int

    @property
    def name(self) -> str:
        """Its folder in `runs/`."""
        return f"{self.setting.name}-seed{self.seed}"


@dataclasses.dataclass(frozen=True)
class Plan:
    """A whole study.

    source         --config as a command line can repeat it, without folders.
    shared         options of dtss-train that all runs share, as a command line.
    left_out       (initial, maximum) steps that make no mask.
    hardware, technology   for dtss-compile --hardware and dtss-sim --tech: a name or a file.
    images         how many of a checkpoint's samples are simulated; None: all.
    """

    config: SpikformerConfig
    recipe: Recipe
    source: str
    shared: tuple[str, ...]
    tables: Mapping[TableName, tuple[Setting, ...]]
    left_out: tuple[tuple[int, int], ...]
    seeds: tuple[int, ...]
    hardware: str
    technology: str
    images: int | None = None
    data_folder: Path | None = None
    limit_images: int | None = None
    save_every_minutes: float = 10.0
    device: str = "cpu"

    def __post_init__(self) -> None:
        """A ValueError names the first setting that no network can have."""
        if not (self.config.masked and self.config.spiking):
            raise ValueError(f"{self.config.name}: has no time-step masks; choose a configuration with masks")
        for run in self.runs:
            self.job(run, Path())

    @property
    def runs(self) -> tuple[Run, ...]:
        """Every training once, though two tables may show it; all settings with the first seed come first."""
        settings = dict.fromkeys(each for table in self.tables.values() for each in table)
        return tuple(Run(each, seed) for seed in self.seeds for each in settings)

    def job(self, run: Run, folder: Path) -> Job:
        each = run.setting
        return Job(
            config=dataclasses.replace(self.config, initial_steps=each.initial_steps, time_steps=each.time_steps),
            recipe=dataclasses.replace(
                self.recipe, mask_groups=each.groups, mask_weight=each.mask_weight, seed=run.seed
            ),
            output=folder / "network.pt",
            command=shlex.join(self._command(run)),
            data_folder=self.data_folder,
            limit_images=self.limit_images,
            resume=True,
            save_every_minutes=self.save_every_minutes,
            device=self.device,
        )

    def _command(self, run: Run) -> tuple[str, ...]:
        """The dtss-train command that trains the same network."""
        each = run.setting
        masks = ("--mask-groups", ",".join(each.groups), "--mask-weight", repr(each.mask_weight))
        steps = ("--initial-steps", str(each.initial_steps), "--time-steps", str(each.time_steps))
        return ("dtss-train", "--config", self.source, "-o", "network.pt", *self.shared,
                *masks, *steps, "--seed", str(run.seed))  # fmt: skip

    @property
    def options(self) -> dict[str, Any]:
        """Everything that a continuation must share with the study that it continues."""
        fingerprint = self.job(self.runs[0], Path()).fingerprint
        options = {name: value for name, value in fingerprint.items() if name not in VARIED}
        options.update({f"table.{name}": [each.name for each in rows] for name, rows in self.tables.items()})
        options.update(
            {
                "seeds": self.seeds,
                "hardware": _identity(self.hardware),
                "technology": _identity(self.technology),
                "images": self.images,
            }
        )
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(options))
        return plain


def _identity(name_or_file: str) -> str:
    """The name, or for a file its name and what is in it."""
    path = Path(name_or_file)
    if not path.is_file():
        return name_or_file
    return f"{path.name} sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


@dataclasses.dataclass(frozen=True)
class Watcher:
    """Who watches a study.

    save    gets the outcomes so far, before the first run and after each.
    start   gets each run that is started, and how many come before it.
    update  gets the number of runs done, with the share of the present one.
    """

    save: Callable[[Mapping[str, Outcome]], None]
    start: Callable[[int, Run], None] = lambda _place, _run: None
    update: Callable[[float], None] = lambda _done: None

    def observer(self, place: int) -> Observer:
        return Observer(update=lambda share: self.update(place + share))


def study(plan: Plan, folder: Path, watcher: Watcher) -> dict[str, Outcome]:
    """Runs what is left to run of the study in this folder; the outcomes of all runs by name, in their order.

    A run that failed before is tried again. Images that cannot be read and commands that do not work end the study
    before its first run; what only one setting can cause is the outcome of that run.
    """
    outcomes = read_outcomes(plan, folder)
    if len(outcomes) < len(plan.runs):
        rehearse(plan)
    folder.mkdir(exist_ok=True)
    watcher.save(_in_order(plan, outcomes))
    for place, run in enumerate(plan.runs):
        if run.name not in outcomes:
            watcher.start(place, run)
            home = folder / RUNS / run.name
            home.mkdir(parents=True, exist_ok=True)
            outcomes[run.name] = _outcome(plan, run, home, watcher.observer(place))
            watcher.save(_in_order(plan, outcomes))
        watcher.update(place + 1.0)
    return _in_order(plan, outcomes)


def _in_order(plan: Plan, outcomes: Mapping[str, Outcome]) -> dict[str, Outcome]:
    return {run.name: outcomes[run.name] for run in plan.runs if run.name in outcomes}


def _outcome(plan: Plan, run: Run, home: Path, observer: Observer) -> Outcome:
    job = plan.job(run, home)
    try:
        checkpoint = finished_checkpoint(job) or run_job(job, observer)
        return Outcome(measurement=measure(plan, checkpoint, home))
    except (CheckpointError, CommandError) as error:
        return Outcome(failure=str(error).replace(f"{home}/", ""))


class _Accuracy(msgspec.Struct, frozen=True):
    integer_top1: float | None


class _TimeSteps(msgspec.Struct, frozen=True):
    average_after_pruning: float


class _Counts(msgspec.Struct, frozen=True):
    accumulates: int


class _Totals(msgspec.Struct, frozen=True):
    counts: _Counts
    cycles_per_image: float
    energy_pj_per_image: float
    compute_energy_pj_per_image: float
    memory_energy_pj_per_image: float


class _Simulated(msgspec.Struct, frozen=True):
    """What is read of a dtss-result/1."""

    format: Literal["dtss-result/1"]
    images: int
    accuracy: _Accuracy
    time_steps: _TimeSteps
    totals: _Totals


def measure(plan: Plan, checkpoint: Checkpoint, home: Path) -> Measurement:
    """Compiles and simulates `network.pt` in its folder."""
    simulated = _simulate(plan, home / "network.pt", home, plan.images)
    training, totals = checkpoint.training, simulated.totals
    return Measurement(
        test_accuracy=training["test_accuracy"],
        test_images=training["test_images"],
        average_time_steps=training["average_time_steps"],
        average_time_steps_pruned=simulated.time_steps.average_after_pruning,
        spike_rate=mean_spike_rate(training["spike_rates"]),
        accumulates_per_image=totals.counts.accumulates / simulated.images,
        compute_energy_pj_per_image=totals.compute_energy_pj_per_image,
        memory_energy_pj_per_image=totals.memory_energy_pj_per_image,
        energy_pj_per_image=totals.energy_pj_per_image,
        cycles_per_image=totals.cycles_per_image,
        integer_accuracy=simulated.accuracy.integer_top1,
        simulated_images=simulated.images,
    )


def rehearse(plan: Plan) -> None:
    """Looks for the images, compiles and simulates the shipped digits network: mistakes come to light before training.

    A machine that is too small for that network may still be right for the plan's.
    """
    check_images(plan.job(plan.runs[0], Path()))
    with tempfile.TemporaryDirectory() as folder:
        try:
            _simulate(plan, TRAINED, Path(folder), 1)
        except CommandError as error:
            if error.exit_code != EXIT_UNSUPPORTED:
                raise


def _simulate(plan: Plan, network: Path, home: Path, images: int | None) -> _Simulated:
    schedule, result = home / "schedule.json", home / "result.json"
    limit = () if images is None else ("--limit", str(images))
    run_program("dtss-compile", str(network), "-o", str(schedule), "--hardware", plan.hardware, "--quiet")
    run_program("dtss-sim", str(schedule), "--tech", plan.technology, "--json", str(result), "--quiet", *limit)
    try:
        return msgspec.json.decode(result.read_bytes(), type=_Simulated)
    except (OSError, msgspec.DecodeError) as error:
        raise CommandError("dtss-sim", 0, f"{result} cannot be used: {error}") from error


def run_program(program: str, *arguments: str) -> None:
    """Runs a command of dtss with this very interpreter; a CommandError if it fails."""
    line = (sys.executable, "-P", "-m", COMMANDS[program], *arguments)
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CommandError(program, done.returncode, done.stderr)


class _Saved(msgspec.Struct, frozen=True):
    """What a continuation reads of ablation.json."""

    format: Literal["dtss-ablation/1"]
    options: dict[str, Any]
    runs: dict[str, Outcome]


def holds_a_study(folder: Path) -> bool:
    """Whether there is something to resume: outcomes, or networks alone, which are measured again."""
    return any((folder / name).exists() for name in (STATE, RUNS))


def holds_other_files(folder: Path) -> bool:
    """Whether the folder holds something, but no study: one writes its state first of all."""
    if not folder.is_dir() or holds_a_study(folder):
        return False
    return any(not path.name.startswith(f".{STATE}.") for path in folder.iterdir())


def read_outcomes(plan: Plan, folder: Path) -> dict[str, Outcome]:
    """What earlier runs of this very plan measured; a StudyError if the folder holds another's."""
    path = folder / STATE
    remove_leftovers(path)
    if not path.exists():
        return {}
    try:
        saved = msgspec.json.decode(path.read_bytes(), type=_Saved)
    except msgspec.DecodeError as error:
        hint = "delete this file to measure the networks again, or give another folder"
        raise StudyError("no ablation study", str(path), str(error), hint) from error
    then, now = saved.options, plan.options
    changed = sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))
    if changed:
        values = ", ".join(f"{name} {_short(then.get(name))} there and {_short(now.get(name))} now" for name in changed)
        hint = "give the options that it was started with, or another folder"
        raise StudyError("a study with other options", str(path), values, hint)
    return {name: each for name, each in saved.runs.items() if each.measurement is not None}


def _short(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else repr(value)
