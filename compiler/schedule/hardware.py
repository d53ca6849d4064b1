"""The accelerator's parameters, read from a TOML file and checked once."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path

import msgspec

from dtss.compiler.schedule.errors import BadInputError


class Array(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The AND-gate accumulate array and what feeds it."""

    rows: int  # R: spike bits of a word, one reduction lane each
    columns: int  # C: output channels computed together
    strip_slots: int  # S: accumulators a column holds; a slot is one (position, time step)
    skip_group: int  # G: words whose non-zero flags the skipper sees at once
    weight_rows_per_cycle: int  # weight rows (C weights) loaded a cycle

    @property
    def lanes(self) -> int:
        """R · C: the additions of a cycle, at most."""
        return self.rows * self.columns


class Widths(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Signed widths in bits; the compiler proves that every value fits."""

    weight: int
    accumulator: int
    membrane: int


class Memory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """On-chip capacities in bytes."""

    weight_bytes: int
    spike_bytes: int
    membrane_bytes: int
    current_bytes: int
    image_bytes: int
    parameter_bytes: int  # biases, thresholds and resets
    strip_bytes: int  # the words of one strip, between spike memory and array
    stationary_bytes: int  # the operand of an attention product that stays in the array


class Dram(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The memory off chip, counted in cycles of the machine's clock."""

    bits_per_cycle: int  # of the whole interface, while it transfers
    burst_bits: int  # a transfer is a whole number of bursts
    latency_cycles: int  # from a transfer's request to its first bit


class Hardware(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One machine."""

    name: str
    description: str
    frequency_mhz: float
    array: Array
    widths: Widths
    memory: Memory
    dram: Dram


_LIMITS = {
    "array.rows": (1, 1024),
    "array.columns": (1, 1024),
    "array.strip_slots": (1, 65536),
    "array.skip_group": (1, 64),
    "array.weight_rows_per_cycle": (1, 1024),
    "widths.weight": (2, 16),
    "widths.accumulator": (8, 48),
    "widths.membrane": (8, 48),
    "memory.weight_bytes": (1, 2**40),
    "memory.spike_bytes": (1, 2**40),
    "memory.membrane_bytes": (1, 2**40),
    "memory.current_bytes": (1, 2**40),
    "memory.image_bytes": (1, 2**40),
    "memory.parameter_bytes": (1, 2**40),
    "memory.strip_bytes": (1, 2**40),
    "memory.stationary_bytes": (1, 2**40),
    "dram.bits_per_cycle": (1, 2**20),
    "dram.burst_bits": (1, 2**20),
    "dram.latency_cycles": (0, 2**20),
}


def check_hardware(hardware: Hardware, where: str) -> Hardware:
    """Every number within its limits, or `BadInputError` naming the entry."""
    for entry, (lowest, highest) in _LIMITS.items():
        section, field = entry.split(".")
        value = getattr(getattr(hardware, section), field)
        if not lowest <= value <= highest:
            raise BadInputError(
                f"{where}: {entry}", f"found {value}", f"give a whole number from {lowest} to {highest}"
            )
    together, rows = hardware.array.weight_rows_per_cycle, hardware.array.rows
    if together > rows:
        found = f"found {together}, and a weight tile has {rows} rows"
        raise BadInputError(f"{where}: array.weight_rows_per_cycle", found, "load at most one in a cycle")
    if not 0 < hardware.frequency_mhz < 1e5:
        raise BadInputError(f"{where}: frequency_mhz", f"found {hardware.frequency_mhz}", "give a clock in MHz")
    return hardware


def shipped_targets() -> dict[str, Path]:
    """The hardware files that come with the tool, by name."""
    folder = Path(str(resources.files("dtss.compiler.schedule"))) / "targets"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load_hardware(name_or_path: str) -> Hardware:
    """A shipped target by name, or the user's TOML file by path."""
    shipped = shipped_targets()
    path = shipped.get(name_or_path, Path(name_or_path))
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(
            name_or_path,
            f"cannot be read as a hardware file ({error})",
            f"give a TOML file, or one of: {', '.join(shipped)}",
        ) from None
    try:
        hardware = msgspec.convert(tomllib.loads(text), Hardware)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise BadInputError(
            str(path), f"not a valid hardware file: {error}", "compare it with a shipped target"
        ) from None
    return check_hardware(hardware, str(path))
