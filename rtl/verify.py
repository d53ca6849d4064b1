"""dtss-rtl verify: lint, structure, unit benches, and every layer of the schedule against interpreter and simulator."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from dtss.compiler.schedule import io
from dtss.compiler.schedule.cycles import Counts, product_counts
from dtss.compiler.schedule.errors import BadInputError
from dtss.compiler.schedule.format import Schedule
from dtss.compiler.schedule.interpret import Execution
from dtss.compiler.schedule.io import LoadedSchedule
from dtss.rtl.benches.plan import ANSWER, EXPECTED, PLAN, Answer, LayerPlan, Plan, layer_folder
from dtss.rtl.check import Finding, check_structure
from dtss.rtl.compare import Comparison, Mismatch, compare_counters
from dtss.rtl.elementwise import ELEMENTWISE_UNIT, ElementwiseParameters
from dtss.rtl.engine import Engine
from dtss.rtl.generate import MANIFEST, SCHEDULE, TOP, LayerEntry, Manifest, read_manifest
from dtss.rtl.layout import layout_of
from dtss.rtl.memory_image import hex_text
from dtss.rtl.simulators import BenchRequest, BenchRun, MissingToolError, Simulator, bench_source, lint, run_bench
from dtss.rtl.stimulus import LayerStimulus, execute, layer_stimulus, popcounts, streamed_operand

LEAK_MULTIPLIER_BITS_OF_UNIT_BENCH = 8
ELEMENTWISE_SIZES_OF_BENCH = {"count_bits": 8, "plane_bits": 4, "inputs": 2, "size_bits": 4, "address_bits": 10}
SPARE_CYCLES = 1000

LayerCounts = Mapping[str, Mapping[str, int]]
"""Layer → counter → events of one image."""

CountsOf = Callable[[LoadedSchedule, Path, int], LayerCounts]
"""(schedule, its file, image index) → the counts that the engine's counters must equal."""

Progress = Callable[[str], None]


class BenchReport(msgspec.Struct, frozen=True, kw_only=True):
    """One bench on one simulator."""

    bench: str
    simulator: str
    passed: bool
    seconds: float
    log: str


class LayerReport(msgspec.Struct, frozen=True, kw_only=True):
    """One layer on one image: `differing` counts wrong values and wrong counters, `mismatches` holds the first."""

    layer: str
    image: int
    simulator: str
    cycles_rtl: int
    cycles_simulated: int
    words_issued: int
    compared: dict[str, int]
    differing: int
    mismatches: list[Mismatch]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was checked. `changed_files` differ from what was generated, which is allowed but said."""

    folder: str
    network: str
    changed_files: list[str]
    lint: list[str]
    structure: list[Finding]
    benches: list[BenchReport]
    layers: list[LayerReport]

    @property
    def passed(self) -> bool:
        clean = not self.lint and not self.structure
        return clean and all(bench.passed for bench in self.benches) and not any(x.differing for x in self.layers)


@dataclass(frozen=True)
class Job:
    """What to verify, and where its files go."""

    folder: Path
    work: Path
    simulators: tuple[Simulator, ...]
    images: tuple[int, ...]
    seed: int
    counts_of: CountsOf


def verify(job: Job, progress: Progress) -> Report:
    """Run every check; a failed one does not stop the others."""
    manifest = read_manifest(job.folder)
    loaded = io.load(job.folder / SCHEDULE)
    _check_images(job, loaded)
    _make_folder(job.work)
    sources = sorted((job.folder / "rtl").glob("*.v"))
    progress("lint and structure")
    elementwise = elementwise_parameters(manifest.engine)
    warnings = lint(sources, TOP) + lint(sources, ELEMENTWISE_UNIT, elementwise.verilog_parameters())
    findings = check_structure(sources)
    layers: list[LayerReport] = []
    benches: list[BenchReport] = []
    progress("golden model and simulator")
    cases = _cases(job, manifest, loaded)
    for simulator in job.simulators:
        progress(f"{simulator}: unit benches")
        for bench, request in (("units", _unit_request), ("elementwise", _elementwise_request)):
            benches.append(_report(bench, simulator, run_bench(request(job, manifest.engine, sources, simulator))))
        progress(f"{simulator}: {len(cases)} layers")
        run, found = _run_layers(job, manifest, cases, sources, simulator)
        benches.append(_report("layers", simulator, run))
        layers += found
    return Report(
        folder=str(job.folder),
        network=manifest.network,
        changed_files=_changed_files(job.folder, manifest),
        lint=warnings,
        structure=findings,
        benches=benches,
        layers=layers,
    )


def counts_of_dtss_sim(loaded: LoadedSchedule, schedule_file: Path, image: int) -> LayerCounts:
    """Run dtss-sim on one image and read its JSON."""
    places = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    command = shutil.which("dtss-sim", path=places)
    if command is None:
        raise MissingToolError("dtss-sim", "is not on PATH", "install dtss in this environment")
    with tempfile.TemporaryDirectory() as folder:
        pixels, answer = Path(folder) / "image.npy", Path(folder) / "counts.json"
        np.save(pixels, loaded.tensors[io.IMAGES][image : image + 1])
        arguments = [str(schedule_file), "--images", str(pixels), "--json", str(answer), "--quiet"]
        done = subprocess.run([command, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise BadInputError(
                "dtss-sim", f"failed with exit code {done.returncode}: {done.stderr.strip()}", "run it by hand"
            )
        result = msgspec.json.decode(answer.read_bytes())
    return {layer["name"]: layer["counts"] for layer in result["layers"]}


def counts_of_the_rules(loaded: LoadedSchedule, schedule_file: Path, image: int) -> LayerCounts:
    """The cycle rules themselves, without dtss-sim."""
    del schedule_file
    schedule = loaded.schedule
    run = execute(schedule, loaded.tensors, loaded.tensors[io.IMAGES][image])
    counts: dict[str, dict[str, int]] = {}
    for node in schedule.products:
        layout = layout_of(schedule, node)
        counts[node.name] = no_counts = dict.fromkeys(Counts.__struct_fields__, 0)
        if layout.runs:
            operand = streamed_operand(schedule, loaded.tensors, run, layout)
            found = product_counts(schedule, node, popcounts(operand, layout)).counts
            counts[node.name] = {name: int(getattr(found, name)[0]) for name in no_counts}
    return counts


@dataclass(frozen=True)
class Case:
    """One layer on one image."""

    entry: LayerEntry
    image: int
    stimulus: LayerStimulus
    counts: Mapping[str, int]


def _cases(job: Job, manifest: Manifest, loaded: LoadedSchedule) -> list[Case]:
    cases = []
    for image in job.images:
        counts = job.counts_of(loaded, job.folder / SCHEDULE, image)
        run = execute(loaded.schedule, loaded.tensors, loaded.tensors[io.IMAGES][image])
        for entry in manifest.layers:
            stimulus = _stimulus(loaded.schedule, loaded.tensors, run, manifest.engine, entry)
            cases.append(Case(entry, image, stimulus, counts[entry.name]))
    return cases


def _stimulus(
    schedule: Schedule, tensors: Mapping[str, np.ndarray], run: Execution, engine: Engine, entry: LayerEntry
) -> LayerStimulus:
    node = next((product for product in schedule.products if product.name == entry.name), None)
    if node is None:
        raise BadInputError(
            f"{MANIFEST}: layers", f"{entry.name} is no product of the schedule", "generate the folder again"
        )
    return layer_stimulus(schedule, tensors, run, engine, layout_of(schedule, node))


def _run_layers(
    job: Job, manifest: Manifest, cases: Sequence[Case], sources: Sequence[Path], simulator: Simulator
) -> tuple[BenchRun, list[LayerReport]]:
    """One simulation of all cases."""
    run_folder = job.work / simulator / "layers"
    shutil.rmtree(run_folder, ignore_errors=True)
    for index, case in enumerate(cases):
        _write_case(job.folder / "memories" / case.entry.folder, run_folder / layer_folder(index), case)
    plan = Plan(engine=manifest.engine, layers=tuple(_layer_plan(case) for case in cases))
    (run_folder / PLAN).write_bytes(msgspec.json.encode(plan))
    run = run_bench(_layer_request(job, manifest.engine, sources, simulator, run_folder))
    if not (run_folder / ANSWER).exists():
        return run, [_unfinished(case, simulator, run) for case in cases[:1]]
    answer = msgspec.json.decode((run_folder / ANSWER).read_bytes(), type=Answer)
    return run, [
        _layer_report(case, simulator, layer.counters, layer.comparison)
        for case, layer in zip(cases, answer.layers, strict=True)
    ]


def _layer_report(case: Case, simulator: Simulator, counters: Mapping[str, int], walk: Comparison) -> LayerReport:
    wrong = compare_counters(case.entry.name, case.counts, counters)
    return LayerReport(
        layer=case.entry.name,
        image=case.image,
        simulator=simulator,
        cycles_rtl=counters["cycles"],
        cycles_simulated=case.counts["cycles"],
        words_issued=counters["words_issued"],
        compared=walk.compared | {"counters": len(counters)},
        differing=walk.differing + len(wrong),
        mismatches=[*walk.mismatches, *wrong],
    )


def _unfinished(case: Case, simulator: Simulator, run: BenchRun) -> LayerReport:
    """The bench ended without an answer: what stopped it is in its log."""
    lines = run.log.read_text(encoding="utf-8", errors="replace").splitlines()
    reason = next((line.strip() for line in lines if "AssertionError" in line or "Error:" in line), "no answer")
    mismatch = Mismatch(layer=case.entry.name, quantity="bench", where="", expected="an answer", got=reason[-200:])
    return LayerReport(
        layer=case.entry.name,
        image=case.image,
        simulator=simulator,
        cycles_rtl=0,
        cycles_simulated=case.counts["cycles"],
        words_issued=0,
        compared={},
        differing=1,
        mismatches=[mismatch],
    )


def _write_case(static: Path, folder: Path, case: Case) -> None:
    folder.mkdir(parents=True)
    for path in static.glob("*.hex"):
        shutil.copyfile(path, folder / path.name)
    for name, rows in case.stimulus.memories.items():
        (folder / f"{name}.hex").write_text(hex_text(rows), encoding="ascii")
    expected = case.stimulus.expected
    visits = np.stack(
        [getattr(expected.visits, name) for name in ("group", "output_tile", "position", "step", "columns")]
    )
    arrays: dict[str, Any] = {"visits": visits, **expected.rows}
    np.savez(folder / EXPECTED, **arrays)


def _layer_plan(case: Case) -> LayerPlan:
    entry = case.entry
    return LayerPlan(
        name=entry.name,
        configuration=entry.configuration,
        rows={
            "descriptor": entry.passes,
            "weight": entry.weight_beats,
            "flag": entry.flag_rows,
            "word": entry.word_rows,
            "parameter": entry.parameter_rows,
        },
        block_starts=entry.block_starts,
        cycle_limit=2 * case.counts["cycles"] + SPARE_CYCLES,
    )


def _layer_request(
    job: Job, engine: Engine, sources: Sequence[Path], simulator: Simulator, run_folder: Path
) -> BenchRequest:
    return BenchRequest(
        simulator=simulator,
        sources=(*map(str, sources), str(bench_source("layer_bench"))),
        toplevel="layer_bench",
        parameters={
            "COLUMNS": engine.columns,
            "MEMBRANE_BITS": engine.membrane_bits,
            "VALUE_BITS": engine.value_bits,
            "ACCUMULATOR_BITS": engine.accumulator_bits,
            "COUNTER_BITS": engine.counter_bits,
            "LAYER_BITS": engine.layer_bits,
            "DESCRIPTOR_ADDRESS_BITS": engine.descriptor_address_bits,
        },
        test_module="dtss.rtl.benches.bench_layers",
        build_folder=str(job.work / simulator / "build_layers"),
        run_folder=str(run_folder),
        seed=job.seed,
    )


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
