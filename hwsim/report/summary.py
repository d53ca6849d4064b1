"""The sentences that the table and the page share."""

from __future__ import annotations

from dtss.hwsim.in_memory import InMemoryResult
from dtss.hwsim.report import quantities
from dtss.hwsim.result import Result


def headline(result: Result) -> str:
    hardware, array = result.schedule.hardware, result.schedule.hardware.array
    images = f"{result.images} image{'s' if result.images != 1 else ''}"
    return (
        f"{result.schedule.network} on {hardware.name} ({array.rows} × {array.columns} array, "
        f"{hardware.frequency_mhz:g} MHz), {result.technology.name} energies, {images} ({result.samples.source})"
    )


def facts(result: Result) -> tuple[tuple[str, str], ...]:
    """(subject, sentence), in the order a reader asks for them."""
    return (
        ("energy", _energy(result)),
        ("latency", _latency(result)),
        ("array", _array(result)),
        ("time steps", _time_steps(result)),
        ("accuracy", _accuracy(result)),
        ("weights", _weights(result)),
        *((("in memory", _in_memory(result.in_memory)),) if result.in_memory is not None else ()),
    )


def assumptions(result: Result) -> tuple[str, ...]:
    """The entries of the technology table that nobody published."""
    return tuple(name for name, entry in result.technology.entries.items() if entry.confidence == "assumption")


def _energy(result: Result) -> str:
    spread = quantities.energy(quantities.spread(result.energy_pj))
    return (
        f"{quantities.energy(result.energy_pj.mean())} an image (± {spread}): "
        f"compute {quantities.energy(result.compute_pj.mean())}, memory {quantities.energy(result.memory_pj.mean())}, "
        f"leakage {quantities.energy(result.leakage_pj.mean())}"
    )


def _latency(result: Result) -> str:
    waiting = quantities.percent(result.memory_stall_cycles.sum() / max(1, result.cycles.sum()))
    return (
        f"{quantities.duration(result.latency_us.mean())} an image: {quantities.whole(result.cycles.mean())} cycles "
        f"(± {quantities.whole(quantities.spread(result.cycles))}) at {result.schedule.hardware.frequency_mhz:g} MHz, "
        f"{waiting} of them waiting for DRAM; "
        f"{quantities.significant(result.images_per_second)} images a second, one after the other"
    )


def _array(result: Result) -> str:
    offered, issued = result.sum_of("words_offered").sum(), result.sum_of("words_issued").sum()
    skipped = f"{quantities.percent(1 - issued / offered)} of the spike words skipped" if offered else "no words"
    return (
        f"{skipped}; a word enters in {quantities.percent(result.array_busy)} of the cycles; "
        f"{quantities.percent(result.lanes_busy)} of all lane-cycles add"
    )


def _time_steps(result: Result) -> str:
    average = result.schedule.average_time_steps
    return (
        f"T = {result.schedule.time_steps}; T_avg {quantities.significant(average.masks)} of the masks, "
        f"{quantities.significant(average.pruned)} after pruning"
    )


def _accuracy(result: Result) -> str:
    accuracy = result.accuracy
    if accuracy.integer_top1 is None and accuracy.agreement is None:
        return "unknown: these images have no labels"
    parts = []
    if accuracy.integer_top1 is not None:
        parts.append(f"{quantities.percent(accuracy.integer_top1, 4)} of {result.images} images right in integers")
    if accuracy.float_top1 is not None and accuracy.change is not None:
        parts.append(f"{quantities.percent(accuracy.float_top1, 4)} in float ({100 * accuracy.change:+.2f} points)")
    if accuracy.agreement is not None:
        parts.append(f"the same answer in {quantities.percent(accuracy.agreement, 4)}")
    return "; ".join(parts)


def _weights(result: Result) -> str:
    bits = quantities.size(result.schedule.memory.weight_bits)
    once = quantities.energy(result.configuration_energy_pj)
    if result.schedule.memory.weights_resident:
        return f"{bits} stay on chip; loading them once from DRAM takes {once}, charged to no image"
    return f"{bits} do not fit on chip; every image reads them from DRAM in blocks, {once}"


def _in_memory(crossbars: InMemoryResult) -> str:
    left_out = f"; without {', '.join(crossbars.left_out)}: no stored weights" if crossbars.left_out else ""
    return (
        f"{quantities.energy(crossbars.energy_pj)} in {quantities.whole(crossbars.pe_cycles)} PE-cycles an image, of "
        f"{crossbars.table.description}{left_out}"
    )
