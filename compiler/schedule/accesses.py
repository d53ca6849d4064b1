"""Which memory each event touches, and how many bits it moves: for the cost model, the energies and the traffic."""

from __future__ import annotations

import msgspec

from dtss.compiler.schedule.buffers import row_bits
from dtss.compiler.schedule.format import Schedule

READS: dict[str, tuple[tuple[str, str], ...]] = {
    "weight_memory": (("weight_row_reads", "weight_row"),),
    "parameter_memory": (("parameter_row_reads", "parameter_row"),),
    "stationary_memory": (("stationary_row_reads", "weight_row"),),
    "strip_memory": (("words_issued", "word"), ("words_offered", "flag")),
    "spike_memory": (("spike_word_reads", "word"),),
    "image_memory": (("image_row_reads", "image_row"),),
    "accumulator_file": (("accumulator_reads", "accumulator_row"),),
    "membrane_memory": (("membrane_row_reads", "membrane_row"),),
    "current_memory": (("current_row_reads", "current_row"),),
}
"""Memory → (a field of `cycles.Counts`, bits of one such access in `AccessBits`)."""

WRITES: dict[str, tuple[tuple[str, str], ...]] = {
    "weight_memory": (("weight_row_writes", "weight_row"),),
    "parameter_memory": (("parameter_row_writes", "parameter_row"),),
    "stationary_memory": (("stationary_row_writes", "weight_row"),),
    "strip_memory": (("strip_word_writes", "word"), ("strip_word_writes", "flag")),
    "spike_memory": (("spike_word_writes", "word"), ("spike_row_writes", "spike_row")),
    "image_memory": (("image_row_writes", "image_row"),),
    "accumulator_file": (("accumulator_writes", "accumulator_row"),),
    "membrane_memory": (("membrane_row_writes", "membrane_row"),),
    "current_memory": (("current_row_writes", "current_row"),),
}
"""The same for writes; what arrives from outside is in `dram.DramCounts`."""


class AccessBits(msgspec.Struct, frozen=True, kw_only=True):
    """Bits of one access on one machine; a row is C values, a word R bits of one plane.

    parameter_row: bias, threshold, reset and initial state of C channels.  image_row: one pixel.
    flag: whether a word has any 1; kept beside it in the strip buffer.
    """

    weight_row: int
    parameter_row: int
    current_row: int
    membrane_row: int
    accumulator_row: int
    spike_row: int
    image_row: int
    word: int
    flag: int = 1

    @classmethod
    def of(cls, schedule: Schedule) -> AccessBits:
        """From the array's shape, the machine's widths and the network's pixels."""
        array, widths = schedule.hardware.array, schedule.hardware.widths
        return cls(
            weight_row=row_bits(schedule, "weight"),
            parameter_row=row_bits(schedule, "parameter"),
            current_row=row_bits(schedule, "current"),
            membrane_row=row_bits(schedule, "membrane"),
            accumulator_row=array.columns * widths.accumulator,
            spike_row=array.columns,
            image_row=row_bits(schedule, "image"),
            word=array.rows,
        )
