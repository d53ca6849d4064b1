"""The shipped machines hold what their files say."""

from math import ceil

import pytest

from dtss.compiler.schedule.hardware import load_hardware, shipped_targets

BLOCK_RAMS_OF_XC7K325T = 445
BLOCK_RAM_BITS = 32768  # without parity


def block_rams(capacity_bytes: int, row_bits: int, port_bits: int = 64) -> int:
    """Enough side by side for a row, enough deep for all rows."""
    rows = 8 * capacity_bytes // row_bits
    return ceil(row_bits / port_bits) * ceil(rows / (BLOCK_RAM_BITS // port_bits))


@pytest.mark.parametrize("name", shipped_targets())
def test_a_machine_has_the_name_of_its_file(name: str) -> None:
    assert load_hardware(name).name == name


def test_kintex7_fits_its_part() -> None:
    machine = load_hardware("kintex7")
    columns, memory, widths = machine.array.columns, machine.memory, machine.widths
    taken = {
        "weight": block_rams(memory.weight_bytes, columns * widths.weight),
        "spike": block_rams(memory.spike_bytes, machine.array.rows),
        "membrane": block_rams(memory.membrane_bytes, columns * widths.membrane),
        "current": block_rams(memory.current_bytes, columns * widths.membrane),
        "image": block_rams(memory.image_bytes, 24, 32),
        "strip": block_rams(memory.strip_bytes, machine.array.rows),
        "stationary": block_rams(memory.stationary_bytes, columns * widths.weight),
    }
    assert taken == {
        "weight": 128, "spike": 64, "membrane": 96, "current": 48, "image": 4, "strip": 8, "stationary": 4,
    }  # fmt: skip
    assert sum(taken.values()) == 352 < BLOCK_RAMS_OF_XC7K325T


def test_asic_28nm_holds_two_output_tiles_of_spikformers_largest_convolution() -> None:
    machine = load_hardware("asic-28nm")
    tile = machine.array.columns * (384 * 9 * machine.widths.weight + 2 * machine.widths.membrane)
    assert 2 * tile <= 8 * machine.memory.weight_bytes < 4 * tile
