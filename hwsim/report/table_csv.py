"""The layers as CSV: one row for each node of the schedule, every count and every kind of energy in a column."""

from __future__ import annotations

import csv
import io

from dtss.compiler.schedule.cycles import Counts
from dtss.compiler.schedule.dram import DramCounts
from dtss.hwsim.energy import EnergyByKind
from dtss.hwsim.report.layers import firing_rate, states
from dtss.hwsim.simulate import NodeResult, Result

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
)


def encode_csv(result: Result) -> bytes:
    """Counts are sums over the images, energies means of an image; lists are separated by spaces."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_row(result, node) for node in result.nodes)
    return file.getvalue().encode()


def _row(result: Result, node: NodeResult) -> tuple[str | int | float, ...]:
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
        "" if node.spikes is None else " ".join(map(str, node.spikes.sum(axis=0).tolist())),
    )
