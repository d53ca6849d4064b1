"""What each time step of a layer does, and what its steps share: for the reports, and as part of dtss-result/1.

    array busy at step t = words issued at t / cycles of the layer        cycles: the wait for the DRAM among them
    lanes busy at step t = accumulates at t / (cycles of the layer · R · C)

Both have the whole layer's cycles below the line, because steps share groups of words, weight tiles and waits: so they
add up to the layer's own.
"""

from __future__ import annotations

import msgspec

from dtss.hwsim.result import NodeResult, Result
from dtss.hwsim.step_counts import STEP_COUNTS, SharedCycles

SHARED_REASONS = {
    "skipper": "a group of words, of several steps, is all zero",
    "weight_load": "a weight tile serves all steps of a strip",
    "word_wait": "for the words of a strip, of all its steps",
    "drain": "once before the walk of a strip, which visits all its steps",
    "last_results": "on their way to memory after the last row was read",
    "control": "a row of the program is fetched and begun",
    "dram_wait": "for the image or a weight block",
}
OWN_CYCLES = ("words_issued", "walk_cycles", "fill_cycles", "elementwise_cycles")
SHARED_NAMES = {
    "skipper": "skipper",
    "weight_load": "weight wait",
    "word_wait": "word wait",
    "drain": "drain",
    "last_results": "last results",
    "control": "control",
    "dram_wait": "DRAM wait",
}


def shared_sentence() -> str:
    """Why some cycles are no step's own."""
    reasons = ", ".join(f"{SHARED_NAMES[name]} ({reason})" for name, reason in SHARED_REASONS.items())
    return f"Steps share {reasons}."


class StepsJson(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What belongs to each of the T steps of one node; sums over the images, which over the steps are its counts.

    walk_cycles: without the drain.  fill_cycles, elementwise_cycles: without the last results'.  array_busy: words
    issued / cycles of the node.  lanes_busy: accumulates / (cycles of the node · R · C).
    """

    words_offered: tuple[int, ...]
    words_issued: tuple[int, ...]
    words_skipped: tuple[int, ...]
    active_bits: tuple[int, ...]
    accumulates: tuple[int, ...]
    walk_cycles: tuple[int, ...]
    fill_cycles: tuple[int, ...]
    elementwise_cycles: tuple[int, ...]
    membrane_row_reads: tuple[int, ...]
    membrane_row_writes: tuple[int, ...]
    lif_updates: tuple[int, ...]
    array_busy: tuple[float, ...]
    lanes_busy: tuple[float, ...]


class SharedCyclesJson(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cycles of one node that belong to no step alone, sums over the images.

    skipper: the flags of a whole group of words are zero.  weight_load: a tile serves all steps of a strip.  word_wait:
    for the words of a strip.  drain: before the walk of a strip.  last_results: of a fill or of elementwise work.
    control: rows of the program are fetched and begun.  dram_wait: for the image or a weight block. With the steps'
    words_issued, walk_cycles, fill_cycles and elementwise_cycles they add up to the node's cycles, that wait included.
    """

    skipper: int
    weight_load: int
    word_wait: int
    drain: int
    last_results: int
    control: int
    dram_wait: int


def steps_json(result: Result, node: NodeResult) -> StepsJson | None:
    if node.by_step is None:
        return None
    sums = {name: getattr(node.by_step, name).sum(axis=0) for name in STEP_COUNTS}
    cycles = max(1, int(node.cycles.sum()))
    shares = {
        "array_busy": sums["words_issued"] / cycles,
        "lanes_busy": sums["accumulates"] / (cycles * result.schedule.hardware.array.lanes),
    }
    skipped = sums["words_offered"] - sums["words_issued"]
    return StepsJson(
        **{name: tuple(row.tolist()) for name, row in (sums | shares | {"words_skipped": skipped}).items()}
    )


def shared_json(node: NodeResult) -> SharedCyclesJson | None:
    shared = node.shared_cycles
    if shared is None:
        return None
    return SharedCyclesJson(**{name: int(getattr(shared, name).sum()) for name in SharedCycles.__struct_fields__})


class LayerStep(msgspec.Struct, frozen=True, kw_only=True):
    """One time step of a layer, means of an image; spikes: None where it has no neurons."""

    step: int
    words_offered: float
    words_issued: float
    active_bits: float
    array_busy: float
    lanes_busy: float
    walk_cycles: float
    fill_cycles: float
    elementwise_cycles: float
    membrane_rows: float
    spikes: float | None

    @property
    def is_idle(self) -> bool:
        return not self.words_offered + self.walk_cycles + self.fill_cycles + self.elementwise_cycles


class LayerSteps(msgspec.Struct, frozen=True, kw_only=True):
    """A layer's steps at which it does anything, and the cycles that they share, means of an image."""

    name: str
    cycles: float
    steps: tuple[LayerStep, ...]
    shared: dict[str, float]


def layer_steps(result: Result) -> tuple[LayerSteps, ...]:
    """All layers in execution order, a walked LIF with its product; those that take no cycle left out."""
    by_name = {node.name: node for node in result.nodes}
    return tuple(
        LayerSteps(
            name=node.name,
            cycles=float(node.cycles.mean()),
            steps=tuple(_layer_steps(result, node, by_name.get(node.neuron or "", node))),
            shared={name: float(getattr(node.shared_cycles, name).mean()) for name in SHARED_NAMES},
        )
        for node in result.nodes
        if node.by_step is not None and node.cycles.any()
    )


def _layer_steps(result: Result, node: NodeResult, neuron: NodeResult) -> list[LayerStep]:
    found = steps_json(result, node)
    assert found is not None
    spikes = None if neuron.spikes is None else neuron.spikes.mean(axis=0)
    rows = [
        LayerStep(
            step=step,
            words_offered=found.words_offered[step] / result.images,
            words_issued=found.words_issued[step] / result.images,
            active_bits=found.active_bits[step] / result.images,
            array_busy=found.array_busy[step],
            lanes_busy=found.lanes_busy[step],
            walk_cycles=found.walk_cycles[step] / result.images,
            fill_cycles=found.fill_cycles[step] / result.images,
            elementwise_cycles=found.elementwise_cycles[step] / result.images,
            membrane_rows=(found.membrane_row_reads[step] + found.membrane_row_writes[step]) / result.images,
            spikes=None if spikes is None else float(spikes[step]),
        )
        for step in range(result.schedule.time_steps)
    ]
    return [row for row in rows if not row.is_idle]
