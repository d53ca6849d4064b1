"""What pruning saves: the same network on the same machine and images, with every step of every layer run.

Unpruned, each product and elementwise operation runs at all T steps, each membrane is updated, read and written at
all of them, and a mask only keeps spikes at zero. The logits are the same, which is checked.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from dtss.compiler.schedule.errors import BadInputError
from dtss.compiler.schedule.format import AnyNode, Image, Lif, Product, Schedule, Steps, Value
from dtss.compiler.schedule.geometry import group_positions
from dtss.compiler.schedule.io import LoadedSchedule
from dtss.hwsim.reshape import with_steps
from dtss.hwsim.result import Result
from dtss.hwsim.simulate import Progress, simulate

ANY_MEMBRANE = Value(low=-(1 << 40), high=1 << 40)  # what is not updated when pruned has no proved bounds


class Saving(msgspec.Struct, frozen=True, kw_only=True):
    """One quantity of an image, mean over the images."""

    quantity: str
    unpruned: float
    pruned: float

    @property
    def share(self) -> float:
        """Of the unpruned quantity, what is saved; 0 where there was none."""
        return 1 - self.pruned / self.unpruned if self.unpruned else 0.0


def savings(
    loaded: LoadedSchedule, result: Result, progress: Progress = lambda done, whole: None
) -> tuple[Saving, ...]:
    """Simulates the unpruned schedule on the images of `result`."""
    whole = LoadedSchedule(unpruned(loaded.schedule), loaded.tensors)
    everything = simulate(whole, result.samples, result.technology, progress)
    if not np.array_equal(everything.logits_per_step, result.logits_per_step):
        raise BadInputError(
            loaded.schedule.network,
            "its logits change when no step is pruned",
            "recompile; if the file was not edited, report it as a bug of the compiler",
        )
    pairs = zip(_quantities(everything), _quantities(result), strict=True)
    return tuple(Saving(quantity=name, unpruned=before, pruned=after) for (name, before), (_, after) in pairs)


def _quantities(result: Result) -> tuple[tuple[str, float], ...]:
    membranes = result.sum_of("membrane_row_reads") + result.sum_of("membrane_row_writes")
    computed = sum(len(node.node.steps.active) for node in result.nodes if not isinstance(node.node, Image | Lif))
    return (
        ("time steps of operations", float(computed)),
        ("neuron updates", float(result.sum_of("lif_updates").mean())),
        ("membrane rows read or written", float(membranes.mean())),
        ("accumulates", float(result.sum_of("accumulates").mean())),
        ("weight rows read", float(result.sum_of("weight_row_reads").mean())),
        ("cycles", float(result.cycles.mean())),
        ("energy pJ", float(result.energy_pj.mean())),
    )


def unpruned(schedule: Schedule) -> Schedule:
    """The schedule with every step of every node run, whether or not the memories could hold that."""
    whole = with_steps(schedule, schedule.time_steps, lambda node: _whole_steps(schedule, node))
    return msgspec.structs.replace(whole, nodes=tuple(_made_to_fit(whole, node) for node in whole.nodes))


def _whole_steps(schedule: Schedule, node: AnyNode) -> Steps:
    """The image enters once, and a mask keeps spikes at zero."""
    every = tuple(range(schedule.time_steps))
    if isinstance(node, Image):
        return node.steps
    if isinstance(node, Lif):
        return Steps(active=node.mask_steps, zero=tuple(step for step in every if step not in node.mask_steps))
    return Steps(active=every)


def _made_to_fit(schedule: Schedule, node: AnyNode) -> AnyNode:
    if isinstance(node, Lif):
        return msgspec.structs.replace(node, membrane=ANY_MEMBRANE)
    return _cut_shorter(schedule, node) if isinstance(node, Product) else node


def _cut_shorter(schedule: Schedule, node: Product) -> Product:
    """Strips as long as the accumulators allow with a slot for each step, and no longer than they were."""
    assert node.tiling is not None
    steps = schedule.time_steps
    longest = schedule.hardware.array.strip_slots // (steps if node.tiling.time_order == "inner" else 1)
    positions = min(node.tiling.positions_per_strip, longest)
    if positions < 1:
        raise BadInputError(
            node.name,
            f"{steps} time steps do not fit the {schedule.hardware.array.strip_slots} accumulator slots unpruned",
            "leave --savings out",
        )
    strips = math.ceil(group_positions(node) / positions)
    tiling = msgspec.structs.replace(node.tiling, positions_per_strip=positions, strips=strips)
    return msgspec.structs.replace(node, tiling=tiling)
