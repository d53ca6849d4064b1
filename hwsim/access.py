"""How many bits one access moves: what `energy` charges and `traffic` adds up."""

from __future__ import annotations

import msgspec

from dtss.compiler.schedule.hardware import Hardware


class AccessBits(msgspec.Struct, frozen=True, kw_only=True):
    """Bits of one access on one machine; a row is C values, a word R bits of one plane.

    parameter_row: for each bit of a channel's parameters (bias, threshold, reset), which differ by node.
    flag: whether a word has any 1, read with it.
    """

    weight_row: int
    parameter_row: int
    current_row: int
    membrane_row: int
    accumulator_row: int
    spike_row: int
    word: int
    flag: int = 1

    @classmethod
    def of(cls, hardware: Hardware) -> AccessBits:
        """From the array's shape and the machine's widths."""
        columns, widths = hardware.array.columns, hardware.widths
        return cls(
            weight_row=columns * widths.weight,
            parameter_row=columns,
            current_row=columns * widths.membrane,
            membrane_row=columns * widths.membrane,
            accumulator_row=columns * widths.accumulator,
            spike_row=columns,
            word=hardware.array.rows,
        )
