"""The measured energies as a technology table for dtss-sim, what was not measured from another table."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from dtss.compiler.schedule.io import write_atomically
from dtss.rtl.characterize.measure import Characterization
from dtss.rtl.counts import run_dtss_sim
from dtss.rtl.generate import SCHEDULE

DIGITS = 6  # of a measured number
NOT_TAKEN = ("multiply", "float_multiply", "float_accumulate")
FIELDS = ("anchors", "pj", "uw", "per", "source", "confidence", "note")  # in the order of the shipped tables

Entry = dict[str, Any]


class Base(msgspec.Struct, frozen=True, kw_only=True):
    """Another table. entries: as dtss-sim reads them.  events: what they come to on the schedule's machine, in pJ."""

    name: str
    node_nm: float
    entries: dict[str, Entry]
    events: dict[str, float]


def read_base(name: str, folder: Path) -> Base:
    """By dtss-sim, which knows the shipped tables and refuses what is none."""
    printed = msgspec.json.decode(run_dtss_sim([str(folder / SCHEDULE), "--tech", name, "--print-tech"]))
    table, events = printed["table"], printed["events"]
    single = {kind: events[kind] for kind in ("accumulate", "gated_accumulate", "zero_check", "lif_update")}
    both = {f"accumulator_{way}": events[f"{way}_bit"]["accumulator_file"] for way in ("read", "write")}
    return Base(
        name=table["name"],
        node_nm=table["node_nm"],
        entries={key: entry for key, entry in table.items() if isinstance(entry, dict)},
        events=single | both,
    )


def write_table(path: Path, result: Characterization, base: Base, node_nm: float | None, folder: Path) -> None:
    """The table, once dtss-sim has read it."""
    content = table_text(path.stem, result, base, node_nm).encode()
    with tempfile.TemporaryDirectory() as name:
        trial = Path(name) / "table.toml"
        trial.write_bytes(content)
        run_dtss_sim([str(folder / SCHEDULE), "--tech", str(trial), "--print-tech"])
    write_atomically(path, content)


def table_text(name: str, result: Characterization, base: Base, node_nm: float | None) -> str:
    """TOML, the same for the same result."""
    node = base.node_nm if node_nm is None else node_nm
    head: dict[str, object] = {
        "name": name,
        "description": f"{result.library}, measured on {result.network}, {result.hardware}; the rest is {base.name}'s",
        "node_nm": node,
    }
    if node_nm is not None and node_nm == base.node_nm:
        head["voltage_v"] = result.voltage_v  # of two nodes and supplies nothing could be scaled
    lines = [
        "# Written by dtss-rtl characterize. Energies of a netlist before layout: no wires, no clock tree, one corner.",
        f"# {_not_in_table(result)}",
        *(f"{key} = {_value(value)}" for key, value in head.items()),
    ]
    for key, entry in entries(result, base).items():
        lines += ["", f"[{key}]", *(f"{field} = {_value(value)}" for field, value in entry.items())]
    return "\n".join(lines) + "\n"


def entries(result: Characterization, base: Base) -> dict[str, Entry]:
    """The measured ones, then what dtss-sim needs besides; no multiplications: no ratio mixes two libraries."""
    measured = {key: _rounded(entry) for key, entry in _measured(result)}
    others = (key for key in base.entries if key not in measured and key not in NOT_TAKEN)
    return measured | {key: _taken_over(base.entries[key], base.name) for key in others}


def _rounded(entry: Entry) -> Entry:
    def rounded(value: Any) -> Any:
        if isinstance(value, list):
            return [{key: rounded(each) for key, each in anchor.items()} for anchor in value]
        return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value

    return {field: rounded(value) for field, value in entry.items()}


def _taken_over(entry: Entry, name: str) -> Entry:
    fields = {field: entry[field] for field in FIELDS if entry.get(field, "") != ""}
    return fields | {"source": f"table {name}: {entry['source']}"}


def _measured(result: Characterization) -> Iterator[tuple[str, Entry]]:
    events, widths, sample = result.events, result.widths, result.sample
    source = {
        "source": f"measured: {result.library}, netlist by {result.tool} before layout, {sample.words} words and "
        f"{sample.updates} neuron updates of {sample.images} images of {result.network}",
        "confidence": "measured",
    }
    fit = f"least squares over {result.units[0].cycles} cycles, R² = {result.fit.r_squared:.2f}"
    array = f"{widths['weight']}-bit weights, sums of {widths['sum']} bits: no other width was measured"
    yield (
        "accumulate",
        {
            "anchors": [{"bits": widths["accumulator"], "pj": events.accumulate}],
            "per": "lane and channel whose spike bit is 1: AND gate, adder tree, register of the sum",
            **source,
            "note": f"{fit}; {array}; the addition to the accumulator is in accumulator_read and accumulator_write",
        },
    )
    yield (
        "gated_accumulate",
        {
            "pj": events.gated_accumulate,
            "per": "lane and channel of an issued word whose spike bit is 0",
            **source,
            "note": f"{fit}; in words without a spike {sample.silent_pj_per_lane:.4f} pJ are left of it",
        },
    )
    yield (
        "zero_check",
        {
            "pj": events.zero_check,
            "per": "bit that is looked at as its word enters the strip buffer: the OR, and the skipper's share",
            **source,
        },
    )
    yield (
        "lif_update",
        {
            "anchors": [{"bits": widths["membrane"], "pj": events.lif_update}],
            "per": "neuron and time step: shift, bias, leak, sum, comparison, reset",
            **source,
            "note": f"membranes of {widths['membrane']} bits: no other width was measured",
        },
    )
    file = (
        f"an addition takes {events.addition:.4g} pJ in a column, a read {events.walk_read:.4g}; the file is flip-flops"
    )
    for way, pj in (("read", events.accumulator_read), ("write", events.accumulator_write)):
        yield f"accumulator_{way}", {"pj": pj, "per": "bit", **source, "note": file}
    clock, gates = result.clock_uw / result.register_bits, "with" if result.clock_gates else "without"
    leakage = result.register_leakage_uw / result.register_bits
    yield (
        "register_leakage",
        {
            "uw": clock + leakage,
            "per": "register bit: the array's two weight banks, the accumulators",
            **source,
            "note": f"{leakage:.3g} of it leakage; the rest is the clock of the measured units at "
            f"{result.frequency_mhz:g} MHz, {gates} clock gates",
        },
    )
    yield (
        "lane_leakage",
        {
            "uw": result.logic_leakage_uw / result.lane_bits,
            "per": "weight bit of a lane: logic of the array, the accumulators and the neurons",
            **source,
        },
    )


def _not_in_table(result: Characterization) -> str:
    """What dtss-sim has no event for."""
    events, fit, sample = result.events, result.fit.coefficients_pj, result.sample
    loads = fit["loaded"] * sample.weights_loaded / result.units[0].energy_pj
    return (
        f"Not in it: loading a weight, {events.weight_load:.4g} pJ, {loads:.0%} of the array's energy in the sample, "
        f"and changing a column's bank, {events.bank_change:.4g} pJ."
    )


def _value(value: object) -> str:
    """In TOML."""
    match value:
        case bool() | int():
            return str(value).lower()
        case float():
            return repr(value)
        case str():
            return json.dumps(value, ensure_ascii=False)
        case list():
            return f"[{', '.join(map(_value, value))}]"
        case Mapping():
            return f"{{ {', '.join(f'{key} = {_value(each)}' for key, each in value.items())} }}"
        case _:
            raise AssertionError(f"{value!r} has no place in a technology table")
