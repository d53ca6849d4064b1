"""Which bit sits in which lane of which word, and which weight meets it.

A streamed word is a row of R lanes: for a convolution, `offsets_per_word` kernel offsets side by side, or
one offset and a slice of its channels; for a linear layer, a slice of the channels; for attention, a slice
of the head's channels or of the tokens. Weight rows follow the same order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.format import AttentionProduct, Convolution, Linear, Product
from dtss.compiler.schedule.interpret import Tensors, pad_image, split_heads
from dtss.compiler.schedule.numerics import Integers, bit_planes


def reduction_operand(node: Product, tensors: Tensors, streamed: Integers) -> Integers:
    """The streamed value laid out along the sum: [B, groups, positions, reduction length].

    A convolution's reduction axis is (kernel row, kernel column, channel).
    """
    match node:
        case Convolution():
            return _windows(node, tensors, streamed)[:, None]
        case Linear():
            return streamed.reshape(len(streamed), 1, node.positions, -1)
        case AttentionProduct(stage="key_value"):
            return split_heads(streamed, node.heads).swapaxes(2, 3)
        case AttentionProduct(stage="score_value"):
            return streamed
        case AttentionProduct():
            return split_heads(streamed, node.heads)


def stationary_operand(node: Product, tensors: Tensors, stationary: Integers | None) -> Integers:
    """The weights that meet it: [B or 1, groups, reduction length, output channels of a group]."""
    match node:
        case Convolution() | Linear():
            weight = tensors[node.weight].astype(np.int64)
            return weight.reshape(len(weight), -1).T[None, None]
        case AttentionProduct(stage="query_key_value"):
            assert stationary is not None
            return stationary
        case AttentionProduct(stage="query_key"):
            assert stationary is not None
            return split_heads(stationary, node.heads).swapaxes(2, 3)
        case AttentionProduct():
            assert stationary is not None
            return split_heads(stationary, node.heads)


def _windows(node: Convolution, tensors: Tensors, image: Integers) -> Integers:
    padded = pad_image(node, tensors, image)
    height, width, _ = node.shape
    taps = [
        padded[:, i : i + height * node.stride : node.stride, j : j + width * node.stride : node.stride][
            :, :height, :width
        ]
        for i in range(node.kernel[0])
        for j in range(node.kernel[1])
    ]
    return np.stack(taps, axis=3).reshape(len(image), node.positions, -1)


def words(operand: Integers, planes: int, rows: tuple[int, ...], lanes: int) -> NDArray[np.bool_]:
    """The spike words themselves: [B, groups, positions, planes, reduction tiles, lanes].

    `operand` comes from `reduction_operand`; lane r of tile k is its element sum(rows[:k]) + r, unused
    lanes are 0.
    """
    bits = np.moveaxis(bit_planes(operand, planes), 0, 3)
    result = np.zeros((*bits.shape[:4], len(rows), lanes), np.bool_)
    start = 0
    for tile, used in enumerate(rows):
        result[..., tile, :used] = bits[..., start : start + used]
        start += used
    return result


def word_popcounts(operand: Integers, planes: int, rows: tuple[int, ...]) -> NDArray[np.int64]:
    """Ones in every streamed word: [B, groups, positions, planes, reduction tiles]."""
    bits = np.moveaxis(bit_planes(operand, planes), 0, 3)
    starts = np.concatenate([[0], np.cumsum(rows)[:-1]])
    return np.add.reduceat(bits.astype(np.int64), starts, axis=-1)
