"""What the memories of the accelerator hold before an image: weights and parameters, block by block."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.buffers import block_tiles
from dtss.compiler.schedule.format import AnyNode, AttentionProduct, Convolution, Lif, Linear, Product, Schedule
from dtss.compiler.schedule.geometry import geometry
from dtss.compiler.schedule.interpret import Tensors
from dtss.compiler.schedule.words import stationary_operand
from dtss.rtl.engine import NEURON_PARAMETERS, Engine
from dtss.rtl.memory_image import Bits, bits_of


def weight_rows(schedule: Schedule, tensors: Tensors, engine: Engine, node: AnyNode, block: int) -> NDArray[np.int64]:
    """Weights of a block in the order in which passes load them: [beats, load rows, columns]."""
    if not isinstance(node, Convolution | Linear):
        return np.zeros((0, engine.load_rows, engine.columns), np.int64)
    cut = geometry(schedule, node)
    operand = stationary_operand(node, tensors, None)[0, 0]  # [reduction length, output channels]
    starts, channels = np.cumsum((0, *cut.rows)), np.cumsum((0, *cut.columns))
    tiles = []
    for output_tile in range(len(cut.columns))[block * cut.output_tiles_per_block :][: cut.output_tiles_per_block]:
        for tile, rows in enumerate(cut.rows):
            beats = -(-rows // engine.load_rows)
            rows_of_tile = np.zeros((beats * engine.load_rows, engine.columns), np.int64)
            weights = operand[starts[tile] : starts[tile + 1], channels[output_tile] : channels[output_tile + 1]]
            rows_of_tile[: len(weights), : weights.shape[1]] = weights
            tiles.append(rows_of_tile.reshape(beats, engine.load_rows, engine.columns))
    return np.concatenate(tiles)


def parameter_rows(
    schedule: Schedule, tensors: Tensors, engine: Engine, node: AnyNode, block: int
) -> NDArray[np.int64]:
    """Parameters of a block's output tiles, `NEURON_PARAMETERS` of each channel: [tiles, columns, parameters]."""
    values = channel_parameters(schedule, tensors, node)
    tiles = block_tiles(schedule, node)
    first = sum(tiles[:block])
    widths = _tile_widths(schedule, engine, node)
    starts = np.cumsum((0, *widths))
    rows = np.zeros((tiles[block], engine.columns, len(NEURON_PARAMETERS)), np.int64)
    for row, tile in enumerate(range(first, first + tiles[block])):
        rows[row, : widths[tile]] = values[starts[tile] : starts[tile + 1]]
    return rows


def _tile_widths(schedule: Schedule, engine: Engine, node: AnyNode) -> tuple[int, ...]:
    """Channels of each parameter row: output tiles, of each head in turn."""
    if isinstance(node, Product):
        cut = geometry(schedule, node)
        return cut.columns * cut.groups
    return tuple(min(engine.columns, node.channels - start) for start in range(0, node.channels, engine.columns))


def channel_parameters(schedule: Schedule, tensors: Tensors, node: AnyNode) -> NDArray[np.int64]:
    """[C, parameters]: 0 where there is none. Heads that hold results of their own share a neuron's."""
    neuron = node if isinstance(node, Lif) else None
    names: dict[str, str | None] = dict.fromkeys(NEURON_PARAMETERS)
    if isinstance(node, Convolution | Linear):
        names["bias"] = node.bias
    if isinstance(node, Product) and node.neuron is not None:
        found = schedule.node(node.neuron)
        assert isinstance(found, Lif)
        neuron = found
    if neuron is not None:
        names |= {"threshold": neuron.threshold, "reset_to": neuron.reset_to, "initial": neuron.initial}
    channels = node.channels
    columns = [
        np.zeros(channels, np.int64) if name is None else tensors[name].astype(np.int64).ravel()
        for name in names.values()
    ]
    result = np.stack(columns, axis=1)
    if isinstance(node, AttentionProduct) and node.stage in ("key_value", "query_key"):
        return np.tile(result, (node.heads, 1))
    return result


def weight_bits(engine: Engine, rows: NDArray[np.int64]) -> Bits:
    """[beats, load rows, columns] → [beats, bits of a weight memory row]."""
    return bits_of(rows, engine.weight_bits).reshape(len(rows), engine.weight_row_bits)


def parameter_bits(engine: Engine, rows: NDArray[np.int64]) -> Bits:
    """[tiles, columns, parameters] → [tiles, bits of a parameter memory row]."""
    return bits_of(rows, engine.value_bits).reshape(len(rows), engine.parameter_row_bits)
