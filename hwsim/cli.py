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
    from rich.console import Console

    from dtss.compiler.schedule.io import LoadedSchedule
    from dtss.hwsim.report.beside import Beside
    from dtss.hwsim.result import Result
    from dtss.hwsim.simulate import Progress


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of dtss-sim."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.schedule is None and not options.paper and not options.print_tech:
        parser.error("the following arguments are required: SCHEDULE")
    run = _run_paper if options.paper else _print_technology if options.print_tech else _run
    return run_command("dtss-sim", lambda: run(options), options.debug)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dtss-sim",
        description="Execute a compiled schedule on images, bit for bit, and report cycles, traffic and energy.",
        epilog="exit codes: 0 done, 2 wrong usage, 3 bad input file or no place to write, "
        "4 too little memory, 70 bug in this tool",
    )
    parser.add_argument(
        "schedule", type=Path, nargs="?", metavar="SCHEDULE", help="schedule.json, written by dtss-compile"
    )
    parser.add_argument(
        "--paper", action="store_true",
        help="instead of simulating: published figures beside what their own accounting gives, cell by cell",
    )  # fmt: skip
    parser.add_argument(
        "--model", choices=("machine", "paper"), default="machine",
        help="paper: also the energy as the DTSS paper counts it, beside the machine's own",
    )  # fmt: skip
    parser.add_argument(
        "--tech",
        default="45nm",
        metavar="NAME|FILE",
        help="energies: 45nm (default), 28nm-asic, 28nm-fpga (also as 28nm), or your own TOML table",
    )
    parser.add_argument(
        "--print-tech", action="store_true",
        help="instead of simulating: print that table as JSON, and with a SCHEDULE what events cost on its machine",
    )  # fmt: skip
    parser.add_argument(
        "--in-memory", metavar="NAME|FILE",
        help="also say what the stored weights would take on RRAM crossbars: 32nm-imc, or your own TOML table",
    )  # fmt: skip
    parser.add_argument(
        "--images", type=Path, metavar="FILE",
        help=".npy or .npz: uint8 pixels [B,H,W,C] or float network inputs [B,C,H,W]; default: those in the schedule",
    )  # fmt: skip
    parser.add_argument("--limit", type=positive, metavar="N", help="simulate the first N images only")
    parser.add_argument(
        "--savings", action="store_true", help="simulate it with every time step run, too, and say what pruning saves"
    )
    parser.add_argument(
        "--steps",
        action="store_true",
        help="also print what each time step of each layer does, and what its steps share",
    )
    parser.add_argument(
        "--compare", action="store_true",
        help="set it beside itself without masks and beside ANNs on the same machine, and say where they break even",
    )  # fmt: skip
    parser.add_argument(
        "--plain", type=Path, metavar="SCHEDULE",
        help="with --compare: the network without masks, compiled; default: this one, extended to all steps",
    )  # fmt: skip
    parser.add_argument(
        "--ann-zeros", type=_share, default=0.5, metavar="SHARE",
        help="with --compare: zeros among the values of one int8 ANN, 0 to 1; default: 0.5",
    )  # fmt: skip
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


def _run_paper(options: argparse.Namespace) -> int:
    """The checks against published figures; they need no schedule."""
    from dtss.hwsim.paper import checks
    from dtss.hwsim.report.paper_report import encode, print_checks

    found = checks()
    if options.json not in (None, "-"):
        from dtss.compiler.schedule.io import write_together

        write_together({Path(options.json): encode(found)})
    if options.json == "-":
        sys.stdout.write(encode(found).decode())
    elif not options.quiet:
        print_checks(found, _console())
    return EXIT_OK


def _print_technology(options: argparse.Namespace) -> int:
    """For scripts and for dtss-rtl, which looks events up in a table this way."""
    import msgspec

    from dtss.compiler.schedule.io import load
    from dtss.hwsim.energy import access_energies
    from dtss.hwsim.technology import load_technology

    technology = load_technology(options.tech)
    schedule = None if options.schedule is None else load(options.schedule).schedule
    printed = {"table": technology, "events": None if schedule is None else access_energies(schedule, technology)}
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(printed, order="sorted"), indent=2).decode() + "\n")
    return EXIT_OK


def _console() -> Console:
    from rich.console import Console

    from dtss.hwsim.report.text import WIDTH_OF_A_FILE

    return Console(width=None if sys.stdout.isatty() else WIDTH_OF_A_FILE)


def _share(text: str) -> float:
    """A number from 0 to 1, as an argparse type."""
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return share


def _run(options: argparse.Namespace) -> int:
    from dtss.compiler.schedule.io import load
    from dtss.hwsim.api import run

    loaded = load(options.schedule)
    with _progress(options.quiet) as progress:
        result = run(
            loaded,
            images=options.images,
            tech=options.tech,
            in_memory=options.in_memory,
            limit=options.limit,
            progress=progress,
        )
        beside = _beside(options, loaded, result, progress)
    samples = result.samples
    if samples.clipped_values:
        highest = result.schedule.preprocess.pixel_max
        _warn(f"{samples.source}: {samples.clipped_values} input values lie outside pixels 0 … {highest}; clipped")
    _write(options, result, beside)
    return EXIT_OK


def _beside(options: argparse.Namespace, loaded: LoadedSchedule, result: Result, progress: Progress) -> Beside:
    """What --compare and --model ask for; with --plain its run on the same images."""
    from dtss.hwsim.report.beside import NOTHING, Beside

    if not options.compare and not options.savings and options.model == "machine":
        return NOTHING
    from dtss.hwsim.api import run
    from dtss.hwsim.compare import compare
    from dtss.hwsim.paper_accounting import paper_layers
    from dtss.hwsim.savings import savings

    tensors = loaded.tensors
    plain = None
    if options.compare and options.plain is not None:
        plain = run(options.plain, images=options.images, tech=options.tech, limit=options.limit, progress=progress)
    return Beside(
        comparison=compare(result, tensors, plain, options.ann_zeros) if options.compare else None,
        paper_model=paper_layers(result, tensors) if options.model == "paper" else None,
        savings=savings(loaded, result, progress) if options.savings else None,
    )


def _write(options: argparse.Namespace, result: Result, beside: Beside) -> None:
    """Every file first, then what goes to standard output."""
    from dtss.compiler.schedule.io import write_together

    write_together(dict(_files(options, result, beside)))
    if options.json == "-":
        from dtss.hwsim.report.result_json import encode

        sys.stdout.write(encode(result, beside).decode())
    elif not options.quiet:
        _print_table(result, beside, steps=options.steps)


def _files(options: argparse.Namespace, result: Result, beside: Beside) -> Iterator[tuple[Path, bytes]]:
    if options.json not in (None, "-"):
        from dtss.hwsim.report.result_json import encode

        yield Path(options.json), encode(result, beside)
    if options.html is not None:
        from dtss.hwsim.report.html import page

        yield options.html, page(result, beside)
    if options.csv is not None:
        from dtss.hwsim.report.table_csv import encode_csv

        yield options.csv, encode_csv(result)
    if options.trace is not None:
        from dtss.hwsim.report.trace import encode_trace

        yield options.trace, encode_trace(result)
    if options.outputs is not None:
        from dtss.hwsim.report.outputs import outputs_npz

        yield options.outputs, outputs_npz(result)


def _print_table(result: Result, beside: Beside, *, steps: bool) -> None:
    from dtss.hwsim.report.text import print_result

    console = _console()
    print_result(result, console)
    if steps:
        from dtss.hwsim.report.steps_text import print_steps

        print_steps(result, console)
    if beside.savings is not None:
        from dtss.hwsim.report.savings_text import print_savings

        print_savings(beside.savings, console)
    if beside.paper_model is not None:
        from dtss.hwsim.report.paper_model import print_paper_model

        print_paper_model(beside.paper_model, console)
    if beside.comparison is not None:
        from dtss.hwsim.report.comparison_text import print_comparison

        print_comparison(result, beside.comparison, console)


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
