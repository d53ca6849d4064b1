"""How weights and parameters cross into the weight loader, and how long it takes: what weight_loader.v does, in Python.

    arrived[k] = max(arrived[k−1], done[k]) + latency + Σ rows · beats of a row + 1

arrived[−1] is the cycle after the loader's start, done[k] the first cycle in which as many runs are complete as
transfer k waits for, and the latency runs from the command to its first beat; a beat a cycle follows. A beat that holds
several rows takes as many cycles: one row is written a cycle.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
import numpy as np

from dtss.compiler.schedule.dram import COMMAND_CYCLES
from dtss.rtl.memory_image import Bits, bits_of, pack_fields


class RowFormat(msgspec.Struct, frozen=True):
    """How rows of `elements` integers of `element_bits` lie in beats of `data_bits`; see row_format.v."""

    data_bits: int
    elements: int
    element_bits: int

    @property
    def row_bits(self) -> int:
        return self.elements * self.element_bits

    @property
    def rows_of_beat(self) -> int:
        """A power of two: 1 as well where a row takes whole beats."""
        fitting = self.data_bits // self.row_bits
        return 1 << max(0, fitting.bit_length() - 1)

    @property
    def beats_of_row(self) -> int:
        return -(-self.row_bits // self.data_bits)

    def beats(self, rows: int) -> int:
        """Beats that `rows` rows take."""
        return -(-rows // self.rows_of_beat) * self.beats_of_row

    def cycles(self, rows: int) -> int:
        """Cycles that they take to arrive, a beat a cycle and a row a cycle."""
        return rows * self.beats_of_row

    def pack(self, rows: np.ndarray, padding: int = 0) -> Bits:
        """Integers [rows, elements] → beats [beats, data_bits]. `padding` is the bit where nothing lies."""
        slot = self.beats_of_row * self.data_bits // self.rows_of_beat
        slots = np.full((self.beats(len(rows)) * self.data_bits // slot, slot), padding, np.uint8)
        slots[: len(rows), : self.row_bits] = bits_of(rows, self.element_bits).reshape(len(rows), self.row_bits)
        return slots.reshape(-1, self.data_bits)


class TransferRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the transfer table, see weight_loader.v; `last` follows from its place."""

    after: int
    byte_address: int
    weight_rows: int
    first_weight_row: int
    narrow: int
    parameter_rows: int
    first_parameter_row: int


class Loader(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of weight_loader. narrow_bits: the widths below weight_bits in which weights may cross."""

    data_bits: int
    columns: int
    load_rows: int
    weight_bits: int
    narrow_bits: tuple[int, ...]
    parameter_row_bits: int
    weight_memory_rows: int
    parameter_memory_rows: int
    run_bits: int

    def weight_format(self, narrow: int) -> RowFormat:
        """`narrow` as in the transfer table."""
        bits = (self.weight_bits, *self.narrow_bits)[narrow]
        return RowFormat(self.data_bits, self.load_rows * self.columns, bits)

    @property
    def parameter_format(self) -> RowFormat:
        return RowFormat(self.data_bits, self.parameter_row_bits, 1)

    @property
    def table_widths(self) -> dict[str, int]:
        """Bits of the fields of a table row, the last field in the lowest bits."""
        weight_address, parameter_address = (
            max(1, (rows - 1).bit_length()) for rows in (self.weight_memory_rows, self.parameter_memory_rows)
        )
        return {
            "last": 1,
            "after": self.run_bits,
            "byte_address": 32,
            "weight_rows": weight_address + 1,
            "first_weight_row": weight_address,
            "narrow": max(1, len(self.narrow_bits).bit_length()),
            "parameter_rows": parameter_address + 1,
            "first_parameter_row": parameter_address,
        }

    def table(self, transfers: list[TransferRow]) -> Bits:
        """The transfer table's rows."""
        assert all(transfer.weight_rows + transfer.parameter_rows > 0 for transfer in transfers)
        fields = {
            name: np.array([getattr(transfer, name) for transfer in transfers], np.int64)
            for name in TransferRow.__struct_fields__
        }
        last = np.arange(len(transfers)) == len(transfers) - 1
        return pack_fields(self.table_widths, {"last": last} | fields)

    def transfer_bytes(self, transfer: TransferRow) -> int:
        """What its command asks for."""
        weights = self.weight_format(transfer.narrow).beats(transfer.weight_rows)
        return (weights + self.parameter_format.beats(transfer.parameter_rows)) * self.data_bits // 8

    def transfer_cycles(self, transfer: TransferRow, latency: int) -> int:
        """From the end of its wait to its arrival."""
        weights = self.weight_format(transfer.narrow).cycles(transfer.weight_rows)
        return COMMAND_CYCLES + latency + weights + self.parameter_format.cycles(transfer.parameter_rows)


def arrivals(start: int, done: Iterable[int], cycles: Iterable[int]) -> Iterator[int]:
    """When each transfer has arrived. start: the cycle of the loader's start.

    done: for each transfer, the cycle from which on it need not wait.  cycles: its `transfer_cycles`.
    """
    now = start + 1
    for ready, length in zip(done, cycles, strict=True):
        now = max(now, ready) + length
        yield now
