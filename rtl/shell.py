"""What stands between the accelerator and the outside: its parameters, the transfer table, and what lies in DRAM.

Outside, the blocks of weights and parameters lie one after the other in the order of use, each from a new burst on.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from dtss.compiler.schedule.dram import Transfer, overwritten, transfers
from dtss.compiler.schedule.format import Convolution, Linear, Schedule
from dtss.compiler.schedule.interpret import Tensors
from dtss.rtl.engine import Engine, bits_to_count
from dtss.rtl.loading import Loader, TransferRow
from dtss.rtl.memory_contents import parameter_bits, parameter_rows, weight_rows
from dtss.rtl.memory_image import Bits
from dtss.rtl.places import Places, step_vector
from dtss.rtl.program import END, ProgramRow

BYTE = 8


class Shell(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """positions: pixels of an image.  step_bases: first row of current memory that holds a step's logits.

    table_rows: transfers.  burst_bytes: blocks begin at multiples of it.  weights_resident: the table runs once, else
    for every image.
    """

    data_bits: int
    narrow_bits: tuple[int, ...]
    table_rows: int
    burst_bytes: int
    positions: int
    classes: int
    step_bases: tuple[int, ...]
    step_zero: int
    weights_resident: bool

    @property
    def table_address_bits(self) -> int:
        return bits_to_count(self.table_rows)

    @property
    def class_bits(self) -> int:
        return self.classes.bit_length()


def shell_for(schedule: Schedule) -> Shell:
    """What brings images and weights to the machine that runs `schedule`, and takes its logits."""
    dram, head = schedule.hardware.dram, schedule.node(schedule.output.node)
    available = head.steps.available
    return Shell(
        data_bits=dram.bits_per_cycle,
        narrow_bits=narrow_widths(schedule),
        table_rows=len(transfers(schedule)),
        burst_bytes=int(np.lcm(dram.burst_bits, dram.bits_per_cycle)) // BYTE,
        positions=schedule.nodes[0].positions,
        classes=head.channels,
        step_bases=tuple(Places(schedule).step_bases(head, "current")),
        step_zero=step_vector([step for step in range(schedule.time_steps) if step not in available]),
        weights_resident=schedule.memory.weights_resident,
    )


def narrow_widths(schedule: Schedule) -> tuple[int, ...]:
    """Widths below the array's in which weights lie outside."""
    width = schedule.hardware.widths.weight
    products = (node for node in schedule.nodes if isinstance(node, Convolution | Linear))
    return tuple(sorted({node.weight_bits for node in products} - {width}))


def loader_for(engine: Engine, shell: Shell) -> Loader:
    """The weight loader between them."""
    return Loader(
        data_bits=shell.data_bits,
        columns=engine.columns,
        load_rows=engine.load_rows,
        weight_bits=engine.weight_bits,
        narrow_bits=shell.narrow_bits,
        parameter_row_bits=engine.parameter_row_bits,
        weight_memory_rows=engine.weight_rows,
        parameter_memory_rows=engine.parameter_rows,
        run_bits=engine.program_address_bits,
    )


def transfer_rows(schedule: Schedule, loader: Loader, shell: Shell, rows: Sequence[ProgramRow]) -> list[TransferRow]:
    """The transfer table; `rows` is the program, whose progress a transfer waits for."""
    moves, places, table, address = transfers(schedule), Places(schedule), [], 0
    over = [-1] * len(moves) if shell.weights_resident else overwritten(schedule, moves)
    for index, move in enumerate(moves):
        node = schedule.node(move.node)
        narrow = 0
        if isinstance(node, Convolution | Linear) and node.weight_bits in shell.narrow_bits:
            narrow = 1 + shell.narrow_bits.index(node.weight_bits)
        row = TransferRow(
            after=0 if over[index] < 0 else _rows_until(schedule, moves[over[index]], rows),
            byte_address=address,
            weight_rows=move.weight_rows // loader.load_rows,
            first_weight_row=places.first_row("weight", move.node, move.block) // loader.load_rows,
            narrow=narrow,
            parameter_rows=move.parameter_rows,
            first_parameter_row=places.first_row("parameter", move.node, move.block),
        )
        table.append(row)
        address += -(-loader.transfer_bytes(row) // shell.burst_bytes) * shell.burst_bytes
    return table


def _rows_until(schedule: Schedule, move: Transfer, rows: Sequence[ProgramRow]) -> int:
    """Rows of the program up to the last one that uses what `move` brings."""
    node = [each.name for each in schedule.nodes].index(move.node)
    return sum((row.node, row.block) <= (node, move.block) for row in rows if row.operation != END)


def outside_memory(
    schedule: Schedule, tensors: Tensors, engine: Engine, loader: Loader, table: Sequence[TransferRow]
) -> bytes:
    """What the DMA finds at the addresses of the table."""
    last = table[-1]
    content = bytearray(last.byte_address + loader.transfer_bytes(last))
    for row, move in zip(table, transfers(schedule), strict=True):
        block = _block_bytes(schedule, tensors, engine, loader, row, move)
        content[row.byte_address : row.byte_address + len(block)] = block
    return bytes(content)


def _block_bytes(
    schedule: Schedule, tensors: Tensors, engine: Engine, loader: Loader, row: TransferRow, move: Transfer
) -> bytes:
    node = schedule.node(move.node)
    weights = weight_rows(schedule, tensors, engine, node, move.block)
    parameters = parameter_bits(engine, parameter_rows(schedule, tensors, engine, node, move.block))
    parts = (
        loader.weight_format(row.narrow).pack(weights.reshape(len(weights), engine.load_rows * engine.columns)),
        loader.parameter_format.pack(parameters),
    )
    return b"".join(_packed(part) for part in parts)


def _packed(beats: Bits) -> bytes:
    return np.packbits(beats, axis=1, bitorder="little").tobytes()
