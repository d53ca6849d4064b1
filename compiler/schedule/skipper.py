"""What the zero-word skipper makes of a pass's words, for all passes of a product in one sweep.

stream = Σ over groups of G words of max(1, non-zero words)      the last group may be short
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.geometry import Geometry
from dtss.compiler.schedule.kernel import kernel

Sums = NDArray[np.int64]


class Words(msgspec.Struct, frozen=True):
    """Ones of the streamed words of a product, told by the rows that its windows share.

    ones: of each slice of a row, [B, groups, rows, slices, slot steps, planes].
    taps [positions, offsets]: the row under each kernel offset of a position; −1, the last, where all is 0.
    A reduction tile is a slice under one offset.
    """

    ones: NDArray[np.integer[Any]]
    taps: NDArray[np.int32]

    @classmethod
    def of(cls, popcounts: NDArray[np.integer[Any]]) -> Words:
        """Words that share nothing: [B, groups, positions, slot steps, planes, reduction tiles]."""
        return cls(np.ascontiguousarray(np.moveaxis(popcounts, 5, 3)), every_row(popcounts.shape[2]))


def every_row(rows: int) -> NDArray[np.int32]:
    """Taps of positions that have a row each."""
    return np.arange(rows, dtype=np.int32)[:, None]


def pass_sums(words: Words, cut: Geometry, skip_group: int) -> Sums:
    """(stream cycles, ones, issued words) of each pass: [3, B, groups, pass steps, strips, reduction tiles].

    Words pass in the order (position, step, plane), or (position, plane) where each step has passes of its own.
    """
    batch, groups, rows, slices, steps, planes = words.ones.shape
    own_passes = cut.pass_steps if steps else 0
    sums = np.zeros((3, batch, groups, own_passes, cut.strips, len(cut.rows)), np.int64)
    ones = words.ones.reshape(batch, groups, rows, slices, steps * planes)
    _sweep(ones, words.taps, cut.positions_per_strip, skip_group, sums)
    return sums


def stream_cycles(nonzero: NDArray[np.bool_], skip_group: int) -> Sums:
    """Cycles of passes by their words' non-zero flags: [..., words] → [...]."""
    *outer, count = nonzero.shape
    flags = np.ascontiguousarray(nonzero.reshape(-1, count).T, np.int64)[None, None, :, :, None]
    sums = np.zeros((3, 1, 1, 1, 1, flags.shape[3]), np.int64)
    _sweep(flags, every_row(count), count, skip_group, sums)
    cycles: Sums = sums[0].reshape(outer)
    return cycles


@kernel
def _sweep(
    ones: NDArray[np.integer[Any]], taps: NDArray[np.int32], strip_positions: int, skip_group: int, sums: Sums
) -> None:
    batch, groups, _, slices, at_position = ones.shape
    own_passes, strips, tiles = sums.shape[3:]
    of_pass = at_position // max(1, own_passes)
    for image in range(batch):
        for group in range(groups):
            for index in range(own_passes):
                for strip in range(strips):
                    last = min(len(taps), (strip + 1) * strip_positions)
                    for tile in range(tiles):
                        offset, part = tile // slices, tile % slices
                        stream, added, issued, nonzero, seen = 0, 0, 0, 0, 0
                        for position in range(strip * strip_positions, last):
                            row = taps[position, offset]
                            for place in range(index * of_pass, (index + 1) * of_pass):
                                word = ones[image, group, row, part, place]
                                added += word
                                nonzero += word > 0
                                seen += 1
                                if seen == skip_group:
                                    stream += max(1, nonzero)
                                    issued += nonzero
                                    nonzero, seen = 0, 0
                        if seen > 0:
                            stream += max(1, nonzero)
                            issued += nonzero
                        sums[0, image, group, index, strip, tile] = stream
                        sums[1, image, group, index, strip, tile] = added
                        sums[2, image, group, index, strip, tile] = issued


@kernel
def run_cycles(
    stream: Sums,
    rounds: Sums,
    tiles: Sums,
    load: Sums,
    walk: Sums,
    gather: Sums,
    latency: int,
    keeps_words: bool,
    cycles: Sums,
) -> None:
    """Time of all groups' runs: cycles [B, blocks, 3] gets (all, load stalls, word stalls).

    stream: as in `pass_sums`.  rounds [rounds, 2]: first and end of the pass steps of each.  tiles [blocks]: output
    tiles.  load [reduction tiles].  walk [strips]: after the last tile of the last step.
    gather [strips, reduction tiles].  keeps_words: from the first block on.

    Time 0 is the cycle in which the run's first pass is fetched; weights load from 1 on, words are gathered from 0 on.
    """
    batch, groups, steps, strips, reductions = stream.shape
    released = np.zeros(max(1, steps) * reductions, np.int64)
    for image in range(batch):
        for block in range(len(tiles)):
            for group in range(groups):
                gathered, start, end, load_stalls, word_stalls, first = 0, 0, 1, 0, 0, True
                released[:] = 0
                for index in range(len(rounds)):
                    begin_step, end_step = rounds[index]
                    for strip in range(strips):
                        for output_tile in range(tiles[block]):
                            for step in range(begin_step, end_step):
                                for tile in range(reductions):
                                    earliest = start + load[tile] if not first else 1 + load[tile]
                                    ready = 0
                                    slot = (step - begin_step) * reductions + tile
                                    if output_tile == 0 and not (keeps_words and block > 0):
                                        gathered = max(gathered, released[slot]) + gather[strip, tile]
                                        ready = gathered + latency
                                    loaded = max(end, earliest)
                                    start = max(loaded, ready)
                                    load_stalls += loaded - end
                                    word_stalls += start - loaded
                                    end = start + stream[image, group, step, strip, tile]
                                    if output_tile == tiles[block] - 1:
                                        released[slot] = end
                                    if step == end_step - 1 and tile == reductions - 1:
                                        end += walk[strip]
                                    first = False
                            if begin_step == end_step:
                                start = end
                                end += walk[strip]
                                first = False
                cycles[image, block, 0] += end - 1
                cycles[image, block, 1] += load_stalls
                cycles[image, block, 2] += word_stalls


@kernel
def add_up_passes(sums: Sums, rows: Sums, totals: Sums) -> None:
    """totals [4, B]: stream cycles, ones, issued words and their lanes over all passes of `pass_sums`."""
    _, batch, groups, steps, strips, tiles = sums.shape
    for image in range(batch):
        for group in range(groups):
            for step in range(steps):
                for strip in range(strips):
                    for tile in range(tiles):
                        issued = sums[2, image, group, step, strip, tile]
                        totals[0, image] += sums[0, image, group, step, strip, tile]
                        totals[1, image] += sums[1, image, group, step, strip, tile]
                        totals[2, image] += issued
                        totals[3, image] += issued * rows[tile]
