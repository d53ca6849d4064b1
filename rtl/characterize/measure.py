"""dtss-rtl characterize: energy of the machine's events from mapped netlists that simulate real spikes.

Of each unit, cycle by cycle, E = Σ transitions × energies of cells. By least squares over the cycles of the array

    E = a · active lanes + g · gated lanes + l · weights loaded + b · columns whose bank changed

so a is an accumulate, g a gated lane. Of the accumulator file, E = r · accesses + w · additions, r and w at least 0: an
addition reads, too. Of the neurons, the mean over the updates. Of the zero check, the OR of a word's bits, and what the
skipper takes for each word it is offered. What the clock takes in every cycle, whatever happens, is none of these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from dtss.compiler.schedule import io
from dtss.compiler.schedule.errors import BadInputError, CheckFailedError
from dtss.compiler.schedule.interpret import interpret
from dtss.rtl.characterize import stimulus as stimuli
from dtss.rtl.characterize.gates import Floats, GateNetlist
from dtss.rtl.characterize.mapping import Mapper
from dtss.rtl.characterize.neuron_streams import NeuronSampler, NeuronStream, walks_of
from dtss.rtl.characterize.stimulus import PARAMETERS, Stimulus
from dtss.rtl.characterize.streams import ArraySampler, ArrayStream, ProductWords, word_quotas
from dtss.rtl.counts import Image, NodeCounts, counts_of_the_rules
from dtss.rtl.engine import Engine
from dtss.rtl.generate import SCHEDULE, WORK, read_manifest

PICO_OVER_MICRO_MHZ = 1.0  # pJ × MHz = µW
LEAST_WORDS = 32  # of a layer whose error is told
MODES = {"with_glitches": True, "without_glitches": False}


@dataclass(frozen=True)
class Job:
    """What is measured, on what. words: of the array and visits of neurons, about so many."""

    folder: Path
    liberty: Path
    work: Path | None
    images: int
    words: int
    seed: int
    slew_ps: float
    clock_gates: bool
    whole_array: bool
    timeout_seconds: int


class Unit(msgspec.Struct, frozen=True, kw_only=True):
    """One mapped unit. columns: of it. Energies of the sample; `clock_pj_per_cycle`: what every cycle takes."""

    module: str
    columns: int
    cells: int
    flip_flops: int
    area: float
    cycles: int
    settled_ps: int
    transitions_per_cycle: float
    energy_pj: float
    energy_without_glitches_pj: float
    clock_pj_per_cycle: float
    register_leakage_uw: float
    logic_leakage_uw: float


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """Least squares of the energy of a cycle. total_error: of the fit's sum over all cycles, relative.

    layer_errors: the same by layer, of those with at least 32 words.  per_changed_lane_pj, r_squared_with_changes: of a
    fit that also knows how many lanes changed, which no counter of the machine does.
    """

    coefficients_pj: dict[str, float]
    r_squared: float
    residual_pj: float
    total_error: float
    layer_errors: dict[str, float]
    per_changed_lane_pj: float
    r_squared_with_changes: float


class Events(msgspec.Struct, frozen=True, kw_only=True):
    """pJ of one event; accumulator_read and accumulator_write of a bit, addition and walk_read of an accumulator."""

    accumulate: float
    gated_accumulate: float
    zero_check: float
    lif_update: float
    accumulator_read: float
    accumulator_write: float
    addition: float
    walk_read: float
    weight_load: float
    bank_change: float


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What was simulated: counts of events in it."""

    images: int
    words: int
    active_lanes: int
    gated_lanes: int
    changed_lanes: int
    weights_loaded: int
    offered_words: int
    updates: int
    fires: int
    silent_pj_per_lane: float


class Characterization(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is printed, and that the table is made of."""

    network: str
    hardware: str
    frequency_mhz: float
    library: str
    tool: str
    voltage_v: float
    temperature_c: float | None
    slew_ps: float
    clock_gates: bool
    widths: dict[str, int]
    sample: Sample
    units: list[Unit]
    events: Events
    events_without_glitches: Events
    fit: Fit
    clock_pj_per_cycle: float
    register_bits: int
    lane_bits: int
    register_leakage_uw: float
    logic_leakage_uw: float

    @property
    def clock_uw(self) -> float:
        """Of all measured units, at the hardware's clock."""
        return self.clock_pj_per_cycle * self.frequency_mhz * PICO_OVER_MICRO_MHZ

    def gating_saving(self, gated_per_active: float) -> float:
        """Of what the sample's lanes would take were all active, with a gated lane at this share of an active one."""
        gated = self.sample.gated_lanes / (self.sample.active_lanes + self.sample.gated_lanes)
        return gated * (1 - gated_per_active)


@dataclass(frozen=True)
class Streams:
    """The sample, and the counts of the images that it was taken from."""

    layers: list[str]
    array: ArrayStream
    groups: Sequence[NDArray[np.uint8]]
    neurons: NeuronStream
    checks_per_offered_word: float


@dataclass(frozen=True)
class Measured:
    """One unit. energy_pj: of the measured cycles, by mode, with what clock gates let through of the clock."""

    netlist: GateNetlist
    unit: Unit
    energy_pj: Mapping[str, Floats]


def characterize(job: Job, say: Callable[[str], None]) -> Characterization:
    """Map, simulate, compare, fit; `say` hears what is under way."""
    manifest = read_manifest(job.folder)
    engine = manifest.engine
    loaded = io.load(job.folder / SCHEDULE)
    mapper = Mapper(
        job.folder, job.work or job.folder / WORK, job.liberty, job.slew_ps, job.timeout_seconds, gated=job.clock_gates
    )
    say("running the interpreter")
    streams = sample(job, loaded, engine)

    def measure(module: str, columns: int, stimulus: Stimulus) -> Measured:
        say(f"mapping and simulating {module}")
        return _measure(mapper.map(module, PARAMETERS[module](engine)), columns, stimulus)

    stimulus = (stimuli.array if job.whole_array else stimuli.column)(streams.array, engine)
    array = measure("ac_array" if job.whole_array else "ac_column", engine.columns if job.whole_array else 1, stimulus)
    file = measure("accumulator_file", 1, stimuli.accumulators(streams.array, engine))
    lif = measure("lif_unit", 1, stimuli.neurons(streams.neurons, engine))
    flag = measure("word_flag", 0, stimuli.flags(streams.groups))
    skipper = measure("zero_skipper", 0, stimuli.skipper(streams.groups, engine))
    units = (array, file, lif, flag, skipper)
    events = {mode: _events(mode, streams, engine, *units) for mode in MODES}
    fit = _array_fit(streams, array.energy_pj["with_glitches"])
    array_bits = engine.rows * engine.columns * engine.weight_bits
    hardware = loaded.schedule.hardware
    return Characterization(
        network=manifest.network,
        hardware=hardware.name,
        frequency_mhz=hardware.frequency_mhz,
        library=mapper.library.name,
        tool=mapper.tool,
        voltage_v=mapper.library.voltage_v,
        temperature_c=mapper.library.temperature_c,
        slew_ps=job.slew_ps,
        clock_gates=mapper.gated,
        widths={
            "weight": engine.weight_bits,
            "accumulator": engine.accumulator_bits,
            "membrane": engine.membrane_bits,
            "sum": stimuli.sum_bits(engine),
        },
        sample=_sample(job, streams, array, stimulus),
        units=[each.unit for each in units],
        events=events["with_glitches"],
        events_without_glitches=events["without_glitches"],
        fit=fit,
        clock_pj_per_cycle=sum(_times(engine, unit) * unit.unit.clock_pj_per_cycle for unit in units),
        register_bits=2 * array_bits + engine.slots * engine.columns * engine.accumulator_bits,
        lane_bits=array_bits,
        register_leakage_uw=sum(_times(engine, unit) * unit.unit.register_leakage_uw for unit in units),
        logic_leakage_uw=sum(_times(engine, unit) * unit.unit.logic_leakage_uw for unit in units),
    )


def _times(engine: Engine, measured: Measured) -> int:
    """How often the machine has what was measured; a unit of 0 columns it has once."""
    return engine.columns // measured.unit.columns if measured.unit.columns else 1


def sample(job: Job, loaded: io.LoadedSchedule, engine: Engine) -> Streams:
    """Runs of every layer of the first images, each by its share of the events."""
    schedule = loaded.schedule
    pixels = loaded.tensors.get(io.IMAGES)
    if pixels is None or not len(pixels):
        raise BadInputError(str(job.folder / SCHEDULE), "holds no sample images", "compile a checkpoint that has some")
    if job.images > len(pixels):
        found = f"holds {len(pixels)} sample images"
        raise BadInputError(str(job.folder / SCHEDULE), found, f"give --images {len(pixels)} or fewer")
    words = ArraySampler(schedule.hardware.array, job.seed, whole=job.whole_array)
    visits = NeuronSampler(loaded.tensors, engine.columns, job.seed)
    layers = [node.name for node in schedule.products]
    checks = offered = 0
    for index in range(job.images):
        golden = interpret(schedule, loaded.tensors, pixels[index : index + 1].astype(np.int64), np.float64)
        image = Image(loaded, job.folder / SCHEDULE, index, golden)
        counts = counts_of_the_rules(image)
        checks, offered = checks + _total(counts, "zero_checks"), offered + _total(counts, "words_offered")
        issued = [counts[name]["words_issued"] for name in layers]
        quotas = word_quotas(issued, job.words // job.images)
        for number, (node, quota) in enumerate(zip(schedule.products, quotas, strict=True)):
            if quota:
                words.add(ProductWords(image, node), number, quota)
        walks = walks_of(image, engine)
        for walk, quota in zip(
            walks, word_quotas([each.visits for each in walks], job.words // job.images), strict=True
        ):
            visits.add(walk, quota)
    if not words.groups or not visits.cycles:
        raise BadInputError(
            str(job.folder / SCHEDULE), "runs no product or no neuron", "characterize a spiking network"
        )
    return Streams(layers, words.stream(), words.groups, visits.stream(), checks / offered)


def _total(counts: NodeCounts, name: str) -> int:
    return sum(of_node[name] for of_node in counts.values())


def _measure(netlist: GateNetlist, columns: int, stimulus: Stimulus) -> Measured:
    kept = stimulus.measured
    runs = {mode: stimuli.run(netlist, stimulus, timed=timed) for mode, timed in MODES.items()}
    energies = {mode: (run.energy_pj + run.clock_pj - netlist.clock_pj)[kept] for mode, run in runs.items()}
    activity = runs["with_glitches"]
    unit = Unit(
        module=netlist.name,
        columns=columns,
        cells=sum(netlist.cells.values()),
        flip_flops=netlist.register_count,
        area=netlist.area,
        cycles=int(kept.sum()),
        settled_ps=int(activity.settled_ps.max()),
        transitions_per_cycle=float(activity.transitions[kept].mean()),
        energy_pj=float(energies["with_glitches"].sum()),
        energy_without_glitches_pj=float(energies["without_glitches"].sum()),
        clock_pj_per_cycle=netlist.clock_pj,
        register_leakage_uw=netlist.register_leakage_uw,
        logic_leakage_uw=netlist.logic_leakage_uw,
    )
    return Measured(netlist, unit, energies)


def _events(
    mode: str, streams: Streams, engine: Engine,
    array: Measured, file: Measured, lif: Measured, flag: Measured, skipper: Measured,
) -> Events:  # fmt: skip
    of_array = _array_fit(streams, array.energy_pj[mode]).coefficients_pj
    ports = stimuli.accumulators(streams.array, engine).ports
    additions, reads = (ports[name][:, 0].astype(np.float64) for name in ("accumulate", "read"))
    addition, read = least_squares(np.stack([additions, reads], axis=1), file.energy_pj[mode])[0].tolist()
    # An addition reads, too. Where a read alone is no cheaper, because the adder moves with it, a write adds nothing.
    access, write = nnls(np.stack([additions + reads, additions], axis=1), file.energy_pj[mode])[0].tolist()
    words = sum(map(len, streams.groups))
    check = flag.energy_pj[mode].sum() / (words * engine.rows)
    skip = skipper.energy_pj[mode].sum() / words
    events = Events(
        accumulate=of_array["active"],
        gated_accumulate=of_array["gated"],
        zero_check=float(check + skip / streams.checks_per_offered_word),
        lif_update=float(lif.energy_pj[mode].sum() / streams.neurons.updates),
        accumulator_read=access / engine.accumulator_bits,
        accumulator_write=write / engine.accumulator_bits,
        addition=addition,
        walk_read=read,
        weight_load=of_array["loaded"],
        bank_change=of_array["bank"],
    )
    for name in events.__struct_fields__:
        value = getattr(events, name)
        if value < 0 or (name == "accumulate" and value == 0):
            found = f"{value:.4g} pJ, which no sound sample gives"
            raise CheckFailedError(f"{name}, {mode.replace('_', ' ')}", found, "simulate more --words or --images")
    return events


def regressors(stream: ArrayStream) -> dict[str, Floats]:
    """Counts of each measured cycle, of all simulated columns."""
    ones = stream.spikes.sum(axis=1)
    load_rows = stream.loading.shape[1]
    kept = stream.node >= 0
    columns = {
        "active": ones * stream.enable * stream.columns,
        "gated": (stream.rows - ones) * stream.enable * stream.columns,
        "loaded": (stream.beat >= 0) * load_rows * stream.loading.shape[2],
        "bank": np.abs(np.diff(stream.bank, prepend=0)) * stream.loading.shape[2],
    }
    return {name: values[kept].astype(np.float64) for name, values in columns.items()}


def changed_lanes(stream: ArrayStream) -> Floats:
    """Lanes whose bit is another than in the cycle before, in all simulated columns, of each measured cycle."""
    changed = np.abs(np.diff(stream.spikes.astype(np.int64), axis=0, prepend=0)).sum(axis=1) * stream.columns
    measured: Floats = changed[stream.node >= 0].astype(np.float64)
    return measured


def least_squares(columns: Floats, energy: Floats) -> tuple[Floats, float]:
    """Coefficients and R²."""
    found: Floats = np.linalg.lstsq(columns, energy, rcond=None)[0].astype(np.float64)
    residual = energy - columns @ found
    return found, float(1 - (residual**2).sum() / max(1e-30, ((energy - energy.mean()) ** 2).sum()))


def _array_fit(streams: Streams, energy: Floats) -> Fit:
    counted = regressors(streams.array)
    columns = np.stack(list(counted.values()), axis=1)
    coefficients, r_squared = least_squares(columns, energy)
    fitted = columns @ coefficients
    with_changes, r_squared_with_changes = least_squares(
        np.column_stack([changed_lanes(streams.array), columns]), energy
    )
    node = streams.array.node[streams.array.node >= 0]
    issued = streams.array.enable[streams.array.node >= 0].astype(np.bool_)
    errors = {}
    for number, name in enumerate(streams.layers):
        own = node == number
        if (own & issued).sum() >= LEAST_WORDS:
            errors[name] = float(fitted[own].sum() / energy[own].sum() - 1)
    return Fit(
        coefficients_pj=dict(zip(counted, coefficients.tolist(), strict=True)),
        r_squared=r_squared,
        residual_pj=float(np.sqrt(np.mean((energy - fitted) ** 2))),
        total_error=float(fitted.sum() / energy.sum() - 1),
        layer_errors=errors,
        per_changed_lane_pj=float(with_changes[0]),
        r_squared_with_changes=r_squared_with_changes,
    )


def _sample(job: Job, streams: Streams, array: Measured, stimulus: Stimulus) -> Sample:
    stream, counted = streams.array, regressors(streams.array)
    silent = stimuli.run(array.netlist, stimuli.silent(stimulus))
    still = (silent.energy_pj + silent.clock_pj - array.netlist.clock_pj)[stimulus.measured]
    lanes = counted["gated"] + counted["active"]
    left, _ = least_squares(np.stack([lanes, counted["loaded"], counted["bank"]], axis=1), still)
    return Sample(
        images=job.images,
        words=int(stream.enable[stream.node >= 0].sum()),
        active_lanes=int(counted["active"].sum()),
        gated_lanes=int(counted["gated"].sum()),
        changed_lanes=int(changed_lanes(stream).sum()),
        weights_loaded=int(counted["loaded"].sum()),
        offered_words=sum(map(len, streams.groups)),
        updates=streams.neurons.updates,
        fires=int((streams.neurons.spikes > 0).sum()),
        silent_pj_per_lane=float(left[0]),
    )
