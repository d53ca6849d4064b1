"""Technology tables: what one event costs, where the number comes from, and how far to trust it.

A table is a TOML file; each entry carries its energy in pJ, what that energy is per, its source and its
confidence. Tables are never mixed: a run uses one, and its report names it.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import msgspec

from dtss.compiler.schedule.errors import BadInputError

Confidence = Literal["published", "derived", "assumption"]


class WidthAnchor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The energy of one event at one operand width."""

    bits: int
    pj: float


class SizeAnchor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The energy of one access to a memory of one capacity."""

    bytes: int
    pj: float


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One energy that depends on nothing."""

    pj: float
    per: str
    source: str
    confidence: Confidence
    note: str = ""


class WidthCurve(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """e(b) on straight lines through the anchors (b, e); outside them the nearest line goes on, down to 0.

    One anchor alone holds for every width.
    """

    anchors: tuple[WidthAnchor, ...]
    per: str
    source: str
    confidence: Confidence
    note: str = ""

    def at(self, width_bits: int) -> float:
        points = [(float(anchor.bits), anchor.pj) for anchor in self.anchors]
        return max(0.0, _on_lines(points, float(width_bits)))


class SizeCurve(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """log e(s) on straight lines through the anchors (log s, log e); outside them the nearest line goes on."""

    anchors: tuple[SizeAnchor, ...]
    per: str
    source: str
    confidence: Confidence
    note: str = ""

    def at(self, size_bytes: int) -> float:
        points = [(math.log(anchor.bytes), math.log(anchor.pj)) for anchor in self.anchors]
        return math.exp(_on_lines(points, math.log(size_bytes)))


class ProductCurve(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """e(a, b) of multiplying a bits by b bits: log e on straight lines through (log w, log e), w = √(a·b).

    One anchor alone grows with a·b, as the adders of an array multiplier do.
    """

    anchors: tuple[WidthAnchor, ...]
    per: str
    source: str
    confidence: Confidence
    note: str = ""

    def at(self, one_bits: int, other_bits: int) -> float:
        product = float(one_bits * other_bits)
        if len(self.anchors) == 1:
            return self.anchors[0].pj * product / self.anchors[0].bits ** 2
        points = [(math.log(anchor.bits), math.log(anchor.pj)) for anchor in self.anchors]
        return math.exp(_on_lines(points, math.log(product) / 2))


class Technology(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One technology table. What only an ordinary network does is optional: `--compare` asks for it."""

    name: str
    description: str
    node_nm: float
    voltage_v: float | None = None
    accumulate: WidthCurve
    gated_accumulate: Entry
    zero_check: Entry
    lif_update: WidthCurve
    accumulator_read: Entry
    accumulator_write: Entry
    sram_access: SizeCurve
    dram: Entry
    multiply: ProductCurve | None = None
    float_multiply: Entry | None = None
    float_accumulate: Entry | None = None

    @property
    def entries(self) -> dict[str, AnyEntry]:
        """The entries by name, in the order of the table; those it lacks are left out."""
        found = {name: getattr(self, name) for name in (*ENTRIES, *OPTIONAL_ENTRIES)}
        return {name: entry for name, entry in found.items() if entry is not None}


AnyEntry = Entry | WidthCurve | SizeCurve | ProductCurve

ENTRIES = {
    "accumulate": "anchors of bits and pj",
    "gated_accumulate": "pj",
    "zero_check": "pj",
    "lif_update": "anchors of bits and pj",
    "accumulator_read": "pj",
    "accumulator_write": "pj",
    "sram_access": "anchors of bytes and pj",
    "dram": "pj",
}

OPTIONAL_ENTRIES = {
    "multiply": "anchors of bits and pj",
    "float_multiply": "pj",
    "float_accumulate": "pj",
}
FORMS = ENTRIES | OPTIONAL_ENTRIES
ABOVE_ZERO = ("sram_access", "multiply")  # their curves are drawn through logarithms

Violation = tuple[str, str, str]


def shipped_tables() -> dict[str, Path]:
    """The tables that come with the tool, by name."""
    folder = Path(str(resources.files("dtss.hwsim"))) / "tech"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load_technology(name_or_path: str) -> Technology:
    """A shipped table by name, or the user's TOML file by path."""
    shipped = shipped_tables()
    path = shipped.get(name_or_path, Path(name_or_path))
    choices = ", ".join(shipped)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        hint = f"give one of: {choices}; or the path of a TOML file"
        raise BadInputError(name_or_path, f"cannot be read as a technology table ({error.strerror})", hint) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInputError(str(path), f"is not TOML: {error}", f"compare it with a shipped table: {choices}") from None
    for entry, found, hint in _violations(table):
        raise BadInputError(f"{path}: {entry}", found, hint)
    try:
        return msgspec.convert(table, Technology)
    except msgspec.ValidationError as error:
        hint = f"compare it with a shipped table: {choices}"
        raise BadInputError(str(path), f"is not a technology table: {error}", hint) from None


def require_ann_entries(technology: Technology) -> None:
    """`BadInputError` naming the first entry that an ordinary network needs and the table lacks."""
    for name, energy in OPTIONAL_ENTRIES.items():
        if getattr(technology, name) is None:
            hint = f"add a table [{name}] with {energy}, per, source and confidence, or leave --compare out"
            raise BadInputError(f"{technology.name}: {name}", "is missing", hint)


def _violations(table: dict[str, Any]) -> Iterator[Violation]:
    known = ("name", "description", "node_nm", "voltage_v", *FORMS)
    for name in table:
        if name not in known:
            yield name, "is no entry of a technology table", f"remove it, or use one of: {', '.join(known)}"
    for name in ("name", "description", "node_nm"):
        if name not in table:
            yield name, "is missing", "name the table, describe it and give its node in nm"
    for name in ("node_nm", "voltage_v"):
        if name in table and not _is_positive(table[name]):
            yield name, f"found {table[name]!r}", "give a number above 0"
    for name, energy in FORMS.items():
        if name not in table and name in OPTIONAL_ENTRIES:
            continue
        if name not in table:
            yield name, "is missing", f"add a table [{name}] with {energy}, per, source and confidence"
        elif not isinstance(table[name], dict):
            yield name, f"found {table[name]!r}", f"make it a table [{name}] with {energy}, per, source and confidence"
        else:
            yield from _entry_violations(name, table[name])


def _entry_violations(name: str, entry: dict[str, Any]) -> Iterator[Violation]:
    known = (FORMS[name].split()[0], "per", "source", "confidence", "note")
    for field in entry:
        if field not in known:
            yield f"{name}.{field}", "is no field of this entry", f"remove it, or use one of: {', '.join(known)}"
    for field in known[:-1]:
        if field not in entry:
            yield f"{name}.{field}", "is missing", f"every entry has {', '.join(known[:-1])}"
    if "pj" in known and not _is_energy(entry["pj"]):
        yield f"{name}.pj", f"found {entry['pj']!r}", "give an energy in pJ, 0 or more"
    if "anchors" in known:
        yield from _anchor_violations(name, entry["anchors"])


def _anchor_violations(name: str, anchors: object) -> Iterator[Violation]:
    axis = FORMS[name].split()[2]
    example = f"give a list such as [{{ {axis} = {8192 if axis == 'bytes' else 16}, pj = 1.0 }}]"
    if not isinstance(anchors, list) or not anchors:
        yield f"{name}.anchors", f"found {anchors!r}", example
        return
    for index, anchor in enumerate(anchors):
        where = f"{name}.anchors[{index}]"
        if not isinstance(anchor, dict) or set(anchor) != {axis, "pj"}:
            yield where, f"found {anchor!r}", example
            return
        if not _is_energy(anchor["pj"]) or (name in ABOVE_ZERO and anchor["pj"] == 0):
            least = "above 0" if name in ABOVE_ZERO else "0 or more"
            yield f"{where}.pj", f"found {anchor['pj']!r}", f"give an energy in pJ, {least}"
        if not _is_positive(anchor[axis]):
            yield f"{where}.{axis}", f"found {anchor[axis]!r}", "give a whole number above 0"
            return
    for left, right in pairwise(anchors):
        if left[axis] >= right[axis]:
            yield f"{name}.anchors", f"found {right[axis]} after {left[axis]}", f"list them with ascending {axis}"


def _is_energy(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _is_positive(value: object) -> bool:
    return _is_energy(value) and value != 0


def _on_lines(points: list[tuple[float, float]], at: float) -> float:
    """The value at `at` on the straight lines through ascending (x, y) points, the outer lines continued."""
    if len(points) == 1:
        return points[0][1]
    segment = next((i for i, point in enumerate(points[1:-1], start=1) if at <= point[0]), len(points) - 1)
    (x0, y0), (x1, y1) = points[segment - 1], points[segment]
    return y0 + (y1 - y0) * ((at - x0) / (x1 - x0))
