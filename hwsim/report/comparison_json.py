"""The comparison as part of dtss-result/1."""

from __future__ import annotations

import msgspec

from dtss.hwsim.compare import AnnKey, BreakEven, Comparison, Cost, Key
from dtss.hwsim.report import verdicts
from dtss.hwsim.result import Result


class VariantJson(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One form of the network: means over the images. edp_pj_us: the mean of each image's energy times its latency.

    layers: as in `comparison.layers`; of `plain` from a schedule of its own, as in that schedule.
    """

    key: Key
    label: str
    cycles_per_image: float
    latency_us_per_image: float
    energy_pj_per_image: float
    compute_energy_pj_per_image: float
    on_chip_memory_energy_pj_per_image: float
    dram_energy_pj_per_image: float
    leakage_energy_pj_per_image: float
    edp_pj_us: float
    total: Cost
    layers: tuple[Cost, ...]


class LayerComparisonJson(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A product with its neurons, or an elementwise layer, against the int8 ANN.

    spikes_per_synapse: accumulates for each multiplication of the layer run once; null where no spikes stream.
    fixed_energy_pj: what does not follow the spikes.  break_even: null where nothing breaks even.
    """

    name: str
    multiplications: int
    spikes_per_synapse: float | None
    fixed_energy_pj: float
    break_even: BreakEven
    wins: bool
    verdict: str


class AnnComparisonJson(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole network against one ANN. compute_break_even_rate: of the arithmetic alone.

    value_bits_on_chip: of the ANN's values, at its worst time.
    """

    key: AnnKey
    break_even: BreakEven
    compute_break_even_rate: float | None
    value_bits_on_chip: int
    wins: bool
    verdict: str


class ComparisonJson(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same network in other forms on the same machine, see docs/comparison.md."""

    variants: tuple[VariantJson, ...]
    layers: tuple[LayerComparisonJson, ...]
    anns: tuple[AnnComparisonJson, ...]
    spikes_per_synapse: float | None
    fixed_energy_pj: float
    zero_share: float
    plain_is_exact: bool
    assumed_layer_steps: int
    all_layer_steps: int
    verdict: str
    assumptions: tuple[str, ...]


def comparison_json(result: Result, comparison: Comparison) -> ComparisonJson:
    return ComparisonJson(
        variants=tuple(
            VariantJson(
                key=variant.key,
                label=variant.label,
                cycles_per_image=variant.total.cycles,
                latency_us_per_image=variant.latency_us,
                energy_pj_per_image=variant.total.total_pj,
                compute_energy_pj_per_image=variant.total.compute_pj,
                on_chip_memory_energy_pj_per_image=variant.total.on_chip_memory_pj,
                dram_energy_pj_per_image=variant.total.energy_pj.dram,
                leakage_energy_pj_per_image=variant.total.energy_pj.leakage,
                edp_pj_us=variant.edp_pj_us,
                total=variant.total,
                layers=variant.layers,
            )
            for variant in comparison.variants
        ),
        layers=tuple(
            LayerComparisonJson(
                name=layer.name,
                multiplications=layer.multiplications,
                spikes_per_synapse=layer.spikes_per_synapse,
                fixed_energy_pj=layer.fixed_pj,
                break_even=layer.break_even,
                wins=layer.wins,
                verdict=verdicts.layer_verdict(comparison, index),
            )
            for index, layer in enumerate(comparison.layers)
        ),
        anns=tuple(
            AnnComparisonJson(
                key=ann.key,
                break_even=ann.break_even,
                compute_break_even_rate=ann.compute_rate,
                value_bits_on_chip=comparison.ann_value_bits[ann.key],
                wins=ann.wins,
                verdict=sentence,
            )
            for ann, (_, sentence) in zip(comparison.anns, verdicts.total_verdicts(comparison), strict=True)
        ),
        spikes_per_synapse=comparison.spikes_per_synapse,
        fixed_energy_pj=comparison.fixed_pj,
        zero_share=comparison.zero_share,
        plain_is_exact=comparison.plain_is_exact,
        assumed_layer_steps=comparison.assumed_steps,
        all_layer_steps=comparison.all_steps,
        verdict=verdicts.conclusion(comparison),
        assumptions=verdicts.assumptions(result, comparison),
    )
