"""The compiler, in order. Each line is one pass and why it is there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from dtss.compiler.emit import schedule_node, tensors_of
from dtss.compiler.graph.ir import Graph, average_active_steps, average_mask_steps
from dtss.compiler.memory_plan import plan_memory
from dtss.compiler.passes.assign_tiles import AssignTiles
from dtss.compiler.passes.base import Pass, Target
from dtss.compiler.passes.calibrate import Calibrate
from dtss.compiler.passes.eliminate_membrane_accesses import EliminateMembraneAccesses
from dtss.compiler.passes.fold_batch_norm import FoldBatchNorm
from dtss.compiler.passes.fold_preprocessing import FoldPreprocessing
from dtss.compiler.passes.hoist_constants import HoistConstants
from dtss.compiler.passes.manager import Observer, run_passes
from dtss.compiler.passes.prove_widths import ProveWidths
from dtss.compiler.passes.prune_time_steps import PruneTimeSteps
from dtss.compiler.passes.quantise import Quantise
from dtss.compiler.passes.reassociate_attention import ReassociateAttention
from dtss.compiler.schedule import io
from dtss.compiler.schedule.format import AverageTimeSteps, FloatReference, MemoryPlan, Output, Schedule, SideCar

PIPELINE: tuple[Pass, ...] = (
    FoldBatchNorm(),  # a product and its norm are one linear map: fewer operations, one scale
    FoldPreprocessing(),  # pixels enter as they are: unsigned bit planes, no multiplier
    ReassociateAttention(),  # Q·(Kᵀ·V) = (Q·Kᵀ)·V without softmax: take the one that streams fewer words
    Calibrate(),  # given images: weights round together, so that the currents change least
    PruneTimeSteps(),  # steps whose value is zero, or that nobody needs, are not run
    HoistConstants(),  # the direct-encoded image does not change: what it alone feeds runs once
    EliminateMembraneAccesses(),  # a membrane moves only between two live steps
    Quantise(),  # integers for weights, biases, thresholds; ties at the threshold stay ties
    ProveWidths(),  # bounds of every sum and membrane, so that nothing can overflow
    AssignTiles(),  # strips, tiles and time order for this array; LIF fused into the walk
)

NOT_YET = SideCar(file="", sha256="")
NO_PLAN = MemoryPlan(weight_bits=0, spike_peak_bits=0, current_peak_bits=0, membrane_bits=0, weights_resident=True)


@dataclass(frozen=True)
class Compiled:
    """A schedule with its tensors, and the graph it came from after the last pass."""

    schedule: Schedule
    tensors: dict[str, np.ndarray]
    graph: Graph

    def save(self, path: Path | str) -> Schedule:
        """Write schedule.json and its tensors beside it; gives the schedule bound to them."""
        return io.save(Path(path), self.schedule, self.tensors)


def optional_passes() -> tuple[str, ...]:
    """Names that `--no-NAME` accepts."""
    return tuple(step.name for step in PIPELINE if step.optional)


def compile_graph(
    graph: Graph,
    target: Target,
    *,
    disabled: frozenset[str] = frozenset(),
    observe: Observer = lambda name, graph: None,
    passes: tuple[Pass, ...] = PIPELINE,
    reference: FloatReference = FloatReference(trained_accuracy=None, sample_accuracy=None),  # noqa: B008 - frozen
) -> Compiled:
    """Run the passes and emit. The result's side-car is bound when it is saved."""
    graph = run_passes(graph, passes, target, disabled, observe)
    tensors = tensors_of(graph)
    schedule = Schedule(
        format="dtss-schedule/1",
        network=graph.network,
        time_steps=graph.time_steps,
        average_time_steps=AverageTimeSteps(masks=average_mask_steps(graph), pruned=average_active_steps(graph)),
        preprocess=graph.preprocess,
        output=Output(node=graph.output, scale=graph.output_scale, classes=graph.classes),
        memory=NO_PLAN,
        passes=tuple(step.name for step in passes if step.name not in disabled),
        reference=reference,
        hardware=target.hardware,
        tensors=NOT_YET,
        nodes=tuple(schedule_node(node) for node in graph.nodes),
    )
    planned = msgspec.structs.replace(schedule, memory=plan_memory(schedule, tensors))
    return Compiled(planned, tensors, graph)
