"""What the page says of the comparison."""

from __future__ import annotations

import msgspec

from dtss.hwsim.compare import REFERENCE, Comparison, Variant
from dtss.hwsim.report import quantities, verdicts
from dtss.hwsim.report.kinds import KIND_NAMES, Segment, segments
from dtss.hwsim.result import Result


class VariantRow(msgspec.Struct, frozen=True, kw_only=True):
    """A bar and its line of the table. cut: longer than the figure; drawn at its full width, broken."""

    index: int
    label: str
    energy_pj: float
    text: str
    cut: bool
    segments: tuple[Segment, ...]
    cells: tuple[str, ...]


class LayerRow(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    short: str
    cells: tuple[str, ...]
    verdict: str


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the template draws."""

    conclusion: str
    variants: tuple[VariantRow, ...]
    legend: tuple[tuple[str, str], ...]
    verdicts: tuple[tuple[str, str], ...]
    layers: tuple[LayerRow, ...]
    assumptions: tuple[str, ...]


def comparison_section(result: Result, comparison: Comparison) -> Section:
    longest = max(variant.total.total_pj for variant in comparison.variants if variant.key != "fp32")
    rows = tuple(_variant(index, variant, longest, comparison) for index, variant in enumerate(comparison.variants))
    used = {segment.kind for row in rows for segment in row.segments}
    return Section(
        conclusion=verdicts.conclusion(comparison),
        variants=rows,
        legend=tuple((kind, name) for kind, name in KIND_NAMES.items() if kind in used),
        verdicts=verdicts.total_verdicts(comparison),
        layers=_layers(comparison),
        assumptions=verdicts.assumptions(result, comparison),
    )


def _variant(index: int, variant: Variant, longest: float, comparison: Comparison) -> VariantRow:
    cost, this = variant.total, comparison.variant("this")
    energies = (cost.compute_pj, cost.on_chip_memory_pj, cost.energy_pj.dram, cost.energy_pj.leakage)
    product = quantities.significant(variant.edp_pj_us / this.edp_pj_us) if this.edp_pj_us else ""
    return VariantRow(
        index=index,
        label=variant.label,
        energy_pj=cost.total_pj,
        text=quantities.energy(cost.total_pj),
        cut=cost.total_pj > longest,
        segments=segments(msgspec.structs.asdict(cost.energy_pj), max(longest, cost.total_pj), cost.total_pj),
        cells=(
            *(quantities.energy(energy) for energy in energies),
            quantities.energy(cost.total_pj),
            quantities.duration(variant.latency_us),
            quantities.whole(cost.cycles),
            product,
        ),
    )


def _layers(comparison: Comparison) -> tuple[LayerRow, ...]:
    this, ann = ([cost.total_pj for cost in comparison.variant(key).layers] for key in ("this", REFERENCE))
    column = quantities.nanojoules([*this, *ann])
    return tuple(
        LayerRow(
            name=layer.name,
            short=verdicts.short_verdict(comparison, index),
            cells=(
                column[index],
                column[len(this) + index],
                quantities.significant(this[index] / ann[index]) if ann[index] else "",
                "" if layer.spikes_per_synapse is None else quantities.significant(layer.spikes_per_synapse),
                "" if layer.spikes_per_synapse is None else _or_none(layer.break_even.rate),
                _or_none(layer.break_even.steps),
            ),
            verdict=verdicts.layer_verdict(comparison, index),
        )
        for index, layer in enumerate(comparison.layers)
    )


def _or_none(value: float | None) -> str:
    return "none" if value is None else quantities.significant(value)
