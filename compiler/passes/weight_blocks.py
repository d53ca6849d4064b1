"""How many output tiles of a product have their weights on chip together.

All of them, if the weights of the whole network fit the weight memory. Else each product is cut into blocks of at
most half the memory, so that the next block crosses from DRAM while this one runs; a block is used for every strip
before the next, so that each weight crosses once.
"""

from __future__ import annotations

from dtss.compiler.errors import CompileError
from dtss.compiler.schedule.buffers import (
    block_buffers,
    block_tiles,
    capacity_rows,
    output_tile_rows,
    row_bits,
    weights_fit,
)
from dtss.compiler.schedule.format import Convolution, Linear, Schedule

BLOCKS_AT_ONCE = 2  # the one that runs and the one that is fetched


def weight_blocks(schedule: Schedule) -> dict[str, int]:
    """Output tiles in a block, by product; of equal blocks as nearly as can be."""
    products = [node for node in schedule.nodes if isinstance(node, Convolution | Linear) and node.tiling is not None]
    rows = {node.name: output_tile_rows(schedule, node) for node in products}
    tiles = {node.name: node.tiling.output_tiles for node in products if node.tiling is not None}
    capacity = capacity_rows(schedule, "weight")
    if weights_fit(schedule, block_buffers(schedule)):
        return tiles
    widest = max(rows, key=rows.__getitem__)
    if rows[widest] > capacity:
        size = rows[widest] * schedule.hardware.array.columns * schedule.hardware.widths.weight // 8
        raise CompileError(
            widest,
            f"the weights of {schedule.hardware.array.columns} of its outputs take {size} bytes, and "
            f"{schedule.hardware.name} has {schedule.hardware.memory.weight_bytes}",
            f"use a hardware file with memory.weight_bytes = {size} or more; "
            f"{BLOCKS_AT_ONCE * size} hide the transfer from DRAM",
        )
    parameters = capacity_rows(schedule, "parameter")
    _check_parameters(schedule, parameters)
    most = {name: max(1, min(capacity // rows[name], parameters) // BLOCKS_AT_ONCE) for name in rows}
    return {name: _balanced(tiles[name], most[name]) for name in rows}


def _check_parameters(schedule: Schedule, capacity: int) -> None:
    """A product can be cut into output tiles, a row of parameters each; what other nodes need lies there at once."""
    for node in schedule.nodes:
        tiles = sum(block_tiles(schedule, node))
        needed = min(tiles, 1) if isinstance(node, Convolution | Linear) else tiles
        if needed > capacity:
            size = -(-needed * row_bits(schedule, "parameter") // 8)
            raise CompileError(
                node.name,
                f"its biases, thresholds and resets take {size} bytes at once, and {schedule.hardware.name} has "
                f"{schedule.hardware.memory.parameter_bytes}",
                f"use a hardware file with memory.parameter_bytes = {size} or more; "
                f"{BLOCKS_AT_ONCE * size} hide the transfer from DRAM",
            )


def _balanced(tiles: int, most: int) -> int:
    """The smallest size that needs no more blocks than `most` does."""
    return -(-tiles // -(-tiles // most))
