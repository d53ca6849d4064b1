"""The spiking network beside the same network in other forms, on the same machine, and where they break even.

e: energy of one event; S: accumulates for each product of a value and a weight, which is the spikes per neuron and
image where all neurons have the same fan-out; γ: share of an ANN's values that are 0.

1. Compute alone:        S* = [(1 − γ)·e_mac − n_chk·e_zero] / (e_ac − e_gated),   n_chk: zero checks per product
2. An ANN:               E_ANN = (1 − γ)·MAC·e_mac + weights, values, accumulators and DRAM moved, see `dtss.hwsim.ann`
3. The spiking network:  E_SNN = F + S·MAC·(e_ac − e_gated),   F: all that is not an accumulate, as the run measured it
   so                    S* = (E_ANN − F) / (MAC·(e_ac − e_gated)),   none if F alone is more than E_ANN
   Without skipping, F has every word offered as one issued: an S* above the measured S then is a lower bound.
4. Steps, each at the rates measured: E_SNN(t) = E(1) + (t − 1)·(E(T) − E(1)) / (T − 1) from `dtss.hwsim.plain`,
   so                    T* = 1 + (T − 1)·(E_ANN − E(1)) / (E(T) − E(1)),   none below one step
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import msgspec
import numpy as np

from dtss.compiler.schedule.buffers import buffers
from dtss.compiler.schedule.format import Product, Schedule
from dtss.hwsim.ann import Form, NodeCost, ann_costs, ann_schedule, multiply_accumulate_pj
from dtss.hwsim.energy import COMPUTE_KINDS, AccessEnergies, EnergySums, access_energies, mean_energy
from dtss.hwsim.plain import PlainNode, extension, fed_by_the_image_alone, plain_nodes
from dtss.hwsim.products import Tensors
from dtss.hwsim.reshape import multiplications
from dtss.hwsim.result import NodeResult, Result
from dtss.hwsim.technology import require_ann_entries

AnnKey = Literal["fp32", "int8", "int8_zeros", "few_bits"]
Key = Literal["this", "plain", "fp32", "int8", "int8_zeros", "few_bits"]

REFERENCE: AnnKey = "int8"  # what layers are judged by
TYPICAL_ZERO_SHARE = 0.5  # of values behind a ReLU


class Cost(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of one image, the mean over the images."""

    cycles: float
    energy_pj: EnergySums

    @property
    def total_pj(self) -> float:
        return float(sum(msgspec.structs.astuple(self.energy_pj)))

    @property
    def compute_pj(self) -> float:
        return float(sum(getattr(self.energy_pj, kind) for kind in COMPUTE_KINDS))

    @property
    def on_chip_memory_pj(self) -> float:
        return self.total_pj - self.compute_pj - self.energy_pj.dram - self.energy_pj.leakage


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """One form of the network. layers: as in `Comparison.layers`.  edp_pj_us: see `mean_of_products`."""

    key: Key
    label: str
    layers: tuple[Cost, ...]
    total: Cost
    latency_us: float
    edp_pj_us: float


class BreakEven(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the spiking energy equals an ANN's; see the formulas above. None: nowhere.

    rate, rate_no_skipping: spikes per synapse and image.  steps: time steps at the rates measured.
    """

    rate: float | None
    rate_no_skipping: float | None
    steps: float | None


class LayerComparison(msgspec.Struct, frozen=True, kw_only=True):
    """A product with its neurons, or an elementwise layer. spikes_per_synapse: S; None where no spikes stream."""

    name: str
    multiplications: int
    spikes_per_synapse: float | None
    fixed_pj: float
    break_even: BreakEven
    wins: bool


class AnnComparison(msgspec.Struct, frozen=True, kw_only=True):
    """The whole network against one ANN. compute_rate: break-even of formula 1."""

    key: AnnKey
    break_even: BreakEven
    compute_rate: float | None
    wins: bool


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Every form of the network. plain_is_exact: from a run of its own, not extended from the masked one.

    spikes_per_synapse: S of all layers that spikes stream through.  assumed_steps, all_steps: layer steps of the
    extension that were not run, and all of them.  ann_value_bits: what each ANN keeps on chip at its worst time.
    """

    time_steps: int
    variants: tuple[Variant, ...]
    layers: tuple[LayerComparison, ...]
    anns: tuple[AnnComparison, ...]
    spikes_per_synapse: float | None
    fixed_pj: float
    zero_share: float
    plain_is_exact: bool
    assumed_steps: int
    all_steps: int
    ann_value_bits: dict[AnnKey, int]

    def variant(self, key: Key) -> Variant:
        return next(variant for variant in self.variants if variant.key == key)


def forms(time_steps: int, zero_share: float) -> dict[AnnKey, tuple[str, Form]]:
    """The ANNs: label and form. T binary steps tell T + 1 values apart, as ⌈log₂(T + 1)⌉ bits do."""
    few = max(1, math.ceil(math.log2(time_steps + 1)))
    return {
        "fp32": ("fp32 ANN", Form(value_bits=32, weight_bits=32, floating=True)),
        "int8": ("int8 ANN", Form(value_bits=8, weight_bits=8)),
        "int8_zeros": (
            f"int8 ANN with {100 * zero_share:g} % zeros",
            Form(value_bits=8, weight_bits=8, zero_share=zero_share),
        ),
        "few_bits": (f"{few}-bit ANN", Form(value_bits=few, weight_bits=None)),
    }


def most_steps(schedule: Schedule) -> int:
    """Steps at which the layer with the most of them spikes: what is masked everywhere tells no values apart."""
    return max((len(node.steps.active) for node in schedule.lif_nodes), default=schedule.time_steps)


def compare(
    result: Result, tensors: Tensors, plain: Result | None = None, zero_share: float = TYPICAL_ZERO_SHARE
) -> Comparison:
    """`plain`: a run of the network without masks, if there is one; else the masked run is extended."""
    require_ann_entries(result.technology)
    schedule, groups = result.schedule, _groups(result)
    time_steps = schedule.time_steps
    kinds = forms(most_steps(schedule), zero_share)
    anns = {key: ann_costs(schedule, result.technology, form) for key, (_, form) in kinds.items()}
    one, many = (plain_nodes(result, steps) for steps in (1, max(2, time_steps)))
    whole = one if time_steps == 1 else many
    variants = (
        _measured(result, groups, "this", "this network"),
        _plain(result, groups, whole) if plain is None else _exact_plain(plain),
        *(_ann(schedule, groups, key, label, anns[key]) for key, (label, _) in kinds.items()),
    )
    steps = tuple(tuple(_total_pj(extended, group) for group in groups) for extended in (one, many))
    computed, every = extension(result)
    return Comparison(
        time_steps=time_steps,
        variants=variants,
        layers=_layers(result, groups, variants, steps),
        anns=_anns(result, variants, steps, {key: form for key, (_, form) in kinds.items()}),
        spikes_per_synapse=_spikes_per_synapse(result),
        fixed_pj=float(result.energy_pj.mean()) - _accumulate_pj(result, result.nodes),
        zero_share=zero_share,
        plain_is_exact=plain is not None,
        assumed_steps=every - computed,
        all_steps=every,
        ann_value_bits={key: value_bits_on_chip(schedule, tensors, form) for key, (_, form) in kinds.items()},
    )


def _groups(result: Result) -> tuple[tuple[NodeResult, ...], ...]:
    """A product together with the LIF that walks it; every other node alone."""
    by_name = {node.name: node for node in result.nodes}
    walked = {node.neuron for node in result.nodes if node.neuron is not None}
    return tuple(
        (node,) if node.neuron is None else (node, by_name[node.neuron])
        for node in result.nodes
        if node.name not in walked
    )


def _measured(result: Result, groups: tuple[tuple[NodeResult, ...], ...], key: Key, label: str) -> Variant:
    layers = tuple(
        Cost(
            cycles=float(sum(part.cycles.mean() for part in group)),
            energy_pj=mean_energy([part.energy_pj for part in group]),
        )
        for group in groups
    )
    return Variant(
        key=key,
        label=label,
        layers=layers,
        total=add_costs(layers),
        latency_us=float(result.latency_us.mean()),
        edp_pj_us=float(result.edp_pj_us.mean()),
    )


def _exact_plain(plain: Result) -> Variant:
    return _measured(plain, _groups(plain), "plain", f"plain, {plain.schedule.time_steps} steps")


def _plain(result: Result, groups: tuple[tuple[NodeResult, ...], ...], nodes: Mapping[str, PlainNode]) -> Variant:
    layers = tuple(
        Cost(
            cycles=float(sum(nodes[part.name].cycles.mean() for part in group)),
            energy_pj=mean_energy([nodes[part.name].energy_pj for part in group]),
        )
        for group in groups
    )
    cycles = np.sum([node.cycles for node in nodes.values()], axis=0)
    latency = cycles / result.schedule.hardware.frequency_mhz
    energy = np.sum([msgspec.structs.astuple(node.energy_pj) for node in nodes.values()], axis=(0, 1))
    return Variant(
        key="plain",
        label=f"plain, {result.schedule.time_steps} steps",
        layers=layers,
        total=add_costs(layers),
        latency_us=float(np.mean(latency)),
        edp_pj_us=mean_of_products(energy, latency),
    )


def _ann(
    schedule: Schedule, groups: tuple[tuple[NodeResult, ...], ...], key: Key, label: str, costs: Mapping[str, NodeCost]
) -> Variant:
    layers = tuple(
        add_costs([Cost(cycles=cost.cycles, energy_pj=cost.energy_pj) for cost in (costs[p.name] for p in group)])
        for group in groups
    )
    total = add_costs(layers)
    latency = total.cycles / schedule.hardware.frequency_mhz
    return Variant(
        key=key, label=label, layers=layers, total=total, latency_us=latency, edp_pj_us=total.total_pj * latency
    )


def add_costs(costs: tuple[Cost, ...] | list[Cost]) -> Cost:
    """One after another."""
    return Cost(
        cycles=sum(cost.cycles for cost in costs),
        energy_pj=EnergySums(
            **{kind: sum(getattr(cost.energy_pj, kind) for cost in costs) for kind in EnergySums.__struct_fields__}
        ),
    )


def mean_of_products(energy_pj: np.ndarray, latency_us: np.ndarray) -> float:
    """Energy-delay product: the mean of each image's, not the product of the means."""
    return float(np.mean(energy_pj * latency_us))


def _total_pj(nodes: Mapping[str, PlainNode], group: tuple[NodeResult, ...]) -> float:
    return Cost(cycles=0.0, energy_pj=mean_energy([nodes[part.name].energy_pj for part in group])).total_pj


Steps = tuple[tuple[float, ...], ...]


def _layers(
    result: Result, groups: tuple[tuple[NodeResult, ...], ...], variants: tuple[Variant, ...], steps: Steps
) -> tuple[LayerComparison, ...]:
    this, ann = (next(v for v in variants if v.key == key) for key in ("this", REFERENCE))
    constant = fed_by_the_image_alone(result.schedule)
    costs = access_energies(result.schedule, result.technology)
    rows = []
    for index, group in enumerate(groups):
        node = group[0].node
        spiking = isinstance(node, Product) and node.name not in constant
        products = multiplications(result.schedule, node) if isinstance(node, Product) else 0
        energy, other = this.layers[index].total_pj, ann.layers[index].total_pj
        fixed = energy - (_accumulate_pj(result, group) if spiking else 0.0)
        rows.append(
            LayerComparison(
                name=node.name,
                multiplications=products,
                spikes_per_synapse=float(group[0].counts.accumulates.mean()) / products if spiking else None,
                fixed_pj=fixed,
                break_even=_break_even(
                    other, fixed, _skipped_pj(result, group), products if spiking else 0, _slope(costs),
                    steps[0][index], steps[1][index], result.schedule.time_steps,
                ),
                wins=energy < other,
            )
        )  # fmt: skip
    return tuple(rows)


def _anns(
    result: Result, variants: tuple[Variant, ...], steps: Steps, kinds: Mapping[AnnKey, Form]
) -> tuple[AnnComparison, ...]:
    schedule = result.schedule
    this = variants[0].total.total_pj
    constant = fed_by_the_image_alone(schedule)
    parts = [node for node in result.nodes if isinstance(node.node, Product) and node.name not in constant]
    products = sum(multiplications(schedule, part.node) for part in parts if isinstance(part.node, Product))
    slope = _slope(access_energies(schedule, result.technology))
    fixed = this - _accumulate_pj(result, parts)
    checks = sum(float(part.counts.zero_checks.mean()) for part in parts) / max(1, products)
    rows = []
    for key, form in kinds.items():
        other = next(variant for variant in variants if variant.key == key).total.total_pj
        mac = multiply_accumulate_pj(schedule, result.technology, form, form.value_bits)
        even = _break_even(
            other, fixed, _skipped_pj(result, parts), products, slope, sum(steps[0]), sum(steps[1]), schedule.time_steps
        )
        rows.append(
            AnnComparison(
                key=key,
                break_even=even,
                compute_rate=compute_break_even(mac, form.zero_share, checks, result.technology.zero_check.pj, slope),
                wins=this < other,
            )
        )
    return tuple(rows)


def compute_break_even(
    mac_pj: float, zero_share: float, checks_per_product: float, zero_check_pj: float, accumulate_pj: float
) -> float | None:
    """S* = [(1 − γ)·e_mac − n_chk·e_zero] / (e_ac − e_gated); None where no rate does."""
    return _rate((1.0 - zero_share) * mac_pj - checks_per_product * zero_check_pj, accumulate_pj)


def break_even_steps(ann_pj: float, one_pj: float, many_pj: float, many: int) -> float | None:
    """T* = 1 + (T − 1)·(E_ANN − E(1)) / (E(T) − E(1)); None below one step, or where steps cost nothing."""
    if ann_pj < one_pj or many_pj <= one_pj:
        return None
    return 1.0 + (many - 1) * (ann_pj - one_pj) / (many_pj - one_pj)


def _break_even(
    ann_pj: float, fixed_pj: float, skipped_pj: float, products: int, slope_pj: float,
    one_pj: float, many_pj: float, time_steps: int,
) -> BreakEven:  # fmt: skip
    return BreakEven(
        rate=_rate(ann_pj - fixed_pj, products * slope_pj),
        rate_no_skipping=_rate(ann_pj - fixed_pj - skipped_pj, products * slope_pj),
        steps=break_even_steps(ann_pj, one_pj, many_pj, max(2, time_steps)),
    )


def _rate(left_pj: float, for_each_pj: float) -> float | None:
    return left_pj / for_each_pj if left_pj >= 0 and for_each_pj > 0 else None


def _slope(costs: AccessEnergies) -> float:
    """What one more spike adds at a synapse: a lane adds instead of being kept still."""
    return costs.accumulate - costs.gated_accumulate


def _accumulate_pj(result: Result, parts: tuple[NodeResult, ...] | list[NodeResult]) -> float:
    """The part of the energy that follows the rate, of the layers that spikes stream through."""
    constant = fed_by_the_image_alone(result.schedule)
    slope = _slope(access_energies(result.schedule, result.technology))
    return slope * float(sum(part.counts.accumulates.mean() for part in parts if part.name not in constant))


def _skipped_pj(result: Result, parts: tuple[NodeResult, ...] | list[NodeResult]) -> float:
    """What the words that were skipped would take, each in a cycle, if they were issued with one bit more than none."""
    schedule, constant = result.schedule, fed_by_the_image_alone(result.schedule)
    costs = access_energies(schedule, result.technology)
    bits = costs.access_bits
    word = (
        bits.word * costs.read_bit["strip_memory"]
        + bits.accumulator_row * (costs.read_bit["accumulator_file"] + costs.write_bit["accumulator_file"])
        + costs.leakage_cycle
    )
    lanes = schedule.hardware.array.lanes * costs.gated_accumulate
    skipped = sum(
        float((part.counts.words_offered - part.counts.words_issued).mean())
        for part in parts
        if part.name not in constant
    )
    return skipped * (word + lanes)


def _spikes_per_synapse(result: Result) -> float | None:
    constant = fed_by_the_image_alone(result.schedule)
    parts = [node for node in result.nodes if isinstance(node.node, Product) and node.name not in constant]
    products = sum(multiplications(result.schedule, part.node) for part in parts if isinstance(part.node, Product))
    return float(sum(part.counts.accumulates.mean() for part in parts)) / products if products else None


def value_bits_on_chip(schedule: Schedule, tensors: Tensors, form: Form) -> int:
    """Bits of values that the ANN keeps at its worst time, sums that go straight into an activation left out."""
    ann = ann_schedule(schedule, form)
    walked = {node.name for node in schedule.products if node.neuron is not None}
    kept = [
        (buffer, node.positions * node.channels * form.value_bits)
        for buffer in buffers(ann)
        for node in [ann.node(buffer.node)]
        if buffer.memory in ("spike", "current") and buffer.node not in walked
    ]
    times = range(len(ann.nodes))
    return max(sum(bits for buffer, bits in kept if buffer.first <= time <= buffer.last) for time in times)
