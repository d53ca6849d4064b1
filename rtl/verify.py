"""dtss-rtl verify: lint, structure, the unit benches, then whole images against interpreter and cycle rules."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np

from dtss.compiler.schedule import io
from dtss.compiler.schedule.errors import BadInputError
from dtss.compiler.schedule.interpret import interpret
from dtss.compiler.schedule.io import LoadedSchedule
from dtss.rtl.check import Finding, check_structure
from dtss.rtl.compare import (
    Comparison,
    Mismatch,
    Window,
    compare_counters,
    compare_logits,
    compare_row,
)
from dtss.rtl.counts import STALLS, CountsOf, Image, NodeCounts
from dtss.rtl.elementwise import ElementwiseParameters
from dtss.rtl.engine import COUNTERS, Engine
from dtss.rtl.expected import expected_row
from dtss.rtl.generate import SCHEDULE, TOP, Manifest, read_manifest
from dtss.rtl.network_run import Harness, Watched
from dtss.rtl.program import ELEMENTWISE, END, FILL, RUN, ProgramRow, program
from dtss.rtl.simulators import (
    BenchError,
    BenchRequest,
    BenchRun,
    Simulator,
    bench_source,
    lint,
    run_bench,
)

LEAK_MULTIPLIER_BITS_OF_UNIT_BENCH = 8
ELEMENTWISE_SIZES_OF_BENCH = {"count_bits": 8, "plane_bits": 4, "inputs": 2, "size_bits": 4, "address_bits": 10}
CYCLE_LIMIT_FACTOR, SPARE_CYCLES = 2, 10_000
STATUS_DONE = 0b11  # idle, done, no error

Progress = Callable[[str], None]


class BenchReport(msgspec.Struct, frozen=True, kw_only=True):
    """One bench on one simulator."""

    bench: str
    simulator: str
    passed: bool
    seconds: float
    log: str


class ImageReport(msgspec.Struct, frozen=True, kw_only=True):
    """One image as a whole: what the ports said, and all its cycles, waits for DRAM among them.

    compared: values by quantity.  differing: how many are wrong; `mismatches` holds the first.
    """

    image: int
    cycles_rtl: int
    cycles_expected: int
    compared: dict[str, int]
    differing: int
    mismatches: list[Mismatch]


class LayerReport(ImageReport, frozen=True, kw_only=True):
    """One node that has rows in the program, on one image; waits for DRAM are a counter and not among its cycles."""

    layer: str
    words_issued: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was checked. `changed_files` differ from what was generated, which is allowed but said."""

    folder: str
    network: str
    changed_files: list[str]
    lint: list[str]
    structure: list[Finding]
    benches: list[BenchReport]
    layers: list[LayerReport]
    images: list[ImageReport]

    @property
    def passed(self) -> bool:
        clean = not self.lint and not self.structure
        return clean and all(bench.passed for bench in self.benches) and not self.mismatches

    @property
    def mismatches(self) -> list[Mismatch]:
        return all_mismatches(self.layers, self.images)


def all_mismatches(layers: Sequence[LayerReport], images: Sequence[ImageReport]) -> list[Mismatch]:
    """In the order of the program, the images' own last."""
    reports: list[ImageReport] = [*layers, *images]
    return [mismatch for report in reports for mismatch in report.mismatches]


@dataclass(frozen=True)
class Job:
    """What to verify, and where its files go. simulators: of the unit benches.  wave: a file for a waveform."""

    folder: Path
    work: Path
    simulators: tuple[Simulator, ...]
    images: tuple[int, ...]
    seed: int
    counts_of: CountsOf
    wave: Path | None = None


def verify(job: Job, progress: Progress) -> Report:
    """Run every check; a failed one does not stop the others."""
    manifest = read_manifest(job.folder)
    loaded = io.load(job.folder / SCHEDULE)
    _check_images(job, loaded)
    _make_folder(job.work)
    sources = sorted((job.folder / "rtl").glob("*.v"))
    progress("lint and structure")
    warnings, findings = lint(sources, TOP), check_structure(sources)
    benches = []
    for simulator in job.simulators:
        for bench, request in (("units", _unit_request), ("elementwise", _elementwise_request)):
            progress(f"{simulator}: bench of the {bench}")
            run = run_bench(request(job, manifest.engine, sources, simulator))
            benches.append(_report(bench, simulator, run))
    network, layers, images = verify_network(job, manifest, loaded, progress)
    return Report(
        folder=str(job.folder),
        network=manifest.network,
        changed_files=_changed_files(job.folder, manifest),
        lint=warnings,
        structure=findings,
        benches=[*benches, network],
        layers=layers,
        images=images,
    )


def verify_network(
    job: Job, manifest: Manifest, loaded: LoadedSchedule, progress: Progress
) -> tuple[BenchReport, list[LayerReport], list[ImageReport]]:
    """The images, from pixels to logits."""
    pixels = loaded.tensors[io.IMAGES][list(job.images)]
    progress("network: interpreter and cycle rules")
    cases = golden_cases(job, loaded)
    limit = cycle_limit(cases)
    harness = harness_for(job, manifest, loaded)
    started = time.monotonic()
    try:
        progress("network: build")
        harness.build()
        progress("network: run")
        watched = harness.run(pixels, limit)
    except BenchError as error:
        mismatch = Mismatch(layer="network", quantity="run", where="", expected="logits", got=str(error))
        failed = ImageReport(
            image=job.images[0], cycles_rtl=0, cycles_expected=0, compared={}, differing=1, mismatches=[mismatch]
        )
        return _network_bench(job, started, passed=False), [], [failed]
    seconds = time.monotonic()
    progress("network: compare")
    rows = program(loaded.schedule, loaded.tensors)
    layers: list[LayerReport] = []
    images: list[ImageReport] = []
    for case, seen in zip(cases, watched, strict=True):
        layers += layer_reports(manifest.engine, rows, case, seen)
        images.append(image_report(case, seen))
    mismatches = all_mismatches(layers, images)
    if job.wave is not None:
        windows = (mismatch.window for mismatch in mismatches)
        first = next((window for window in windows if window is not None), None)
        if first is not None:
            progress(f"network: waveform of cycles {first[0]} to {first[1]}")
            harness.trace(pixels, limit, job.wave, first)
    return _network_bench(job, started, passed=not mismatches, ended=seconds), layers, images


Case = tuple[Image, NodeCounts]
"""An image with its golden run, and what its counters must be."""


def golden_cases(job: Job, loaded: LoadedSchedule) -> list[Case]:
    """What the job's images have to give."""
    cases = []
    for index in job.images:
        pixels = loaded.tensors[io.IMAGES][index][None].astype(np.int64)
        run = interpret(loaded.schedule, loaded.tensors, pixels, np.float64)
        image = Image(loaded, job.folder / SCHEDULE, index, run)
        cases.append((image, job.counts_of(image)))
    return cases


def cycle_limit(cases: Sequence[Case]) -> int:
    """Of an image, after which something must be wrong."""
    return SPARE_CYCLES + CYCLE_LIMIT_FACTOR * max(_all_cycles(counts) for _, counts in cases)


def harness_for(job: Job, manifest: Manifest, loaded: LoadedSchedule) -> Harness:
    latency = loaded.schedule.hardware.dram.latency_cycles
    return Harness(job.folder, job.work, manifest.engine, manifest.shell, latency)


def _network_bench(job: Job, started: float, *, passed: bool, ended: float | None = None) -> BenchReport:
    seconds = round((ended or time.monotonic()) - started, 1)
    log = str(job.work / "network.log")
    return BenchReport(bench="network", simulator="verilator", passed=passed, seconds=seconds, log=log)


def _all_cycles(counts: NodeCounts) -> int:
    """Of the whole image, waits for DRAM among them."""
    return sum(of_node["cycles"] + of_node[STALLS] for of_node in counts.values())


def layer_reports(engine: Engine, rows: Sequence[ProgramRow], case: Case, seen: Watched) -> list[LayerReport]:
    """One for each node that has rows in the program."""
    image, counts = case
    names = [node.name for node in image.loaded.schedule.nodes]
    windows = _row_windows(seen, len(rows))
    by_row = np.diff(seen.counters, axis=0, prepend=0)
    waits = _waits(names, rows, counts)
    reports = []
    for node in sorted({row.node for row in rows}):
        own = [number for number, row in enumerate(rows) if row.node == node]
        parts = [
            _compare(engine, image, rows[number], number, seen, windows[number])
            for number in own
            if rows[number].operation not in (FILL, END)
        ]
        done = [number for number in own if number < len(by_row)]
        got = dict(zip(COUNTERS, by_row[done].sum(axis=0).tolist(), strict=True))
        got["cycles"] -= got[STALLS]
        expected = dict(counts[names[node]]) | {STALLS: waits[node]}
        window = (windows[own[0]][0], windows[own[-1]][1])
        wrong = compare_counters(names[node], expected, got, window)
        reports.append(
            LayerReport(
                layer=names[node],
                image=image.index,
                cycles_rtl=got["cycles"],
                cycles_expected=expected["cycles"],
                words_issued=got["words_issued"],
                compared=_sums(part.compared for part in parts) | {"counters": len(got)},
                differing=sum(part.differing for part in parts) + len(wrong),
                mismatches=[*(mismatch for part in parts for mismatch in part.mismatches), *wrong],
            )
        )
    return reports


def _waits(names: Sequence[str], rows: Sequence[ProgramRow], counts: NodeCounts) -> dict[int, int]:
    """Stall cycles of each node that has rows: the image's belong to the first one."""
    waits = {row.node: counts[names[row.node]][STALLS] for row in rows}
    waits[rows[0].node] += counts[names[0]][STALLS]
    return waits


def _compare(engine: Engine, image: Image, row: ProgramRow, number: int, seen: Watched, window: Window) -> Comparison:
    """The walks, or the writes, of one row of the program."""
    assert row.operation in (RUN, ELEMENTWISE)
    schedule = image.loaded.schedule
    records = seen.writes if row.operation == ELEMENTWISE else seen.walks
    found = records.of_row(number)
    if row.operation == ELEMENTWISE:
        found = found.sorted_by("address")
    return compare_row(expected_row(schedule, image.run, engine, row), found, window)


def _row_windows(seen: Watched, rows: int) -> list[Window]:
    """First and last cycle of each row of the program; one that was not reached has the last cycle that was."""
    ends = [seen.answer.first_cycle, *seen.row_ends.tolist()]
    return list(pairwise([*ends, *[ends[-1]] * (rows + 1 - len(ends))]))


def image_report(case: Case, seen: Watched) -> ImageReport:
    """The image as a whole."""
    image, counts = case
    answer, schedule = seen.answer, image.loaded.schedule
    head = schedule.output.node
    logits = compare_logits(head, image.run.logits[:, 0], answer.logits)
    expected = _all_cycles(counts)
    total = seen.counters[-1] if len(seen.counters) else np.zeros(len(COUNTERS), np.int64)
    facts = {
        "end of the image": (True, answer.ended),
        "STATUS": (STATUS_DONE, answer.status),
        "CYCLES": (expected, answer.cycles),
        "cycles": (expected, int(total[0])),
        "counters by AXI4-Lite": (total.tolist(), answer.counters),
    }
    wrong = [
        Mismatch(layer="image", quantity=name, where="", expected=str(want), got=str(got))
        for name, (want, got) in facts.items()
        if want != got
    ]
    return ImageReport(
        image=image.index,
        cycles_rtl=answer.cycles,
        cycles_expected=expected,
        compared=logits.compared | {"facts": len(facts)},
        differing=logits.differing + len(wrong),
        mismatches=[*logits.mismatches, *wrong],
    )


def _sums(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for name, count in part.items():
            total[name] = total.get(name, 0) + count
    return total


def _unit_request(job: Job, engine: Engine, sources: Sequence[Path], simulator: Simulator) -> BenchRequest:
    """The leaf modules at this engine's sizes."""
    return BenchRequest(
        simulator=simulator,
        sources=(*(str(path) for path in sources if path.stem != TOP), str(bench_source("unit_bench"))),
        toplevel="unit_bench",
        parameters={
            "ROWS": engine.rows,
            "GROUP": engine.group,
            "TIME_STEPS": engine.time_steps,
            "WEIGHT_BITS": engine.weight_bits,
            "LOAD_ROWS": engine.load_rows,
            "MEMBRANE_BITS": engine.membrane_bits,
            "VALUE_BITS": engine.value_bits,
            "SLOT_BITS": engine.slot_bits,
            "LEAK_MULTIPLIER_BITS": max(LEAK_MULTIPLIER_BITS_OF_UNIT_BENCH, engine.leak_multiplier_bits),
        },
        test_module="dtss.rtl.benches.bench_units",
        build_folder=str(job.work / simulator / "build_units"),
        run_folder=str(job.work / simulator / "units"),
        seed=job.seed,
    )


def _elementwise_request(job: Job, engine: Engine, sources: Sequence[Path], simulator: Simulator) -> BenchRequest:
    """The elementwise unit beside this engine."""
    return BenchRequest(
        simulator=simulator,
        sources=(*(str(path) for path in sources if path.stem != TOP), str(bench_source("elementwise_bench"))),
        toplevel="elementwise_bench",
        parameters=elementwise_parameters(engine).verilog_parameters(),
        test_module="dtss.rtl.benches.bench_elementwise",
        build_folder=str(job.work / simulator / "build_elementwise"),
        run_folder=str(job.work / simulator / "elementwise"),
        seed=job.seed,
    )


def elementwise_parameters(engine: Engine) -> ElementwiseParameters:
    """As many lanes as the engine has, as wide; the rest is the bench's choice."""
    return ElementwiseParameters(
        rows=engine.rows,
        columns=engine.columns,
        value_bits=engine.value_bits,
        time_steps=engine.time_steps,
        **ELEMENTWISE_SIZES_OF_BENCH,
    )


def _report(bench: str, simulator: Simulator, run: BenchRun) -> BenchReport:
    return BenchReport(
        bench=bench, simulator=simulator, passed=run.passed, seconds=round(run.seconds, 1), log=str(run.log)
    )


def _check_images(job: Job, loaded: LoadedSchedule) -> None:
    if io.IMAGES not in loaded.tensors:
        raise BadInputError(str(job.folder / SCHEDULE), "holds no sample images", "compile a checkpoint that has some")
    count = len(loaded.tensors[io.IMAGES])
    for image in job.images:
        if not 0 <= image < count:
            found = f"image {image} of {count}"
            raise BadInputError(str(job.folder / SCHEDULE), found, f"choose images 0 to {count - 1}")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        found = f"cannot be written ({error.strerror})"
        raise BadInputError(str(folder), found, "choose another folder with --work") from None


def _changed_files(folder: Path, manifest: Manifest) -> list[str]:
    """Files that are no longer what was generated; someone may have edited them on purpose."""
    return [name for name, digest in manifest.files.items() if _digest(folder / name) != digest]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"
