"""dtss-result/1: the result as one JSON object, its keys sorted, every unit in its key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import msgspec

from dtss.compiler.schedule.cycles import Counts
from dtss.compiler.schedule.dram import DramCounts
from dtss.hwsim.energy import EnergyByKind, EnergySums, mean_energy
from dtss.hwsim.in_memory import InMemoryResult
from dtss.hwsim.report.beside import NOTHING, Beside
from dtss.hwsim.report.comparison_json import ComparisonJson, comparison_json
from dtss.hwsim.report.layers import State, firing_rate, states
from dtss.hwsim.report.paper_model import PaperModelJson, paper_model_json
from dtss.hwsim.report.quantities import spread
from dtss.hwsim.report.steps import SharedCyclesJson, StepsJson, shared_json, steps_json
from dtss.hwsim.result import NodeResult, Result
from dtss.hwsim.savings import Saving
from dtss.hwsim.technology import Technology

FORMAT: Literal["dtss-result/1"] = "dtss-result/1"
SCHEMA = Path(__file__).parent / "schema" / "result.json"


class CountSums(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every field of `dtss.compiler.schedule.cycles.Counts`, summed over the images."""

    cycles: int
    stream_cycles: int
    load_stall_cycles: int
    word_stall_cycles: int
    walk_cycles: int
    fill_cycles: int
    elementwise_cycles: int
    control_cycles: int
    passes: int
    words_offered: int
    words_issued: int
    active_bits: int
    accumulates: int
    gated_accumulates: int
    accumulator_reads: int
    accumulator_writes: int
    weight_row_reads: int
    stationary_row_reads: int
    stationary_row_writes: int
    parameter_row_reads: int
    spike_word_reads: int
    image_row_reads: int
    strip_word_writes: int
    spike_row_writes: int
    spike_word_writes: int
    current_row_reads: int
    current_row_writes: int
    membrane_row_reads: int
    membrane_row_writes: int
    lif_updates: int
    zero_checks: int


class DramSums(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every field of `dtss.compiler.schedule.dram.DramCounts`, summed over the images."""

    stall_cycles: int
    dram_read_bits: int
    dram_write_bits: int
    weight_row_writes: int
    parameter_row_writes: int
    image_row_writes: int


class AccuracyJson(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fractions of the images; null where unknown.

    trained_float_top1: of the whole test set, when the network was trained.
    """

    integer_top1: float | None
    float_top1: float | None
    change: float | None
    agreement: float | None
    trained_float_top1: float | None


class TimeStepsJson(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """T and T_avg, the mean over LIF layers of the masks and of what is left to run."""

    total: int
    average_of_masks: float
    average_after_pruning: float


class TotalsJson(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Means over the images and over all layers; spreads are standard deviations.

    cycles: those of the counts, and the stalls at the DRAM.

    configuration_energy_pj: reading all weights from DRAM once; part of every image's energy only where
    weights_resident is false.
    """

    counts: CountSums
    dram: DramSums
    cycles_per_image: float
    cycles_spread: float
    latency_us_per_image: float
    images_per_second: float
    edp_pj_us_per_image: float
    energy_pj_per_image: float
    energy_pj_spread: float
    compute_energy_pj_per_image: float
    memory_energy_pj_per_image: float
    leakage_energy_pj_per_image: float
    energy_pj_per_image_by_kind: EnergySums
    array_busy: float
    lanes_busy: float
    weights_resident: bool
    weight_bits: int
    configuration_energy_pj: float
    clipped_input_values: int


class LayerJson(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One node of the schedule. counts: exact sums over the images. steps: the state of each time step.

    neuron: the LIF that walks this product; the walk's cycles and events are counted here.
    firing_rate: of a LIF, spikes per neuron and time step.  spikes_per_step: sums over the images.
    array_busy, lanes_busy: as in the totals, over the cycles of the node.
    by_step, shared_cycles: null where the run did not count steps; dtss-sim always does.
    """

    name: str
    kind: str
    group: str | None
    neuron: str | None
    shape: tuple[int, int, int]
    steps: tuple[State, ...]
    counts: CountSums
    dram: DramSums
    energy_pj_per_image: EnergySums
    firing_rate: float | None
    spikes_per_step: tuple[int, ...] | None
    array_busy: float
    lanes_busy: float
    by_step: StepsJson | None
    shared_cycles: SharedCyclesJson | None


class PerImageJson(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    cycles: tuple[int, ...]
    energy_pj: tuple[float, ...]


class SavingJson(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One quantity of an image with every step run, and as scheduled. share: of the former, what is saved."""

    quantity: str
    unpruned: float
    pruned: float
    share: float


class HardwareJson(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    frequency_mhz: float
    rows: int
    columns: int


class ResultJson(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One simulated batch.

    comparison: null without --compare.  paper_model: null without --model paper.  in_memory: the stored weights on
    crossbars, an image; null without --in-memory.  savings: null without --savings.
    """

    format: Literal["dtss-result/1"] = FORMAT
    network: str
    hardware: HardwareJson
    technology: Technology
    images: int
    image_source: str
    accuracy: AccuracyJson
    time_steps: TimeStepsJson
    totals: TotalsJson
    layers: tuple[LayerJson, ...]
    per_image: PerImageJson
    comparison: ComparisonJson | None
    paper_model: PaperModelJson | None
    in_memory: InMemoryResult | None
    savings: tuple[SavingJson, ...] | None


def encode(result: Result, beside: Beside = NOTHING) -> bytes:
    """The same result gives the same bytes."""
    document = msgspec.json.encode(result_json(result, beside), order="sorted")
    return msgspec.json.format(document, indent=2) + b"\n"


def result_json(result: Result, beside: Beside = NOTHING) -> ResultJson:
    schedule = result.schedule
    array = schedule.hardware.array
    return ResultJson(
        network=schedule.network,
        hardware=HardwareJson(
            name=schedule.hardware.name,
            frequency_mhz=schedule.hardware.frequency_mhz,
            rows=array.rows,
            columns=array.columns,
        ),
        technology=result.technology,
        images=result.images,
        image_source=result.samples.source,
        accuracy=AccuracyJson(
            integer_top1=result.accuracy.integer_top1,
            float_top1=result.accuracy.float_top1,
            change=result.accuracy.change,
            agreement=result.accuracy.agreement,
            trained_float_top1=schedule.reference.trained_accuracy,
        ),
        time_steps=TimeStepsJson(
            total=schedule.time_steps,
            average_of_masks=schedule.average_time_steps.masks,
            average_after_pruning=schedule.average_time_steps.pruned,
        ),
        totals=_totals(result),
        layers=tuple(_layer(result, node) for node in result.nodes),
        per_image=PerImageJson(cycles=tuple(result.cycles.tolist()), energy_pj=tuple(result.energy_pj.tolist())),
        comparison=None if beside.comparison is None else comparison_json(result, beside.comparison),
        paper_model=None if beside.paper_model is None else paper_model_json(beside.paper_model),
        in_memory=result.in_memory,
        savings=None if beside.savings is None else tuple(_saving(saving) for saving in beside.savings),
    )


def _totals(result: Result) -> TotalsJson:
    return TotalsJson(
        counts=CountSums(**{name: int(result.sum_of(name).sum()) for name in Counts.__struct_fields__}),
        dram=DramSums(**{name: int(result.sum_of_dram(name).sum()) for name in DramCounts.__struct_fields__}),
        cycles_per_image=float(result.cycles.mean()),
        cycles_spread=spread(result.cycles),
        latency_us_per_image=float(result.latency_us.mean()),
        images_per_second=result.images_per_second,
        edp_pj_us_per_image=float(result.edp_pj_us.mean()),
        energy_pj_per_image=float(result.energy_pj.mean()),
        energy_pj_spread=spread(result.energy_pj),
        compute_energy_pj_per_image=float(result.compute_pj.mean()),
        memory_energy_pj_per_image=float(result.memory_pj.mean()),
        leakage_energy_pj_per_image=float(result.leakage_pj.mean()),
        energy_pj_per_image_by_kind=EnergySums(
            **{kind: float(result.kind_pj(kind).mean()) for kind in EnergyByKind.__struct_fields__}
        ),
        array_busy=result.array_busy,
        lanes_busy=result.lanes_busy,
        weights_resident=result.schedule.memory.weights_resident,
        weight_bits=result.schedule.memory.weight_bits,
        configuration_energy_pj=result.configuration_energy_pj,
        clipped_input_values=result.samples.clipped_values,
    )


def _layer(result: Result, node: NodeResult) -> LayerJson:
    time_steps = result.schedule.time_steps
    return LayerJson(
        name=node.name,
        kind=node.kind,
        group=node.group,
        neuron=node.neuron,
        shape=node.node.shape,
        steps=states(node.node.steps, time_steps),
        counts=CountSums(**{name: int(getattr(node.counts, name).sum()) for name in Counts.__struct_fields__}),
        dram=DramSums(**{name: int(getattr(node.dram, name).sum()) for name in DramCounts.__struct_fields__}),
        energy_pj_per_image=mean_energy([node.energy_pj]),
        firing_rate=firing_rate(node, time_steps),
        spikes_per_step=None if node.spikes is None else tuple(node.spikes.sum(axis=0).tolist()),
        array_busy=node.array_busy,
        lanes_busy=result.lanes_busy_of(node),
        by_step=steps_json(result, node),
        shared_cycles=shared_json(node),
    )


def _saving(saving: Saving) -> SavingJson:
    return SavingJson(quantity=saving.quantity, unpruned=saving.unpruned, pruned=saving.pruned, share=saving.share)


def schema() -> bytes:
    """The JSON Schema of `ResultJson`; SCHEMA holds it, and a test tells when that file is out of date."""
    return json.dumps(msgspec.json.schema(ResultJson), indent=2, sort_keys=True).encode() + b"\n"


if __name__ == "__main__":
    SCHEMA.write_bytes(schema())
