"""dtss-train: trains a named network and writes its checkpoint."""

import argparse
import dataclasses
import json
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
    from dtss.models.spikformer import SpikformerConfig
    from dtss.models.train import EpochReport

EXIT_OK, EXIT_USAGE, EXIT_BAD_INPUT, EXIT_INTERNAL, EXIT_INTERRUPTED = 0, 2, 3, 70, 130
GROUPS = ("sps", "qkv", "attn", "mlp")
RECIPE_OPTIONS = ("epochs", "seed", "learning_rate", "batch_size", "mask_weight", "mask_groups", "threads")


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser()
    options = parser.parse_args(arguments)
    try:
        return _train(parser, options, arguments)
    except KeyboardInterrupt:
        print("dtss-train: interrupted; nothing was written", file=sys.stderr)
        return EXIT_INTERRUPTED
    except Exception:  # noqa: BLE001  # the last line of defence: a bug becomes exit code 70, not 1
        traceback.print_exc()
        print("dtss-train: internal error, a bug in dtss; please report the lines above", file=sys.stderr)
        return EXIT_INTERNAL


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dtss-train",
        description="Train a spiking vision transformer and its time-step masks, and write the checkpoint.",
        epilog="Options left out take the value that the named configuration was tuned with. "
        "Exit codes: 0 ok, 2 usage, 3 bad input, 70 internal error.",
    )
    parser.add_argument("--config", required=True, choices=sorted(RECIPES), help="network and its recipe")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FILE", help="checkpoint to write")
    training = parser.add_argument_group("training")
    training.add_argument("--epochs", type=int, metavar="N")
    training.add_argument("--seed", type=int, metavar="N", help="same seed, machine and threads: same result")
    training.add_argument("--lr", type=float, dest="learning_rate", metavar="RATE", help="peak learning rate of AdamW")
    training.add_argument("--batch-size", type=int, metavar="N")
    training.add_argument("--threads", type=int, metavar="N", help="CPU threads")
    masks = parser.add_argument_group("time-step masks")
    masks.add_argument("--mask-weight", type=float, metavar="W", help="λ_m, weight of the mask loss")
    masks.add_argument(
        "--mask-groups", type=_mask_groups, metavar="GROUPS", help=f"comma-separated, of {', '.join(GROUPS)}"
    )
    masks.add_argument("--initial-steps", type=int, metavar="N", help="active steps of each mask before training")
    network = parser.add_argument_group("network")
    network.add_argument("--time-steps", type=int, metavar="N", help="T_max")
    network.add_argument("--residual", choices=("spike", "membrane"))
    network.add_argument("--neuron", metavar="FAMILY", help="dtss, spikingjelly-tau2, dt-snn, …")
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="one JSON object on stdout instead of the text summary")
    output.add_argument("--quiet", action="store_true", help="no progress, no summary")
    return parser


def _mask_groups(text: str) -> tuple[str, ...]:
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
    from dtss.models.checkpoint import CheckpointError, save
    from dtss.models.train import train_checkpoint

    try:
        config, recipe = _config(options), _recipe(options)
    except ValueError as error:
        parser.error(str(error))
    started = time.monotonic()
    try:
        with _progress(recipe.epochs, hidden=options.quiet or options.json) as on_epoch:
            checkpoint = train_checkpoint(config, recipe, _command(output, arguments), on_epoch)
        save(checkpoint, output)
    except (CheckpointError, OSError) as error:
        print(f"dtss-train: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    if options.json:
        print(json.dumps(_report(checkpoint, output, time.monotonic() - started), sort_keys=True))
    elif not options.quiet:
        print(_summary(checkpoint, output, time.monotonic() - started))
    return EXIT_OK


def _config(options: argparse.Namespace) -> "SpikformerConfig":
    """The named configuration with the options given; --time-steps alone moves the initial steps with it."""
    from dtss.models.neurons import NEURON_FAMILIES
    from dtss.models.spikformer import CONFIGS

    changes: dict[str, Any] = _given(options, ("time_steps", "initial_steps", "residual"))
    if "time_steps" in changes:
        changes.setdefault("initial_steps", changes["time_steps"])
    if options.neuron is not None:
        if options.neuron not in NEURON_FAMILIES:
            raise ValueError(f"--neuron {options.neuron}: unknown family; choose among {', '.join(NEURON_FAMILIES)}")
        changes["neuron"] = NEURON_FAMILIES[options.neuron]
    return dataclasses.replace(CONFIGS[options.config], **changes)


def _recipe(options: argparse.Namespace) -> Recipe:
    return dataclasses.replace(RECIPES[options.config], **_given(options, RECIPE_OPTIONS))


def _given(options: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}


def _command(output: Path, arguments: list[str]) -> str:
    """The command line as the checkpoint remembers it: without the folders of this machine."""
    return shlex.join(["dtss-train", *(argument.replace(str(output), output.name) for argument in arguments)])


@contextmanager
def _progress(epochs: int, *, hidden: bool) -> Iterator["Callable[[EpochReport], None]"]:
    """A bar on stderr, one tick an epoch; nothing where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("epoch"), MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}"))
    with Progress(
        *columns,
        TimeRemainingColumn(),
        console=console,
        disable=hidden or not console.is_terminal,
        transient=True,
    ) as bar:
        task = bar.add_task("", total=epochs)

        def advance(report: "EpochReport") -> None:
            learned = f"loss {report.loss:.3f}, accuracy {report.accuracy:.1%}"
            bar.update(task, advance=1, description=f"{learned}, T_avg {report.average_time_steps:.2f}")

        yield advance


def _report(checkpoint: "Checkpoint", output: Path, seconds: float) -> dict[str, object]:
    return {**checkpoint.training, "checkpoint": str(output), "elapsed_s": round(seconds, 1)}


def _summary(checkpoint: "Checkpoint", output: Path, seconds: float) -> str:
    training = checkpoint.training
    masks: dict[str, list[int]] = training["masks"]
    width = max(len(name) for name in masks)
    lines = [
        (
            f"{output}: {training['test_accuracy']:.2%} of {training['test_images']} held-out images right, "
            f"T_avg {training['average_time_steps']:.2f} of {checkpoint.config.time_steps}, {seconds:.0f} s"
        ),
        f"{'LIF layer':<{width}}  mask (step 0 first)",
        *(f"{name:<{width}}  {' '.join(str(bit) for bit in mask)}" for name, mask in masks.items()),
    ]
    return "\n".join(lines)
