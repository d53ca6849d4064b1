"""The passes of a product one by one, from its cut alone: what tests hold the counts to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.geometry import Geometry


@dataclass(frozen=True)
class PassTable:
    """The passes of one product in execution order; every field is [passes].

    step: index into slot_steps, −1 if the pass serves all.  reduction_tile: −1 for a walk without a pass.
    walk: cycles of the walk after the pass, 0 if more passes follow for the same sums.
    """

    group: NDArray[np.int64]
    step: NDArray[np.int64]
    strip: NDArray[np.int64]
    output_tile: NDArray[np.int64]
    reduction_tile: NDArray[np.int64]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    walk: NDArray[np.int64]
    walk_step: NDArray[np.int64]  # the step walked in time_order outer, −1 in inner
    block: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.group)


def pass_table(cut: Geometry) -> PassTable:
    """Every pass of a product, in execution order."""
    together = cut.time_order == "inner" or not cut.walk_steps
    tables = [
        _strip_passes(cut, block, walk_step)
        for block in range(cut.blocks)
        for walk_step in ((-1,) if together else cut.walk_steps)
    ]
    return PassTable(*(np.concatenate(columns) for columns in zip(*tables, strict=True)))


def _strip_passes(cut: Geometry, block: int, walk_step: int) -> tuple[NDArray[np.int64], ...]:
    """All passes of all groups and strips in a block, for one walked step (outer) or for all of them (−1, inner)."""
    steps = _pass_step_indices(cut, walk_step)
    tiles = np.arange(len(cut.rows)) if len(steps) else np.array([-1])
    steps = steps if len(steps) else np.array([-1])
    output_tiles = np.arange(len(cut.columns))[block * cut.output_tiles_per_block :][: cut.output_tiles_per_block]
    axes = (np.arange(cut.groups), np.arange(cut.strips), output_tiles, steps, tiles)
    group, strip, output_tile, step, tile = (axis.ravel() for axis in np.meshgrid(*axes, indexing="ij"))
    last = (tile == tiles[-1]) & (step == steps[-1])
    visits = cut.strip_positions * (len(cut.walk_steps) if walk_step < 0 else 1)
    rows = np.where(tile < 0, 0, np.array(cut.rows)[tile])
    columns = np.array(cut.columns)[output_tile]
    return (
        group, step, strip, output_tile, tile, rows, columns,
        np.where(last, visits[strip], 0), np.full(len(group), walk_step), np.full(len(group), block),
    )  # fmt: skip


def _pass_step_indices(cut: Geometry, walk_step: int) -> NDArray[np.int64]:
    """Slot-step indices that get passes before this walk; empty if the walk needs no pass."""
    if walk_step >= 0:
        return np.array([cut.slot_steps.index(walk_step)] if walk_step in cut.slot_steps else [], np.int64)
    if not cut.slot_steps:
        return np.array([], np.int64)
    return np.arange(len(cut.slot_steps)) if cut.weights_change else np.array([-1])
