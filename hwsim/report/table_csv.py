"""The layers as CSV: one row for each node of the schedule, every count and every kind of energy in a column."""

from __future__ import annotations

import csv
import io

import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.cycles import Counts
from dtss.compiler.schedule.dram import DramCounts
from dtss.hwsim.energy import EnergyByKind
from dtss.hwsim.report.layers import firing_rate, states
from dtss.hwsim.result import NodeResult, Result
from dtss.hwsim.step_counts import STEP_COUNTS, SharedCycles

COLUMNS = (
    "name",
    "kind",
    "group",
    "neuron",
    "shape",
    "steps",
    "images",
    *Counts.__struct_fields__,
    *(f"dram_{name}" if name == "stall_cycles" else name for name in DramCounts.__struct_fields__),
    *(f"{kind}_pj_per_image" for kind in EnergyByKind.__struct_fields__),
    "firing_rate",
    "spikes_per_step",
    *(f"{name}_per_step" for name in STEP_COUNTS),
    *(f"shared_{name}_cycles" for name in SharedCycles.__struct_fields__),
)


def encode_csv(result: Result) -> bytes:
    """Counts are sums over the images, energies means of an image; lists are separated by spaces."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_row(result, node) for node in result.nodes)
    return file.getvalue().encode()


def _row(result: Result, node: NodeResult) -> tuple[str | int | float, ...]:
    shared = node.shared_cycles
    rate = firing_rate(node, result.schedule.time_steps)
    return (
        node.name,
        node.kind,
        node.group or "",
        node.neuron or "",
        " ".join(map(str, node.node.shape)),
        " ".join(states(node.node.steps, result.schedule.time_steps)),
        result.images,
        *(int(getattr(node.counts, name).sum()) for name in Counts.__struct_fields__),
        *(int(getattr(node.dram, name).sum()) for name in DramCounts.__struct_fields__),
        *(float(getattr(node.energy_pj, kind).mean()) for kind in EnergyByKind.__struct_fields__),
        "" if rate is None else rate,
        "" if node.spikes is None else _list(node.spikes),
        *("" if node.by_step is None else _list(getattr(node.by_step, name)) for name in STEP_COUNTS),
        *("" if shared is None else int(getattr(shared, name).sum()) for name in SharedCycles.__struct_fields__),
    )


def _list(by_step: NDArray[np.int64]) -> str:
    """[B, T]: sums over the images."""
    return " ".join(map(str, by_step.sum(axis=0).tolist()))
