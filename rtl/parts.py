"""What is in the FPGAs that `dtss-rtl synth` knows, in the units of its report.

lut: look-up tables.  ff: flip-flops.  bram36: block RAMs of 36 Kbit.  ebr: block RAMs of 18 Kbit.  dsp: multipliers.
"""

from __future__ import annotations

from types import MappingProxyType

import msgspec

from dtss.compiler.schedule.errors import EXIT_USAGE, UserError

SEVEN_SERIES = "AMD DS180, 7 Series FPGAs Data Sheet: Overview"
ZYNQ = "AMD DS190, Zynq-7000 SoC Data Sheet: Overview"
ECP5 = "Lattice FPGA-DS-02012, ECP5 and ECP5-5G Family Data Sheet"


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """An FPGA. `option` is nextpnr's for it, where nextpnr knows it."""

    name: str
    source: str
    resources: dict[str, int]
    option: str = ""


class UsageError(UserError):
    """What was asked for does not exist, or does not go together."""

    exit_code = EXIT_USAGE


def _seven(name: str, source: str, lut: int, ff: int, bram36: int, dsp: int) -> Part:
    return Part(name=name, source=source, resources={"lut": lut, "ff": ff, "bram36": bram36, "dsp": dsp})


def _ecp5(name: str, option: str, lut: int, ebr: int, dsp: int) -> Part:
    resources = {"lut": lut, "ff": lut, "ebr": ebr, "dsp": dsp}
    return Part(name=name, source=ECP5, resources=resources, option=option)


SEVEN_SERIES_PARTS = (
    _seven("xc7a35t", SEVEN_SERIES, 20_800, 41_600, 50, 90),
    _seven("xc7a100t", SEVEN_SERIES, 63_400, 126_800, 135, 240),
    _seven("xc7a200t", SEVEN_SERIES, 134_600, 269_200, 365, 740),
    _seven("xc7k70t", SEVEN_SERIES, 41_000, 82_000, 135, 240),
    _seven("xc7k160t", SEVEN_SERIES, 101_400, 202_800, 325, 600),
    _seven("xc7k325t", SEVEN_SERIES, 203_800, 407_600, 445, 840),
    _seven("xc7k410t", SEVEN_SERIES, 254_200, 508_400, 795, 1_540),
    _seven("xc7z010", ZYNQ, 17_600, 35_200, 60, 80),
    _seven("xc7z020", ZYNQ, 53_200, 106_400, 140, 220),
    _seven("xc7z030", ZYNQ, 78_600, 157_200, 265, 400),
    _seven("xc7z045", ZYNQ, 218_600, 437_200, 545, 900),
)
ECP5_PARTS = (
    _ecp5("lfe5u-25f", "--25k", 24_000, 56, 28),
    _ecp5("lfe5u-45f", "--45k", 44_000, 108, 72),
    _ecp5("lfe5u-85f", "--85k", 84_000, 208, 156),
)
PARTS = MappingProxyType({"7series": SEVEN_SERIES_PARTS, "ecp5": ECP5_PARTS, "liberty": ()})
DEFAULT_PARTS = MappingProxyType({"7series": "xc7k325t", "ecp5": "lfe5u-85f"})


def find_part(target: str, name: str | None) -> Part | None:
    """The named part of the target, or its default one; a liberty file has none."""
    known = {part.name: part for part in PARTS[target]}
    asked = DEFAULT_PARTS.get(target) if name is None else name.lower()
    if asked is None:
        return None
    if asked not in known:
        hint = f"choose of: {', '.join(known)}" if known else "cells of a library are in no part"
        raise UsageError(f"--part {name}", f"is no part of {target} here", hint)
    return known[asked]
