"""Technology tables: what one event costs, where the number comes from, and how far to trust it.

A table is a TOML file; each entry carries its energy in pJ, or its leakage in µW, what that is per, its source and its
confidence. Tables are never mixed: a run uses one, and its report names it.

    published    in the named source, as it stands
    derived      follows from published numbers
    measured     by `dtss-rtl characterize`, from a netlist that simulates real spikes
    quoted       in the named source according to another one, the source itself not seen
    scaled       another table's entry, no assumption, taken to this node and supply by hwsim/scaling.py
    assumption   nobody published it for this machine

A table with `scaled = "45nm"` takes every energy that it does not give itself from that table, scaled. DRAM and leakage
do not scale: it gives its own.
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
from dtss.hwsim.scaling import CITATION, VOLTAGES, covers, energy_ratio

Confidence = Literal["published", "derived", "measured", "quoted", "scaled", "assumption"]


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


class Leakage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A power that is drawn at all times, in µW."""

    uw: float
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
    scaled: str | None = None
    accumulate: WidthCurve
    gated_accumulate: Entry
    zero_check: Entry
    lif_update: WidthCurve
    accumulator_read: Entry
    accumulator_write: Entry
    sram_access: SizeCurve
    dram: Entry
    sram_leakage: Leakage
    register_leakage: Leakage
    lane_leakage: Leakage
    device_leakage: Leakage
    multiply: ProductCurve | None = None
    float_multiply: Entry | None = None
    float_accumulate: Entry | None = None

    @property
    def entries(self) -> dict[str, AnyEntry]:
        """The entries by name, in the order of the table; those it lacks are left out."""
        found = {name: getattr(self, name) for name in (*ENTRIES, *OPTIONAL_ENTRIES)}
        return {name: entry for name, entry in found.items() if entry is not None}


AnyEntry = Entry | Leakage | WidthCurve | SizeCurve | ProductCurve

ENTRIES = {
    "accumulate": "anchors of bits and pj",
    "gated_accumulate": "pj",
    "zero_check": "pj",
    "lif_update": "anchors of bits and pj",
    "accumulator_read": "pj",
    "accumulator_write": "pj",
    "sram_access": "anchors of bytes and pj",
    "dram": "pj",
    "sram_leakage": "uw",
    "register_leakage": "uw",
    "lane_leakage": "uw",
    "device_leakage": "uw",
}
OTHER_NAMES = {"28nm": "28nm-fpga"}  # of shipped tables
IN_MEMORY = ("32nm-imc",)  # tables of hwsim/in_memory.py

OPTIONAL_ENTRIES = {
    "multiply": "anchors of bits and pj",
    "float_multiply": "pj",
    "float_accumulate": "pj",
}
FORMS = ENTRIES | OPTIONAL_ENTRIES
SCALED = tuple(name for name, energy in FORMS.items() if energy != "uw" and name != "dram")
ABOVE_ZERO = ("sram_access", "multiply")  # their curves are drawn through logarithms

Violation = tuple[str, str, str]


def shipped_tables() -> dict[str, Path]:
    """The tables that come with the tool, by name."""
    folder = Path(str(resources.files("dtss.hwsim"))) / "tech"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load_technology(name_or_path: str) -> Technology:
    """A shipped table by name, or the user's TOML file by path."""
    path, table = _read(name_or_path)
    for entry, found, hint in _violations(table):
        raise BadInputError(f"{path}: {entry}", found, hint)
    table = _with_scaled_entries(path, table)
    for entry, found, hint in _entries_violations(table):
        raise BadInputError(f"{path}: {entry}", found, hint)
    try:
        return msgspec.convert(table, Technology)
    except msgspec.ValidationError as error:
        raise BadInputError(str(path), f"is not a technology table: {error}", _compare()) from None


def _read(name_or_path: str) -> tuple[Path, dict[str, Any]]:
    shipped = shipped_tables()
    if name_or_path in IN_MEMORY:
        raise BadInputError(
            name_or_path, "prices crossbars, not this machine's events", f"use --in-memory {name_or_path}"
        )
    path = shipped.get(OTHER_NAMES.get(name_or_path, name_or_path), Path(name_or_path))
    try:
        return path, tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        hint = f"give one of: {', '.join(shipped)}; or the path of a TOML file"
        raise BadInputError(name_or_path, f"cannot be read as a technology table ({error.strerror})", hint) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInputError(str(path), f"is not TOML: {error}", _compare()) from None


def _compare() -> str:
    return f"compare it with a shipped table: {', '.join(shipped_tables())}"


def _with_scaled_entries(path: Path, table: dict[str, Any]) -> dict[str, Any]:
    """The table with the energies it does not give, from the one it names."""
    if "scaled" not in table:
        return table
    name = table["scaled"]
    _, given = _read(name)
    if "scaled" in given:
        raise BadInputError(f"{path}: scaled", f"{name} is itself scaled, from {given['scaled']}", "name the original")
    base = load_technology(name)
    for of, node_nm, voltage_v in ((name, base.node_nm, base.voltage_v), (path, table["node_nm"], table["voltage_v"])):
        if voltage_v is None or not VOLTAGES[0] <= voltage_v <= VOLTAGES[1]:
            found = f"found voltage_v = {voltage_v} of {of}"
            raise BadInputError(f"{path}: scaled", found, f"the method holds from {VOLTAGES[0]} to {VOLTAGES[1]} V")
        if not covers(node_nm):
            found = f"found node_nm = {node_nm:g} of {of}"
            raise BadInputError(f"{path}: scaled", found, "the method holds from 130 to 22 and from 20 to 7 nm")
    assert base.voltage_v is not None
    ratio = energy_ratio(base.node_nm, base.voltage_v, table["node_nm"], table["voltage_v"])
    here, there = f"{base.node_nm:g} nm at {base.voltage_v:g} V", f"{table['node_nm']:g} nm at {table['voltage_v']:g} V"
    how = f"× {ratio:.4f}, {here} to {there}"
    scaled = (entry for entry in SCALED if entry in base.entries and entry not in table)
    computed = {entry: _times(base.entries[entry], ratio, how) for entry in scaled}
    return table | computed


def _times(entry: AnyEntry, ratio: float, how: str) -> dict[str, Any]:
    """An entry's fields, its energies multiplied; an assumption stays one."""
    fields: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(entry))
    for energy in (fields, *fields.get("anchors", ())):
        if "pj" in energy:
            energy["pj"] *= ratio
    fields["source"] += f"; {how} ({CITATION})"
    fields["note"] = "; ".join(filter(None, (f"{entry.confidence} before it was scaled", entry.note)))
    return fields | {"confidence": entry.confidence if entry.confidence == "assumption" else "scaled"}


def require_ann_entries(technology: Technology) -> None:
    """`BadInputError` naming the first entry that an ordinary network needs and the table lacks."""
    for name, energy in OPTIONAL_ENTRIES.items():
        if getattr(technology, name) is None:
            hint = f"add a table [{name}] with {energy}, per, source and confidence, or leave --compare out"
            raise BadInputError(f"{technology.name}: {name}", "is missing", hint)


def _violations(table: dict[str, Any]) -> Iterator[Violation]:
    known = ("name", "description", "node_nm", "voltage_v", "scaled", *FORMS)
    for name in table:
        if name not in known:
            yield name, "is no entry of a technology table", f"remove it, or use one of: {', '.join(known)}"
    for name in ("name", "description", "node_nm"):
        if name not in table:
            yield name, "is missing", "name the table, describe it and give its node in nm"
    for name in ("node_nm", "voltage_v"):
        if name in table and not _is_positive(table[name]):
            yield name, f"found {table[name]!r}", "give a number above 0"
    if "scaled" in table and not isinstance(table["scaled"], str):
        yield "scaled", f"found {table['scaled']!r}", "name the table whose energies are scaled"
    if "scaled" in table and "voltage_v" not in table:
        yield "voltage_v", "is missing", "energies cannot be scaled to an unknown supply"


def _entries_violations(table: dict[str, Any]) -> Iterator[Violation]:
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
    if "uw" in known and not _is_energy(entry["uw"]):
        yield f"{name}.uw", f"found {entry['uw']!r}", "give a power in µW, 0 or more"
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
