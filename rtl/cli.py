"""dtss-rtl: Verilog of a schedule, and its verification."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dtss.compiler.schedule.command import FULL_DISK, index, positive, run_command
from dtss.compiler.schedule.errors import EXIT_CHECK_FAILED, EXIT_OK, BadInputError

if TYPE_CHECKING:
    from dtss.rtl.synthesis import Target
    from dtss.rtl.verify import Job


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of dtss-rtl."""
    options = _parser().parse_args(arguments)
    return run_command("dtss-rtl", lambda: options.run(options), options.debug)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dtss-rtl",
        description="Write the Verilog of a compiled schedule, and hold it to golden model and cycle rules.",
        epilog="exit codes: 0 ok, 1 a check failed, 2 wrong usage or a missing tool, "
        "3 bad input file or no place to write, 4 the schedule does not fit the hardware, 70 bug in this tool",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_generate(commands.add_parser("generate", help="write Verilog, and what its memories and the DRAM hold"))
    _add_verify(commands.add_parser("verify", help="lint, check the structure, and simulate whole images"))
    _add_synth(commands.add_parser("synth", help="resources of an FPGA, or area in a cell library, with Yosys"))
    _add_characterize(commands.add_parser("characterize", help="energy of events, from netlists that simulate spikes"))
    return parser


def _add_generate(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Write the accelerator of a schedule: Verilog, its program, and the weights as it fetches them. "
        "README.md in the folder says how to connect it."
    )
    parser.add_argument("schedule", type=Path, metavar="SCHEDULE", help="schedule.json, written by dtss-compile")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder to write, as a whole")
    _add_common(parser, _generate)


def _add_verify(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Lint the Verilog, check its structure, run the unit benches, and run whole images through the AXI ports, "
        "always with Verilator: every accumulator, current, membrane, spike and logit must equal the interpreter's, "
        "every counter of every layer dtss-sim's, and so must the cycles of the image."
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder written by `dtss-rtl generate`")
    parser.add_argument(
        "--simulator",
        choices=("verilator", "icarus", "both"),
        default="verilator",
        help="of the unit benches (default: %(default)s)",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--images", type=positive, default=1, metavar="N", help="the first N sample images (default: 1)")
    which.add_argument("--image", type=index, metavar="INDEX", help="one sample image")
    parser.add_argument("--seed", type=index, default=0, metavar="N", help="of the unit benches (default: %(default)s)")
    parser.add_argument(
        "--wave", type=Path, metavar="FILE", help="run again to the first wrong value, and write its waveform (VCD)"
    )
    parser.add_argument(
        "--work", type=Path, metavar="DIR", help="where builds, traces and logs go (default: DIR/verify)"
    )
    _add_common(parser, _verify)


def _add_synth(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Synthesise the Verilog with Yosys, and count what it takes, module by module. Names without a driver are "
        "errors, and so are multipliers."
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder written by `dtss-rtl generate`")
    parser.add_argument(
        "--target", choices=("7series", "ecp5", "liberty"), help="default: liberty with --liberty, else 7series"
    )
    parser.add_argument("--part", metavar="PART", help="compare with it, such as xc7k325t (default) or lfe5u-85f")
    parser.add_argument("--liberty", type=Path, metavar="FILE", help="cells to map to (.lib, .lib.gz)")
    parser.add_argument("--module", metavar="NAME", help="only this module, as it is in the design")
    parser.add_argument("--place", action="store_true", help="ecp5: also place and route, for the clock it reaches")
    parser.add_argument(
        "--timeout", type=positive, default=3600, metavar="SECONDS", help="of each step (default: %(default)s)"
    )
    parser.add_argument("--work", type=Path, metavar="DIR", help="where Yosys works (default: DIR/verify/synth)")
    _add_common(parser, _synth)


def _add_characterize(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Map the array, the accumulators, the neurons and the zero check to cells with Yosys, simulate the netlists on "
        "the spikes and weights of sample images, and write a technology table for dtss-sim: transitions × energies of "
        "cells, before layout. A netlist that computes anything wrong is an error."
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder written by `dtss-rtl generate`")
    parser.add_argument("--liberty", type=Path, required=True, metavar="FILE", help="the cells (.lib, .lib.gz)")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="TABLE.toml", help="table to write")
    parser.add_argument(
        "--base",
        default="45nm",
        metavar="NAME|FILE",
        help="table of what is not measured: memories, DRAM (default: 45nm)",
    )
    parser.add_argument(
        "--node-nm", type=positive, metavar="NM", help="node of the library; without it the base table's stands there"
    )
    parser.add_argument("--images", type=positive, default=4, metavar="N", help="first N sample images (default: 4)")
    parser.add_argument(
        "--words", type=positive, default=4096, metavar="N", help="words and neuron updates to simulate (default: 4096)"
    )
    parser.add_argument("--seed", type=index, default=0, metavar="N", help="of the sample (default: 0)")
    parser.add_argument(
        "--slew", type=positive, default=50, metavar="PS", help="transition of what comes from outside (default: 50)"
    )
    parser.add_argument("--whole-array", action="store_true", help="simulate every column, not one")
    parser.add_argument("--no-clock-gates", action="store_true", help="leave them out, though the library has some")
    parser.add_argument(
        "--timeout",
        type=positive,
        default=3600,
        metavar="SECONDS",
        help="of each unit's mapping (default: %(default)s)",
    )
    parser.add_argument("--work", type=Path, metavar="DIR", help="where Yosys works (default: DIR/verify)")
    _add_common(parser, _characterize)


def _add_common(parser: argparse.ArgumentParser, run: object) -> None:
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an internal error")
    parser.set_defaults(run=run)


def _generate(options: argparse.Namespace) -> int:
    from dtss.compiler.schedule.io import load
    from dtss.rtl.generate import generate
    from dtss.rtl.report import print_generated

    manifest = generate(load(options.schedule), options.output)
    if options.json:
        _print_json(
            {"folder": str(options.output), "program_rows": manifest.engine.program_rows, "files": len(manifest.files)}
        )
    elif not options.quiet:
        print_generated(manifest, options.output)
    return EXIT_OK


def _verify(options: argparse.Namespace) -> int:
    from dtss.rtl.simulators import require_package

    require_package("pyverilog")  # an optional dependency, which the next imports need
    from dtss.rtl.report import print_report, report_object
    from dtss.rtl.verify import verify

    quiet = options.quiet or options.json or not sys.stderr.isatty()
    job = _job(options)
    try:
        report = verify(job, _ignore if quiet else _say)
    except OSError as error:
        if error.errno not in FULL_DISK:
            raise
        found = f"cannot be written ({error.strerror})"
        raise BadInputError(str(job.work), found, "free space or choose another folder with --work") from None
    if options.json:
        _print_json(report_object(report))
    elif not options.quiet:
        print_report(report)
    for name in report.changed_files:
        print(f"dtss-rtl: warning: {options.folder / name} is not as it was generated", file=sys.stderr)
    return EXIT_OK if report.passed else EXIT_CHECK_FAILED


def _job(options: argparse.Namespace) -> Job:
    from dtss.rtl.counts import counts_of_dtss_sim
    from dtss.rtl.generate import WORK
    from dtss.rtl.simulators import SIMULATORS
    from dtss.rtl.verify import Job

    images = range(options.images) if options.image is None else (options.image,)
    return Job(
        folder=options.folder.resolve(),
        work=(options.work or options.folder / WORK).resolve(),
        simulators=SIMULATORS if options.simulator == "both" else (options.simulator,),
        images=tuple(images),
        seed=options.seed,
        counts_of=counts_of_dtss_sim,
        wave=None if options.wave is None else options.wave.resolve(),
    )


def _synth(options: argparse.Namespace) -> int:
    from dtss.rtl.parts import UsageError
    from dtss.rtl.synthesis import job_of_folder, synthesise
    from dtss.rtl.synthesis_report import print_synthesis, synthesis_object

    target: Target = options.target or ("liberty" if options.liberty else "7series")
    if (target == "liberty") != (options.liberty is not None):
        raise UsageError("--liberty", f"and --target {target} do not go together", "give --target liberty and a file")
    if options.place and target != "ecp5":
        raise UsageError("--place", f"and --target {target} do not go together", "give --target ecp5")
    job = job_of_folder(
        options.folder.resolve(),
        target,
        work=options.work and options.work.resolve(),
        part=options.part,
        module=options.module,
        liberty=options.liberty and options.liberty.resolve(),
        place=options.place,
        timeout_seconds=options.timeout,
    )
    synthesis = synthesise(job, _ignore if options.quiet else _say)
    if options.json:
        _print_json(synthesis_object(synthesis))
    elif not options.quiet:
        print_synthesis(synthesis)
    for finding in synthesis.findings:
        print(f"dtss-rtl: {finding}", file=sys.stderr)
    return EXIT_OK if synthesis.passed else EXIT_CHECK_FAILED


def _characterize(options: argparse.Namespace) -> int:
    from dtss.rtl.characterize.measure import Job, characterize
    from dtss.rtl.characterize.report import characterization_object, print_characterization
    from dtss.rtl.characterize.table import read_base, write_table
    from dtss.rtl.generate import read_manifest

    folder = options.folder.resolve()
    read_manifest(folder)
    if not options.output.resolve().parent.is_dir():
        raise BadInputError(str(options.output), "has no folder to be written in", "make it first")
    base = read_base(options.base, folder)
    job = Job(
        folder=folder,
        liberty=options.liberty.resolve(),
        work=options.work and options.work.resolve(),
        images=options.images,
        words=options.words,
        seed=options.seed,
        slew_ps=float(options.slew),
        clock_gates=not options.no_clock_gates,
        whole_array=options.whole_array,
        timeout_seconds=options.timeout,
    )
    result = characterize(job, _ignore if options.quiet else _say)
    write_table(options.output, result, base, options.node_nm, folder)
    if options.json:
        _print_json(characterization_object(result, base))
    elif not options.quiet:
        print_characterization(result, base, options.output)
    return EXIT_OK


def _print_json(result: object) -> None:
    import msgspec

    sys.stdout.write(msgspec.json.format(msgspec.json.encode(result, order="sorted"), indent=2).decode() + "\n")


def _say(message: str) -> None:
    print(f"dtss-rtl: {message} …", file=sys.stderr)


def _ignore(message: str) -> None:
    """Nobody watches."""


if __name__ == "__main__":
    sys.exit(main())
