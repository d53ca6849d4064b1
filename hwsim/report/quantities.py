"""Numbers as people read them. The only place where units are converted."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

NO_BREAK = "\u00a0"  # between a number and its unit

PREFIXES = {"pJ": ("pJ", "nJ", "µJ", "mJ", "J"), "µs": ("µs", "ms", "s"), "bit": ("bit", "kbit", "Mbit", "Gbit")}


def significant(value: float, digits: int = 3) -> str:
    """Rounded to `digits` significant digits, never in exponent form, thousands separated."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    rounded = round(value, decimals)
    return f"{rounded:,.{max(0, decimals)}f}"


def scaled(value: float, unit: str, digits: int = 3) -> str:
    """With the prefix that leaves one to three digits before the point."""
    names = PREFIXES[unit]
    power = 0 if value == 0 else math.floor(math.log10(abs(value)) / 3 + 1e-12)
    power = min(max(power, 0), len(names) - 1)
    text = significant(value / 1000**power, digits)
    if text == "1,000" and power + 1 < len(names):
        return f"{significant(1.0, digits)}{NO_BREAK}{names[power + 1]}"
    return f"{text}{NO_BREAK}{names[power]}"


def energy(energy_pj: float, digits: int = 3) -> str:
    return scaled(energy_pj, "pJ", digits)


def nanojoules(energies_pj: Sequence[float]) -> list[str]:
    """A column of energies with as many decimals as give its largest four digits."""
    largest = max(energies_pj, default=0.0) / 1000
    decimals = min(max(3 - math.floor(math.log10(largest)), 0), 3) if largest > 0 else 0
    return [_fixed(energy_pj / 1000, decimals) for energy_pj in energies_pj]


def _fixed(value: float, decimals: int) -> str:
    smallest = 10.0**-decimals
    if 0 < value < smallest / 2:
        return f"< {smallest:.{decimals}f}"
    return f"{value:,.{decimals}f}"


def duration(time_us: float) -> str:
    return scaled(time_us, "µs")


def size(size_bits: float) -> str:
    return scaled(size_bits, "bit")


def whole(value: float) -> str:
    return f"{value:,.0f}"


def percent(share: float, digits: int = 3) -> str:
    return f"{significant(100 * share, digits)}{NO_BREAK}%"


def share(part: float) -> str:
    """Of a whole, with one decimal, so that a column of them lines up."""
    return f"{_fixed(100 * part, 1)}{NO_BREAK}%"


def rate(spikes: float) -> str:
    """Spikes per neuron and time step, so that a column of them lines up."""
    return f"{_fixed(100 * spikes, 2)}{NO_BREAK}%"


def spread(values: NDArray[np.float64] | NDArray[np.int64]) -> float:
    """Standard deviation over the images; 0 of a single one."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
