"""dtss-compile: a trained model in, schedule.json out."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dtss.compiler.frontend.options import Architecture, ReadOptions
from dtss.compiler.schedule.command import positive, run_command
from dtss.compiler.schedule.errors import EXIT_CHECK_FAILED, EXIT_OK, BadInputError

if TYPE_CHECKING:
    from dtss.compiler.ablation import Ablation
    from dtss.compiler.check_source import Comparison
    from dtss.compiler.frontend.source import Source
    from dtss.compiler.graph.ir import Graph
    from dtss.compiler.passes.base import Target
    from dtss.compiler.passes.manager import Observer, PassResults
    from dtss.compiler.schedule.format import Schedule

COSTS_MORE = "the same integers at a higher cost"
OPTIONAL_PASSES = {  # what is without it
    "compose-linear-maps": "a head that reads currents is refused",
    "calibrate": "weights are rounded to nearest, to other integers",
    "prune-time-steps": COSTS_MORE,
    "hoist-constants": COSTS_MORE,
    "eliminate-membrane-accesses": COSTS_MORE,
    "reassociate-attention": COSTS_MORE,
    "tune-tiles": COSTS_MORE,
}
DEFAULT_HARDWARE = "edge-16x16"
DEFAULT_CHECKED_IMAGES = 8


def parser() -> argparse.ArgumentParser:
    """The command line; needs neither torch nor numpy."""
    command = argparse.ArgumentParser(
        prog="dtss-compile",
        description="Compile a trained spiking transformer to an integer, pruned, tiled schedule.",
        epilog="exit codes: 0 ok, 1 check failed, 2 usage, 3 bad input file or no place to write, "
        "4 model unsupported or does not fit, 70 internal bug",
    )
    command.add_argument(
        "model",
        type=Path,
        help="a checkpoint of dtss-train, with --arch one of the official codes, or a NIR graph (.nir)",
    )
    command.add_argument("-o", "--output", type=Path, required=True, metavar="FILE",
                         help="schedule to write; its tensors go beside it as .safetensors")  # fmt: skip
    command.add_argument("--hardware", default=DEFAULT_HARDWARE, metavar="NAME|FILE",
                         help="a shipped machine or a TOML file (default: %(default)s)")  # fmt: skip
    command.add_argument("--weight-bits", type=int, metavar="N",
                         help="of every weight, at most the array's (default: those the network was trained with "
                         "by dtss-train --quantise, else the array's)")  # fmt: skip
    command.add_argument("--layer-weight-bits", type=_layer_bits, action="append", default=[], metavar="LAYER=N",
                         help="of this layer's weights; may be repeated")  # fmt: skip
    command.add_argument("--time-order", choices=("inner", "outer"),
                         help="run time innermost or outermost in every layer (default: chosen per layer)")  # fmt: skip
    command.add_argument("--explain", action="store_true", help="print what each layer skips at each step, and why")
    command.add_argument("--ablation", action="store_true",
                         help="also compile with each optional pass off, simulate, and compare")  # fmt: skip
    command.add_argument("--tech", default="45nm", metavar="NAME|FILE",
                         help="the energies of --ablation, as in dtss-sim (default: %(default)s)")  # fmt: skip
    command.add_argument("--limit", type=positive, default=16, metavar="N",
                         help="images that --ablation simulates (default: %(default)s)")  # fmt: skip
    command.add_argument("--dump", type=Path, metavar="DIR", help="write the graph after each pass")
    command.add_argument("--onnx", type=Path, metavar="FILE", help="write the float network with frozen masks as ONNX")
    command.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    command.add_argument("--quiet", action="store_true", help="print nothing but errors")
    command.add_argument("--debug", action="store_true", help="show the traceback of an internal error")
    command.add_argument("--check", type=positive, nargs="?", const=DEFAULT_CHECKED_IMAGES, metavar="N",
                         help="compare float graph and source framework, integers and float graph, on N images "
                         "(default: %(const)s)")  # fmt: skip
    _add_source_options(command)
    for name, without in OPTIONAL_PASSES.items():
        command.add_argument(f"--no-{name}", dest="disabled", action="append_const", const=name,
                             help=f"leave out {name}: {without}")  # fmt: skip
    return command


def _add_source_options(command: argparse.ArgumentParser) -> None:
    """What other files than ours do not say; docs/front-ends.md names the defaults."""
    group = command.add_argument_group("checkpoints of the official codes, and NIR graphs (docs/front-ends.md)")
    group.add_argument("--arch", type=_architecture, metavar="NAME",
                       help="spikformer or spikingformer (-cml for CML's), its sizes read from the tensors, "
                       "or checked against the name: spikformer-4-384")  # fmt: skip
    group.add_argument("--heads", type=positive, metavar="N", help="attention heads")
    group.add_argument("--time-steps", type=positive, metavar="T", help="time steps to run")
    group.add_argument("--image-size", type=_image_size, metavar="H,W", help="pixels")
    group.add_argument("--mean", type=_numbers, metavar="R,G,B", help="mean of the pixels, scaled to 0 … 1")
    group.add_argument("--std", type=_numbers, metavar="R,G,B", help="standard deviation of the same")
    group.add_argument("--pixel-scale", type=float, metavar="S", help="NIR: of a pixel (default: 1/255)")
    group.add_argument("--dt", type=float, metavar="SECONDS", help="NIR: length of a time step (default: 1e-4)")
    group.add_argument("--fires", choices=(">", ">="),
                       help="NIR: how a membrane is compared, >= for SpikingJelly (default: >)")  # fmt: skip
    group.add_argument("--ema", action="store_true", help="read the moving average of the weights")
    group.add_argument("--calibration", type=Path, metavar="FILE",
                       help="real images to round the weights by; the last quarter is held out for --check and the "
                       "schedule; a .npy or .npz as dtss-sim --images takes")  # fmt: skip


def _architecture(text: str) -> Architecture:
    try:
        return Architecture.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _image_size(text: str) -> tuple[int, int]:
    height, _, width = text.partition(",")
    return positive(height), positive(width or height)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers such as 0.5,0.5,0.5") from None


def _layer_bits(text: str) -> tuple[str, int]:
    layer, equals, bits = text.rpartition("=")
    if not equals or not layer:
        raise argparse.ArgumentTypeError(f"{text}: write it as LAYER=N")
    return layer, positive(bits)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of dtss-compile."""
    options = parser().parse_args(arguments)
    return run_command("dtss-compile", lambda: run(options), options.debug)


def run(options: argparse.Namespace) -> int:
    """Read, compile, write, report."""
    from dtss.compiler.frontend.source import read_source
    from dtss.compiler.passes.base import Target
    from dtss.compiler.passes.manager import PassResults
    from dtss.compiler.pipeline import compile_graph
    from dtss.compiler.schedule import io
    from dtss.compiler.schedule.hardware import load_hardware

    _refuse_impossible_outputs(options)
    source = read_source(options.model, _read_options(options))
    _warn_of_clipped(options, source)
    target = Target(
        load_hardware(options.hardware),
        options.time_order,
        source.weight_bits if options.weight_bits is None else options.weight_bits,
        dict(options.layer_weight_bits),
        None if source.calibration is None else source.calibration.pixels,
    )
    dumps: dict[str, str] = {}
    results = PassResults(target)
    compiled = compile_graph(
        source.graph,
        target,
        disabled=frozenset(options.disabled or ()),
        observe=_collector(dumps) if options.dump else lambda name, graph: None,
        reference=source.reference(),
        results=results,
    )
    comparison = None
    if options.check is not None:
        from dtss.compiler.check_source import compare

        comparison = compare(source, compiled, options.check, str(options.model))
    ablation = _ablation(options, source, results) if options.ablation else None
    others = {options.onnx: _onnx(source, target)} if options.onnx else {}
    with _dump_folder(options.dump) as folder:
        others |= {folder / name: text.encode() for name, text in dumps.items()}
        schedule = io.save(options.output, compiled.schedule, compiled.tensors | source.sample_tensors(), others)
    _warn_of_gaps(schedule)
    _report(options, source, schedule, comparison, ablation)
    return EXIT_OK if ablation is None or ablation.agrees else EXIT_CHECK_FAILED


def _read_options(options: argparse.Namespace) -> ReadOptions:
    return ReadOptions(
        arch=options.arch,
        heads=options.heads,
        time_steps=options.time_steps,
        image_size=options.image_size,
        mean=options.mean,
        std=options.std,
        calibration=options.calibration,
        ema=options.ema,
        dt=options.dt,
        fires=options.fires,
        pixel_scale=options.pixel_scale,
    )


def _refuse_impossible_outputs(options: argparse.Namespace) -> None:
    for path in (options.output, options.onnx):
        if path is not None and not path.parent.is_dir():
            raise BadInputError(str(path), f"the folder {path.parent} does not exist", "create it first")
        if path is not None and path.is_dir():
            raise BadInputError(str(path), "is a folder", "name a file in it")
    if options.onnx in (options.output, options.output.with_suffix(".safetensors")):
        raise BadInputError(str(options.onnx), "is a file of the schedule itself", "give --onnx a name of its own")
    if options.dump is not None and options.dump.exists() and not options.dump.is_dir():
        raise BadInputError(str(options.dump), "is a file", "name a folder for the dumps")


def _collector(dumps: dict[str, str]) -> Observer:
    from dtss.compiler.graph.print import print_graph

    def collect(name: str, graph: Graph) -> None:
        dumps[f"{len(dumps):02d}-{name}.txt"] = print_graph(graph)

    return collect


@contextmanager
def _dump_folder(folder: Path | None) -> Iterator[Path]:
    """The folder of --dump, made for what is written into it and gone again where that fails."""
    missing = [] if folder is None else [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        for path in reversed(missing):
            path.mkdir()
    except OSError as error:
        raise BadInputError(str(folder), f"cannot be created ({error.strerror})", "choose another folder") from None
    try:
        yield folder or Path()
    except BaseException:
        for path in missing:
            path.rmdir()
        raise


def _onnx(source: Source, target: Target) -> bytes:
    from dtss.compiler.export_onnx import exported

    return exported(source.graph, target)


def _ablation(options: argparse.Namespace, source: Source, results: PassResults) -> Ablation:
    from dtss.compiler.ablation import ablate

    return ablate(source.graph, results, source.sample_tensors(), options.tech, options.limit)


def _warn_of_gaps(schedule: Schedule) -> None:
    """A mask that is no prefix is legal, but training with non-negative scores never makes one."""
    for node in schedule.lif_nodes:
        if node.mask_steps != tuple(range(len(node.mask_steps))):
            kept = ", ".join(map(str, node.mask_steps))
            print(
                f"dtss-compile: warning: {node.name}: its mask keeps steps {kept}, which is no prefix 1…10…0; "
                "compiled as it is, and the state is updated through the gaps",
                file=sys.stderr,
            )


def _warn_of_clipped(options: argparse.Namespace, source: Source) -> None:
    if source.calibration is not None and source.calibration.clipped_values:
        print(
            f"dtss-compile: warning: {options.calibration}: {source.calibration.clipped_values} input values lie "
            f"outside pixels 0 … {source.graph.preprocess.pixel_max}; clipped",
            file=sys.stderr,
        )


def _report(
    options: argparse.Namespace,
    source: Source,
    schedule: Schedule,
    comparison: Comparison | None,
    ablation: Ablation | None,
) -> None:
    from dtss.compiler.explain import explain

    if options.json:
        found = summary(options, source, schedule, comparison)
        found |= {} if ablation is None else {"ablation": ablation.as_records()}
        print(json.dumps(found, indent=2, sort_keys=True))
    elif not options.quiet:
        if options.explain:
            print(explain(schedule))
        print(summary_text(options, source, schedule, comparison))
        if ablation is not None:
            print(f"\n{ablation.as_text()}")


def summary(
    options: argparse.Namespace, source: Source, schedule: Schedule, comparison: Comparison | None
) -> dict[str, object]:
    """What was compiled, for scripts."""
    from dtss.compiler.memory_plan import memory_json

    memory = schedule.memory
    checked: dict[str, object] = {}
    if comparison is not None:
        from dtss.compiler.check_source import comparison_json

        checked = {"check": comparison_json(comparison)}
    return checked | {
        "schedule": str(options.output),
        "network": schedule.network,
        "hardware": schedule.hardware.name,
        "source": list(source.notes),
        "stored_images": len(source.images),
        "time_steps": schedule.time_steps,
        "average_time_steps_masks": schedule.average_time_steps.masks,
        "average_time_steps_pruned": schedule.average_time_steps.pruned,
        "passes": list(schedule.passes),
        "weight_bits": memory.weight_bits,
        "trained_weight_bits": source.weight_bits,
        "weights_resident": memory.weights_resident,
        "memory": memory_json(memory),
        "float_accuracy": schedule.reference.sample_accuracy,
        "active_steps": {node.name: list(node.steps.active) for node in schedule.lif_nodes},
        "mask_steps": {node.name: list(node.mask_steps) for node in schedule.lif_nodes},
    }


def summary_text(options: argparse.Namespace, source: Source, schedule: Schedule, comparison: Comparison | None) -> str:
    """A few lines for a person."""
    from dtss.compiler.memory_plan import memory_text

    average, memory = schedule.average_time_steps, schedule.memory
    resident = "resident on chip" if memory.weights_resident else "streamed from DRAM for every image"
    lines = [
        f"{schedule.network} for {schedule.hardware.name}",
        *(f"source            {note}" for note in source.notes),
        *([_images_text(source)] if source.notes else []),
        f"operations        {len(schedule.nodes)}, over {schedule.time_steps} time steps",
        f"T_avg             {average.masks:.2f} in the masks, {average.pruned:.2f} after pruning",
        f"weights           {memory.weight_bits / 8192:.1f} KiB, {resident}",
        *_weight_bits_lines(options.weight_bits, source.weight_bits),
        *memory_text(memory),
    ]
    if comparison is not None:
        from dtss.compiler.check_source import comparison_text

        lines.append(comparison_text(comparison))
    lines.append(f"written           {options.output}, {schedule.tensors.file}")
    return "\n".join(lines)


def _weight_bits_lines(asked: int | None, trained: int | None) -> list[str]:
    """Where the width of the weights comes from, if the network was trained with one."""
    if trained is None:
        return []
    if asked in (None, trained):
        return [f"weight bits       {trained}, as the network was trained"]
    return [f"weight bits       {asked} by --weight-bits; the network was trained with {trained}"]


def _images_text(source: Source) -> str:
    if source.calibration is None and len(source.images):
        return f"images            {len(source.images)} go into the schedule"
    if source.calibration is None:
        return "images            none in the schedule: give dtss-sim some with --images"
    held_out = "held out" if source.images is not source.calibration.pixels else "the same"
    return (
        f"images            {len(source.calibration.pixels)} calibrate, {len(source.images)} {held_out} go into the "
        "schedule"
    )


if __name__ == "__main__":
    sys.exit(main())
