"""dtss-train: trains a network, named or described in a TOML file, and writes its checkpoint.

`dtss-train sensitivity …` and `dtss-train ablation …` are commands of their own: sensitivity_cli, ablation_cli.
"""

import argparse
import dataclasses
import json
import os
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dtss.models.recipes import RECIPES, Recipe

if TYPE_CHECKING:  # torch takes seconds to import, and --help needs none of it
    from dtss.models.checkpoint import Checkpoint
    from dtss.models.run import Job, Observer
    from dtss.models.spikformer import SpikformerConfig
    from dtss.models.training_log import LogRow

EXIT_OK, EXIT_USAGE, EXIT_BAD_INPUT, EXIT_INTERNAL, EXIT_INTERRUPTED, EXIT_CLOSED_PIPE = 0, 2, 3, 70, 130, 141
LARGEST_NUMBER = 999_999_999  # as in the other commands
GROUPS = ("sps", "qkv", "attn", "mlp")
DATA_SETS = ("digits", "mnist", "fashion-mnist", "cifar10", "cifar100", "imagenet")
MODELS = {"dtss": {}, "plain": {"masked": False}, "vit": {"masked": False, "spiking": False}}
RECIPE_OPTIONS = (
    "data_set",
    "epochs",
    "seed",
    "learning_rate",
    "batch_size",
    "label_smoothing",
    "temporal_loss",
    "mask_weight",
    "mask_groups",
    "threads",
    "accumulate",
    "amp",
    "minutes",
)
CONFIG_OPTIONS = ("time_steps", "initial_steps", "residual", "non_negative_scores", "weight_bits")
NETWORK_OPTIONS = {
    "time_steps": "--time-steps",
    "initial_steps": "--initial-steps",
    "residual": "--residual",
    "neuron": "--neuron",
    "non_negative_scores": "--non-negative-scores",
    "masked": "--model",
    "spiking": "--model",
}
JOB_OPTIONS = ("limit_images", "store_half", "resume", "save_every_minutes", "tensorboard", "device", "compiled")


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["sensitivity"]:
        from dtss.models import sensitivity_cli

        return sensitivity_cli.main(arguments[1:])
    if arguments[:1] == ["ablation"]:
        from dtss.models import ablation_cli

        return ablation_cli.main(arguments[1:])
    parser = build_parser()
    options = parser.parse_args(arguments)
    interrupted = "interrupted; the same command with --resume goes on from the last state"
    return run_command("dtss-train", lambda: _train(parser, options, arguments), interrupted)


def run_command(name: str, run: Callable[[], int], interrupted: str) -> int:
    """The exit code of `run`; a bug or an interruption gets its documented one and a sentence on stderr."""
    try:
        code = run()
        sys.stdout.flush()
    except KeyboardInterrupt:
        print(f"{name}: {interrupted}", file=sys.stderr)
        return EXIT_INTERRUPTED
    except OSError as error:  # those of files are met where the file is known
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it again at exit
        if isinstance(error, BrokenPipeError):
            return EXIT_CLOSED_PIPE
        print(f"{name}: standard output: cannot be written: found {error.strerror}; free space", file=sys.stderr)
        return EXIT_BAD_INPUT
    except Exception:  # noqa: BLE001  # the last line of defence: a bug becomes exit code 70, not 1
        traceback.print_exc()
        print(f"{name}: internal error, a bug in dtss; please report the lines above", file=sys.stderr)
        return EXIT_INTERNAL
    return code


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dtss-train",
        description="Train a spiking vision transformer and its time-step masks, or a baseline of the same shape, and "
        "write the checkpoint. Beside FILE: FILE.csv in place of its suffix (the log), .best before its suffix (the "
        "best epoch on the held-out images), FILE.training (the state of an unfinished run). "
        "Two more commands have their own --help: dtss-train sensitivity CHECKPOINT compares the inputs of each LIF "
        "layer over time and suggests --mask-groups; dtss-train ablation trains, compiles and simulates a network for "
        "each of many settings of the mask loss.",
        epilog="Options left out take the value that the configuration was tuned with. "
        "Exit codes: 0 ok, 2 usage, 3 bad input or no place to write, 70 internal error, 130 interrupted.",
    )
    start = parser.add_mutually_exclusive_group(required=True)
    start.add_argument("--config", metavar="NAME|FILE.toml", help=f"network and its recipe: {', '.join(RECIPES)}")
    start.add_argument(
        "--init",
        type=Path,
        metavar="FILE.pt",
        help="train the network in this checkpoint further, by its own recipe at a tenth of the rate and of the "
        "epochs, with its masks as they are unless --mask-weight or --mask-groups is given",
    )
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FILE", help="checkpoint to write")
    parser.add_argument(
        "--model",
        choices=tuple(MODELS),
        default="dtss",
        help="dtss: as configured; plain: Spikformer without masks; vit: the non-spiking ViT of the same shape",
    )
    add_data_options(parser)
    _add_training_options(parser)
    _add_network_options(parser)
    _add_run_options(parser)
    return parser


def add_data_options(parser: argparse.ArgumentParser) -> None:
    images = parser.add_argument_group("images")
    images.add_argument(
        "--data", type=Path, metavar="DIR", help="folder of the data set's files; nothing is downloaded"
    )
    images.add_argument("--data-set", choices=DATA_SETS, help="in place of the configuration's own")
    images.add_argument("--limit-images", type=positive, metavar="N", help="at most N training and N held-out images")


def _add_training_options(parser: argparse.ArgumentParser) -> None:
    training = parser.add_argument_group("training")
    training.add_argument("--epochs", type=int, metavar="N")
    training.add_argument("--minutes", type=float, metavar="M", help="stop near M minutes, the rate annealed to 0 then")
    training.add_argument("--seed", type=int, metavar="N", help="same seed, machine and threads: same result")
    training.add_argument("--lr", type=float, dest="learning_rate", metavar="RATE", help="peak learning rate of AdamW")
    training.add_argument("--batch-size", type=int, metavar="N", help="images of an update")
    training.add_argument("--accumulate", type=int, metavar="N", help="run each update's images in N equal parts")
    training.add_argument("--label-smoothing", type=float, metavar="SHARE")
    training.add_argument(
        "--loss", choices=("mean", "tet"), dest="temporal_loss", help="of the mean over time, or of each step (TET)"
    )
    training.add_argument("--amp", choices=("off", "bf16", "fp16"), help="mixed precision of the products")
    training.add_argument("--threads", type=int, metavar="N", help="CPU threads")
    training.add_argument("--device", metavar="NAME", help="cpu, cuda, … as torch names them (cpu)")
    training.add_argument(
        "--compile",
        action="store_true",
        default=None,
        dest="compiled",
        help="torch.compile: minutes of compiling first, hardly faster on a CPU",
    )


def _add_network_options(parser: argparse.ArgumentParser) -> None:
    masks = parser.add_argument_group("time-step masks")
    masks.add_argument("--mask-weight", type=float, metavar="W", help="λ_m, weight of the mask loss")
    masks.add_argument(
        "--mask-groups", type=mask_groups, metavar="GROUPS", help=f"comma-separated, of {', '.join(GROUPS)}"
    )
    masks.add_argument("--initial-steps", type=int, metavar="N", help="active steps of each mask before training")
    masks.add_argument(
        "--non-negative-scores",
        action=argparse.BooleanOptionalAction,
        help="keep TP >= 0, so that every mask is a prefix 1…10…0; the paper only starts there",
    )
    network = parser.add_argument_group("network")
    network.add_argument("--time-steps", type=int, metavar="N", help="T_max")
    network.add_argument("--residual", choices=("spike", "membrane"))
    network.add_argument("--neuron", metavar="FAMILY", help="dtss, spikingjelly-tau2, dt-snn, …")
    network.add_argument(
        "--quantise",
        type=int,
        dest="weight_bits",
        metavar="BITS",
        help="compute with weights rounded to so many bits (2..8), as dtss-compile will round them; best after --init",
    )


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    run = parser.add_argument_group("run and output")
    run.add_argument("--resume", action="store_true", default=None, help="go on where a killed run stopped")
    run.add_argument("--save-every-minutes", type=float, metavar="N", help="of the state, within an epoch (10)")
    run.add_argument("--store-half", action="store_true", default=None, help="matrices and kernels in float16")
    run.add_argument("--tensorboard", type=Path, metavar="DIR", help="log there too, if tensorboard is installed")
    run.add_argument("--json", action="store_true", help="one JSON object on stdout instead of the text summary")
    run.add_argument("--quiet", action="store_true", help="no progress, no summary")


def positive(text: str) -> int:
    digits = text.isascii() and text.isdigit() and len(text) <= len(str(LARGEST_NUMBER))
    if not digits or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {LARGEST_NUMBER}")
    return int(text)


def mask_groups(text: str) -> tuple[str, ...]:
    groups = tuple(name for name in text.split(",") if name)
    unknown = [name for name in groups if name not in GROUPS]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown group {unknown[0]!r}; choose among {', '.join(GROUPS)}")
    return groups


def _train(parser: argparse.ArgumentParser, options: argparse.Namespace, arguments: list[str]) -> int:
    output: Path = options.output
    if output.is_dir():
        parser.error(f"-o {output}: this is a folder; give the name of the file to write")
    if not output.absolute().parent.is_dir():
        parser.error(f"-o {output}: the folder {output.parent} does not exist; create it first")
    from dtss.models.errors import InputError
    from dtss.models.process_memory import keep_freed_memory
    from dtss.models.run import finished_checkpoint, run_job
    from dtss.models.training_state import state_path

    state = state_path(output)
    if state.exists() and not options.resume:
        parser.error(f"-o {output}: {state} holds an unfinished run; give --resume to go on, or delete that file")
    started = time.monotonic()
    try:
        job = _job(parser, options, arguments)
        checkpoint = finished_checkpoint(job)
        if checkpoint is None:
            keep_freed_memory()
            with _progress(hidden=options.quiet or options.json) as observer:
                checkpoint = run_job(job, observer)
    except (InputError, OSError) as error:
        print(f"dtss-train: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    if options.json:
        print(json.dumps(_report(checkpoint, output, time.monotonic() - started), sort_keys=True))
    elif not options.quiet:
        print(_summary(checkpoint, output, time.monotonic() - started))
    return EXIT_OK


def _job(parser: argparse.ArgumentParser, options: argparse.Namespace, arguments: list[str]) -> "Job":
    from dtss.models.run import Job, check_device
    from dtss.models.training_log import check_tensorboard

    try:
        if options.device is not None:
            check_device(options.device)
        if options.compiled:
            _check_compiler(options)
        if options.tensorboard is not None:
            check_tensorboard(options.tensorboard)
        initial, config, recipe = _start(options)
        return Job(
            config=config,
            recipe=dataclasses.replace(recipe, **given(options, RECIPE_OPTIONS)),
            output=options.output,
            command=_command(options, arguments),
            data_folder=options.data,
            initial=initial,
            **given(options, JOB_OPTIONS),
        )
    except ValueError as error:
        parser.error(str(error))


def _start(options: argparse.Namespace) -> "tuple[Checkpoint | None, SpikformerConfig, Recipe]":
    """The trained network to start from, if any; what to train; the recipe before the options that change it."""
    from dtss.models.checkpoint import load
    from dtss.models.recipes import fine_tuning
    from dtss.models.settings import recipe_of, settings_of

    if options.init is None:
        config, recipe = settings_of(options.config)
        return None, _config(config, options), recipe
    initial = load(options.init)
    config = _config(initial.config, options)
    _refuse_another_network(initial.config, config, options)
    recipe = recipe_of(initial.training, str(options.init))
    masks_train = options.mask_weight is not None or options.mask_groups is not None
    return initial, config, fine_tuning(recipe, masks_train=masks_train)


def _refuse_another_network(
    trained: "SpikformerConfig", wanted: "SpikformerConfig", options: argparse.Namespace
) -> None:
    """Only how weights are rounded may change from one training to the next."""
    for field in dataclasses.fields(trained):
        there, now = getattr(trained, field.name), getattr(wanted, field.name)
        if there != now and field.name != "weight_bits":
            option = NETWORK_OPTIONS[field.name]
            raise ValueError(
                f"{option} asks for another network than --init {options.init}, whose {field.name} is {there}; "
                f"leave {option} out, or train from --config"
            )


def _check_compiler(options: argparse.Namespace) -> None:
    """Takes --compile back, with a word on stderr, where nothing can be compiled."""
    from dtss.models.run import check_compiler

    try:
        check_compiler(options.device or "cpu")
    except ValueError as error:
        options.compiled = None
        print(f"dtss-train: --compile: {error}; goes on without (on a CPU it needs g++)", file=sys.stderr)


def _config(config: "SpikformerConfig", options: argparse.Namespace) -> "SpikformerConfig":
    """The configuration with the options given; --time-steps alone moves the initial steps with it."""
    from dtss.models.neurons import NEURON_FAMILIES

    changes: dict[str, Any] = given(options, CONFIG_OPTIONS)
    changes.update(MODELS[options.model])
    if "time_steps" in changes:
        changes.setdefault("initial_steps", changes["time_steps"])
    if options.neuron is not None:
        if options.neuron not in NEURON_FAMILIES:
            raise ValueError(f"--neuron {options.neuron}: unknown family; choose among {', '.join(NEURON_FAMILIES)}")
        changes["neuron"] = NEURON_FAMILIES[options.neuron]
    return dataclasses.replace(config, **changes)


def given(options: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}


def _command(options: argparse.Namespace, arguments: list[str]) -> str:
    """The command line as the checkpoint remembers it: without the folders of this machine."""
    written = {str(options.output): options.output.name, str(options.data): "DIR", str(options.tensorboard): "DIR"}
    source = str(options.config if options.init is None else options.init)
    if options.init is not None or source.endswith(".toml"):
        written[source] = Path(source).name
    return shlex.join(["dtss-train", *(_without_folders(argument, written) for argument in arguments)])


def _without_folders(argument: str, written: dict[str, str]) -> str:
    option, equals, value = argument.partition("=")
    return f"{option}={written[value]}" if equals and value in written else written.get(argument, argument)


@contextmanager
def _progress(*, hidden: bool) -> Iterator["Observer"]:
    """A bar on stderr with the time left; nothing where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from dtss.models.run import Observer

    console = Console(stderr=True)
    columns = (TextColumn("training"), BarColumn(), TaskProgressColumn(), TextColumn("{task.description}"))
    with Progress(
        *columns,
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
        disable=hidden or not console.is_terminal,
        transient=True,
    ) as bar:
        task = bar.add_task("", total=1.0)

        def update(share: float) -> None:
            bar.update(task, completed=share)

        def epoch(row: "LogRow") -> None:
            learned = f"epoch {row.epoch}, loss {row.loss:.3f}, held-out {row.test_accuracy:.1%}"
            bar.update(task, description=f"{learned}, T_avg {row.average_time_steps:.2f}")

        yield Observer(update, epoch)


def _report(checkpoint: "Checkpoint", output: Path, seconds: float) -> dict[str, object]:
    return {**checkpoint.training, "checkpoint": str(output), "elapsed_s": round(seconds, 1)}


def _summary(checkpoint: "Checkpoint", output: Path, seconds: float) -> str:
    training = checkpoint.training
    accuracy = f"{training['test_accuracy']:.2%} of {training['test_images']} held-out images right"
    if not checkpoint.config.spiking:
        return f"{output}: {accuracy}, non-spiking, {seconds:.0f} s"
    masks: dict[str, list[int]] = training["masks"]
    width = max(len(name) for name in masks)
    steps = f"T_avg {training['average_time_steps']:.2f} of {checkpoint.config.time_steps}"
    lines = [
        f"{output}: {accuracy}, {steps}, {seconds:.0f} s",
        f"{'LIF layer':<{width}}  mask (step 0 first)",
        *(f"{name:<{width}}  {' '.join(str(bit) for bit in mask)}" for name, mask in masks.items()),
    ]
    return "\n".join(lines)
