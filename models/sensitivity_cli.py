"""dtss-train sensitivity: how much the inputs of each LIF layer change over time, as table, JSON and figure."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dtss.models.cli import EXIT_BAD_INPUT, EXIT_OK, positive, run_command

if TYPE_CHECKING:  # torch takes seconds to import, and --help needs none of it
    from rich.console import Console
    from rich.table import Table

    from dtss.models.sensitivity import Sensitivity

NAME = "dtss-train sensitivity"
RULE = "groups at or above the median sensitivity of the four"
MOST_BINS = 4096
WIDTH_OF_A_FILE = 120


def main(arguments: Sequence[str]) -> int:
    parser = build_parser()
    options = parser.parse_args(arguments)
    return run_command(NAME, lambda: _analyse(parser, options), "interrupted")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=NAME,
        description="Histogram the input currents of every LIF layer at every time step and compare each step with "
        "the first by cosine similarity (DTSS paper, III-B). The sensitivity of a layer is the mean over the later "
        "steps of 1 - similarity, that of a group (sps, qkv, attn, mlp) the mean of its layers. "
        f"Suggested for --mask-groups: {RULE}, since Eq. 8 puts the loss on layers that are sensitive enough. "
        "This is a heuristic: III-B argues that layers whose steps look alike need fewer of them, the other groups. "
        "By experiment, the paper chose qkv and mlp. Analyse a network trained with --model plain: masks "
        "that drop steps change what later layers read.",
        epilog="Exit codes: 0 ok, 2 usage, 3 bad input, 70 internal error, 130 interrupted.",
    )
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="written by dtss-train")
    parser.add_argument("--images", type=positive, metavar="N", help="N images, evenly spaced (all)")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="folder of the data set's files: its test images in place of the samples in the checkpoint",
    )
    parser.add_argument(
        "--bins", type=_bins, default=64, metavar="N", help="of each layer, from its least to its greatest current (64)"
    )
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write the histograms as a figure")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout instead of the tables")
    return parser


def _bins(text: str) -> int:
    if not text.isdecimal() or not 2 <= int(text) <= MOST_BINS:
        raise argparse.ArgumentTypeError(f"{text} is no whole number from 2 to {MOST_BINS}; give how many bins")
    return int(text)


def _analyse(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    if options.svg is not None:
        _check_svg(parser, options.svg)
    from dtss.models.atomic import write_atomically
    from dtss.models.checkpoint import load
    from dtss.models.errors import InputError
    from dtss.models.sensitivity import analyse, images_of
    from dtss.models.sensitivity_figure import figure

    try:
        checkpoint = load(options.checkpoint)
        images = images_of(checkpoint, options.data, options.images)
        result = analyse(checkpoint, images, options.bins)
        if options.svg is not None:
            page = figure(result).encode()
            write_atomically(options.svg, lambda file: file.write(page))
    except (InputError, OSError) as error:
        print(f"{NAME}: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    if options.json:
        print(json.dumps(_report(result, options.checkpoint), sort_keys=True))
    else:
        _print_tables(result, options.checkpoint)
    return EXIT_OK


def _check_svg(parser: argparse.ArgumentParser, path: Path) -> None:
    if path.is_dir():
        parser.error(f"--svg {path}: this is a folder; give the name of the file to write")
    if not path.absolute().parent.is_dir():
        parser.error(f"--svg {path}: the folder {path.parent} does not exist; create it first")


def _report(result: "Sensitivity", checkpoint: Path) -> dict[str, object]:
    from dtss.models.sensitivity import PAPER_GROUPS

    layers = {
        layer.name: {
            "counts": layer.counts,
            "group": layer.group,
            "high": layer.high,
            "low": layer.low,
            "sensitivity": layer.sensitivity,
            "similarities": layer.similarities,
        }
        for layer in result.layers
    }
    return {
        "bins": result.bins,
        "checkpoint": str(checkpoint),
        "groups": result.groups,
        "images": result.images,
        "layers": layers,
        "layers_with_dropped_steps": result.dropped,
        "other_groups": result.other_groups,
        "paper_groups": PAPER_GROUPS,
        "suggested_groups": result.suggested_groups,
        "time_steps": result.time_steps,
        "warnings": [] if result.warning is None else [result.warning],
    }


def _print_tables(result: "Sensitivity", checkpoint: Path) -> None:
    from rich.console import Console

    from dtss.models.sensitivity import PAPER_GROUPS

    width = max(WIDTH_OF_A_FILE, 56 + 8 * result.time_steps)
    console = Console(width=None if sys.stdout.isatty() else width, markup=False, highlight=False)
    console.print(
        f"{checkpoint}: currents into {len(result.layers)} LIF layers on {result.images} images, {result.bins} bins",
        soft_wrap=True,
    )
    _print(console, _layer_table(result))
    _print(console, _group_table(result))
    console.print(f"Suggested: --mask-groups {','.join(result.suggested_groups)}")
    console.print(
        f"A heuristic: {RULE}, as Eq. 8 has it. III-B argues for layers whose steps look alike, which are "
        f"{','.join(result.other_groups) or 'none'} here. The paper's choice, by experiment: {','.join(PAPER_GROUPS)}."
    )
    if result.warning is not None:
        console.print(f"Warning: {result.warning}.")


def _print(console: "Console", table: "Table") -> None:
    console.print()
    console.print(table)
    console.print()


def _layer_table(result: "Sensitivity") -> "Table":
    from rich.table import Table

    table = Table("LIF layer", "group", box=None, pad_edge=False)
    for step in range(result.time_steps):
        table.add_column(f"step {step}", justify="right")
    table.add_column("sensitivity", justify="right")
    for layer in result.layers:
        similarities = (f"{similarity:.4f}" for similarity in layer.similarities)
        table.add_row(layer.name, layer.group, *similarities, f"{layer.sensitivity:.4f}")
    return table


def _group_table(result: "Sensitivity") -> "Table":
    from rich.table import Table

    table = Table("group", box=None, pad_edge=False)
    table.add_column("layers", justify="right")
    table.add_column("sensitivity", justify="right")
    table.add_column("suggested")
    for group, sensitivity in result.groups.items():
        suggested = "yes" if group in result.suggested_groups else "no"
        table.add_row(group, str(len(result.of_group(group))), f"{sensitivity:.4f}", suggested)
    return table
