"""What of a node's work belongs to each time step, exactly, and what its steps share.

    cycles of a node = Σ_t (words issued + walk + fill + elementwise)
                     + skipper + weight load + word wait + drain + last results + control + DRAM wait

    word          of one (position, step, plane): it is offered, and issued or skipped, at its own step
    walk          visits a (position, step) a cycle, and reads and writes the membranes of that step
    fill          brings the operand of a step that stays in the array
    elementwise   reads the operands of a step

Steps share, so that no share of a step would mean anything:

    skipper       a cycle in which the flags of a whole group of words are zero: words of several steps
    weight load   a tile serves every step of a strip, and is hidden behind the pass before, which may be another step's
    word wait     for the words of a strip, of all its steps, to be gathered
    drain         once a walk, which visits all steps where time runs innermost
    last results  of a fill or of elementwise work, on their way to memory after the last row was read
    control       a row of the program is fetched and begun
    DRAM wait     for the image or a weight block, both for all steps
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.cycles import Counter, Counts
from dtss.compiler.schedule.dram import DramCounts
from dtss.compiler.schedule.events import ConstantEvents, elementwise_events, product_events
from dtss.compiler.schedule.format import AnyNode, Product, Schedule
from dtss.compiler.schedule.geometry import geometry
from dtss.compiler.schedule.kernel import kernel
from dtss.compiler.schedule.skipper import Words


class StepCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Events of one node at each time step, each [B, T]; named as in `Counts`, whose sums over the steps they are."""

    words_offered: Counter
    words_issued: Counter
    active_bits: Counter
    accumulates: Counter
    walk_cycles: Counter  # visits alone: without the drain
    fill_cycles: Counter  # without the last results'
    elementwise_cycles: Counter  # without the last results'
    membrane_row_reads: Counter
    membrane_row_writes: Counter
    lif_updates: Counter


STEP_COUNTS = StepCounts.__struct_fields__


class SharedCycles(msgspec.Struct, frozen=True, kw_only=True):
    """Cycles of a node that belong to no step alone, each [B]."""

    skipper: Counter
    weight_load: Counter
    word_wait: Counter
    drain: Counter
    last_results: Counter
    control: Counter
    dram_wait: Counter

    @classmethod
    def of(cls, steps: StepCounts, counts: Counts, dram: DramCounts) -> SharedCycles:
        """What a node's steps leave of its cycles."""
        return cls(
            skipper=counts.stream_cycles - counts.words_issued,
            weight_load=counts.load_stall_cycles,
            word_wait=counts.word_stall_cycles,
            drain=counts.walk_cycles - steps.walk_cycles.sum(axis=1),
            last_results=counts.fill_cycles
            - steps.fill_cycles.sum(axis=1)
            + counts.elementwise_cycles
            - steps.elementwise_cycles.sum(axis=1),
            control=counts.control_cycles,
            dram_wait=dram.stall_cycles,
        )


class StepRules(msgspec.Struct, frozen=True, kw_only=True):
    """What of a node's step counts no image changes.

    constant: by count, of each step [T].  slot_steps: of the streamed words.  output_tiles, channels: of one group.
    """

    constant: dict[str, NDArray[np.int64]]
    slot_steps: tuple[int, ...] = ()
    output_tiles: int = 0
    channels: int = 0

    @classmethod
    def of(cls, schedule: Schedule, node: AnyNode) -> StepRules:
        """The rules for `node`."""
        if not isinstance(node, Product):
            return cls(constant=_by_count(elementwise_events(schedule, node)))
        cut = geometry(schedule, node)
        return cls(
            constant=_by_count(product_events(schedule, node, cut)),
            slot_steps=cut.slot_steps,
            output_tiles=len(cut.columns),
            channels=sum(cut.columns),
        )

    def counts(self, batch: int, streamed: NDArray[np.int64] | None) -> StepCounts:
        """Of a batch; `streamed` is what `add_up_steps` found, None where no words stream."""
        none = np.zeros(len(self.constant["walk_cycles"]), np.int64)
        found = {name: np.broadcast_to(self.constant.get(name, none), (batch, len(none))) for name in STEP_COUNTS}
        if streamed is not None:
            ones, issued = np.zeros((2, batch, len(none)), np.int64)
            ones[:, self.slot_steps], issued[:, self.slot_steps] = streamed[:, 0], streamed[:, 1]
            found["words_issued"] = issued * self.output_tiles
            found["active_bits"] = ones * self.output_tiles
            found["accumulates"] = ones * self.channels
        return StepCounts(**found)


def _by_count(events: ConstantEvents) -> dict[str, NDArray[np.int64]]:
    """[T] of each constant event that belongs to a step, and of the walk's cycles in any case."""
    names = {"walk_cycles"}.union(*events.by_step)
    return {name: np.array([step.get(name, 0) for step in events.by_step], np.int64) for name in names}


def add_up_steps(words: Words) -> NDArray[np.int64]:
    """(ones, words that are not all zero) of each slot step: [B, 2, slot steps]."""
    sums = np.zeros((len(words.ones), 2, words.ones.shape[4]), np.int64)
    _add_up_steps(words.ones, words.taps, sums)
    return sums


@kernel
def _add_up_steps(ones: NDArray[np.integer[Any]], taps: NDArray[np.int32], sums: NDArray[np.int64]) -> None:
    batch, groups, _, slices, steps, planes = ones.shape
    for image in range(batch):
        for group in range(groups):
            for position in range(len(taps)):
                for offset in range(taps.shape[1]):
                    for part in range(slices):
                        for step in range(steps):
                            for plane in range(planes):
                                word = ones[image, group, taps[position, offset], part, step, plane]
                                sums[image, 0, step] += word
                                sums[image, 1, step] += word > 0
