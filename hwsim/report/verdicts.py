"""The comparison in plain words."""

from __future__ import annotations

from dtss.hwsim.compare import REFERENCE, AnnComparison, BreakEven, Comparison, LayerComparison, Variant
from dtss.hwsim.report import quantities
from dtss.hwsim.result import Result

LOSES = "the SNN does not win here"
EVEN = 0.001  # of the energy


def layer_verdict(comparison: Comparison, index: int) -> str:
    """Of one layer, against the int8 ANN."""
    layer = comparison.layers[index]
    this, ann = (comparison.variant(key).layers[index].total_pj for key in ("this", REFERENCE))
    energies = f"{quantities.energy(this)} against {quantities.energy(ann)}"
    if not layer.wins:
        return f"{LOSES}: {energies}{_why_not(layer, ann)}"
    return f"the SNN wins: {energies}{_up_to(layer)}"


def _why_not(layer: LayerComparison, ann_pj: float) -> str:
    if layer.spikes_per_synapse is None:
        return ""
    if layer.fixed_pj >= ann_pj:
        return (
            f"; {quantities.energy(layer.fixed_pj)} of it does not follow the spikes, so no spike rate breaks even"
            f"{_steps(layer.break_even)}"
        )
    return (
        f"; {quantities.significant(layer.spikes_per_synapse)} spikes a synapse, and it breaks even at "
        f"{quantities.significant(layer.break_even.rate or 0.0)}{_steps(layer.break_even)}"
    )


def _steps(even: BreakEven) -> str:
    if even.steps is None:
        return ", nor does one time step"
    return f"; it would with {quantities.significant(even.steps)} time steps"


def _up_to(layer: LayerComparison) -> str:
    if layer.spikes_per_synapse is None or layer.break_even.rate is None:
        return ""
    return (
        f"; {quantities.significant(layer.spikes_per_synapse)} spikes a synapse, and it breaks even at "
        f"{quantities.significant(layer.break_even.rate)}"
    )


def short_verdict(comparison: Comparison, index: int) -> str:
    """For a column: "even" where both take the same, as the image does."""
    this, ann = (comparison.variant(key).layers[index].total_pj for key in ("this", REFERENCE))
    if abs(this - ann) <= EVEN * ann:
        return "even"
    return "wins" if comparison.layers[index].wins else "does not win"


def total_verdicts(comparison: Comparison) -> tuple[tuple[str, str], ...]:
    """(which ANN, sentence)."""
    this = comparison.variant("this")
    return tuple((comparison.variant(ann.key).label, _total_verdict(comparison, this, ann)) for ann in comparison.anns)


def _total_verdict(comparison: Comparison, this: Variant, ann: AnnComparison) -> str:
    other = comparison.variant(ann.key)
    ratio = this.total.total_pj / other.total.total_pj
    energies = (
        f"{quantities.energy(this.total.total_pj)} an image against {quantities.energy(other.total.total_pj)} "
        f"({quantities.significant(ratio)} times)"
    )
    return (
        f"{'the SNN wins' if ann.wins else LOSES}: {energies}; "
        f"{_breaks_even(comparison, ann.break_even, comparison.time_steps)}; {_faster(this, other)}"
    )


def _breaks_even(comparison: Comparison, even: BreakEven, time_steps: int) -> str:
    measured = quantities.significant(comparison.spikes_per_synapse or 0.0)
    if even.rate is None:
        rate = f"no spike rate breaks even ({measured} spikes a synapse measured)"
    else:
        rate = f"breaks even at {quantities.significant(even.rate)} spikes a synapse ({measured} measured)"
        if even.rate > time_steps:
            rate += f", which is more than one at each of {time_steps} steps"
    steps = "at no number of steps" if even.steps is None else f"at {quantities.significant(even.steps)} time steps"
    return f"{rate}, {steps}"


def _faster(this: Variant, other: Variant) -> str:
    latency = this.latency_us / other.latency_us
    product = this.edp_pj_us / other.edp_pj_us
    word = "slower" if latency > 1 else "faster"
    times = quantities.significant(max(latency, 1 / latency) if latency else 0.0)
    return f"{times} times {word}, with {quantities.significant(product)} times its energy-delay product"


def conclusion(comparison: Comparison) -> str:
    """One sentence for the whole network."""
    won = [comparison.variant(ann.key).label for ann in comparison.anns if ann.wins]
    lost = [comparison.variant(ann.key).label for ann in comparison.anns if not ann.wins]
    layers = sum(layer.wins for layer in comparison.layers)
    of_layers = f"{layers} of {len(comparison.layers)} layers take less than in the int8 ANN. {_speed(comparison)}"
    if not lost:
        return f"The spiking network takes less energy than every ANN here. {of_layers}"
    if not won:
        return f"{LOSES[0].upper()}{LOSES[1:]}: every ANN takes less energy. {of_layers}"
    return f"The SNN takes less energy than the {_list(won)}. It does not win against the {_list(lost)}. {of_layers}"


def _speed(comparison: Comparison) -> str:
    this, ann = comparison.variant("this"), comparison.variant(REFERENCE)
    return f"Against that one it is {_faster(this, ann)}."


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and the {names[-1]}"


def assumptions(result: Result, comparison: Comparison) -> tuple[str, ...]:
    """What the comparison takes for granted."""
    array, memory = result.schedule.hardware.array, result.schedule.hardware.memory
    plain = (
        "The plain network is a run of its own schedule."
        if comparison.plain_is_exact
        else f"The plain network is this one without masks: {comparison.assumed_steps} of its {comparison.all_steps} "
        "layer steps were not run and are taken at the layer's mean rate over the steps that were."
    )
    spilling = [
        comparison.variant(key).label
        for key, bits in comparison.ann_value_bits.items()
        if bits > 8 * memory.spike_bytes
    ]
    parts = [
        plain,
        (
            f"An ANN runs once, on {array.rows} × {array.columns} multipliers beside the same memories, a word of "
            f"{array.rows} values a cycle. Its multipliers are larger and its ports wider than this machine's; "
            "neither is charged."
        ),
        "Softmax, normalisation and scaling of an ANN are not counted, nor its accuracy.",
    ]
    if spilling:
        parts.append(f"The values of the {_list(spilling)} exceed the spike memory; that is not charged.")
    return tuple(parts)
