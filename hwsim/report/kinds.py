"""Kinds of energy as stacked bars draw them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dtss.hwsim.energy import EnergyByKind
from dtss.hwsim.report import quantities

KIND_NAMES = {
    "accumulate": "accumulates",
    "gated_accumulate": "gated lanes",
    "zero_check": "zero checks",
    "lif_update": "neuron updates",
    "weight_memory": "weight memory",
    "parameter_memory": "parameters",
    "stationary_memory": "stationary memory",
    "strip_memory": "strip buffer",
    "spike_memory": "spike memory",
    "image_memory": "image memory",
    "accumulator_file": "accumulators",
    "membrane_memory": "membrane memory",
    "current_memory": "current memory",
    "dram": "DRAM",
    "leakage": "leakage",
}


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of energy in a stacked bar; `width` in percent of the longest bar."""

    kind: str
    label: str
    energy_pj: float
    text: str
    share: str
    width: float


def segments(energies: Mapping[str, float], longest: float, whole: float) -> tuple[Segment, ...]:
    """Kinds that take energy, in the order of `EnergyByKind`."""
    return tuple(
        Segment(
            kind=kind,
            label=KIND_NAMES[kind],
            energy_pj=energies[kind],
            text=quantities.energy(energies[kind]),
            share=quantities.share(energies[kind] / whole),
            width=round(100 * energies[kind] / longest, 3),
        )
        for kind in EnergyByKind.__struct_fields__
        if energies[kind] > 0
    )
