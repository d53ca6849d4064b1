"""dtss-sim: run a schedule on images, bit for bit, and report cycles, traffic and energy."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dtss.compiler.schedule.command import positive, run_command
from dtss.compiler.schedule.errors import EXIT_OK

if TYPE_CHECKING:
    from dtss.hwsim.simulate import Progress, Result


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of dtss-sim."""
    options = _parser().parse_args(arguments)
    return run_command("dtss-sim", lambda: _run(options), options.debug)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dtss-sim",
        description="Execute a compiled schedule on images, bit for bit, and report cycles, traffic and energy.",
        epilog="exit codes: 0 done, 2 wrong usage, 3 bad input file or no place to write, "
        "4 too little memory, 70 bug in this tool",
    )
    parser.add_argument("schedule", type=Path, metavar="SCHEDULE", help="schedule.json, written by dtss-compile")
    parser.add_argument(
        "--tech",
        default="45nm",
        metavar="NAME|FILE",
        help="energies: 45nm (default), 28nm-asic, 28nm-fpga (also as 28nm), or your own TOML table",
    )
    parser.add_argument(
        "--in-memory", metavar="NAME|FILE",
        help="also say what the stored weights would take on RRAM crossbars: 32nm-imc, or your own TOML table",
    )  # fmt: skip
    parser.add_argument(
        "--images", type=Path, metavar="FILE",
        help=".npy or .npz: uint8 pixels [B,H,W,C] or float network inputs [B,C,H,W]; default: those in the schedule",
    )  # fmt: skip
    parser.add_argument("--limit", type=positive, metavar="N", help="simulate the first N images only")
    parser.add_argument("--json", metavar="FILE|-", help="write the result as JSON; - is standard output")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the report as one self-contained page")
    parser.add_argument(
        "--csv", type=Path, metavar="FILE", help="write every count and energy, a row for each operation"
    )
    parser.add_argument(
        "--trace", type=Path, metavar="FILE", help="write the first image's timeline, for ui.perfetto.dev"
    )
    parser.add_argument("--outputs", type=Path, metavar="FILE.npz", help="write logits and spike counts")
    parser.add_argument("--quiet", action="store_true", help="print no table and no progress")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an internal error")
    return parser


def _run(options: argparse.Namespace) -> int:
    from dtss.hwsim.api import run

    with _progress(options.quiet) as progress:
        result = run(
            options.schedule,
            images=options.images,
            tech=options.tech,
            in_memory=options.in_memory,
            limit=options.limit,
            progress=progress,
        )
    samples = result.samples
    if samples.clipped_values:
        highest = result.schedule.preprocess.pixel_max
        _warn(f"{samples.source}: {samples.clipped_values} input values lie outside pixels 0 … {highest}; clipped")
    _write(options, result)
    return EXIT_OK


def _write(options: argparse.Namespace, result: Result) -> None:
    """Every file first, then what goes to standard output."""
    from dtss.compiler.schedule.io import write_together

    write_together(dict(_files(options, result)))
    if options.json == "-":
        from dtss.hwsim.report.result_json import encode

        sys.stdout.write(encode(result).decode())
    elif not options.quiet:
        _print_table(result)


def _files(options: argparse.Namespace, result: Result) -> Iterator[tuple[Path, bytes]]:
    if options.json not in (None, "-"):
        from dtss.hwsim.report.result_json import encode

        yield Path(options.json), encode(result)
    if options.html is not None:
        from dtss.hwsim.report.html import page

        yield options.html, page(result)
    if options.csv is not None:
        from dtss.hwsim.report.table_csv import encode_csv

        yield options.csv, encode_csv(result)
    if options.trace is not None:
        from dtss.hwsim.report.trace import encode_trace

        yield options.trace, encode_trace(result)
    if options.outputs is not None:
        from dtss.hwsim.report.outputs import outputs_npz

        yield options.outputs, outputs_npz(result)


def _print_table(result: Result) -> None:
    from rich.console import Console

    from dtss.hwsim.report.text import WIDTH_OF_A_FILE, print_result

    print_result(result, Console(width=None if sys.stdout.isatty() else WIDTH_OF_A_FILE))


def _warn(message: str) -> None:
    print(f"dtss-sim: warning: {message}", file=sys.stderr)


@contextmanager
def _progress(quiet: bool) -> Iterator[Progress]:
    """A bar on stderr, on a terminal only."""
    if quiet or not sys.stderr.isatty():
        yield _ignore
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("simulating")

        def advance(done: int, whole: int) -> None:
            bar.update(task, completed=done, total=whole)

        yield advance


def _ignore(done: int, whole: int) -> None:
    """No bar."""


if __name__ == "__main__":
    sys.exit(main())
