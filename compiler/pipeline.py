"""The compiler, in order. Each line is one pass and why it is there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from dtss.compiler.emit import NO_REFERENCE, emit_schedule, tensors_of
from dtss.compiler.graph.ir import Graph
from dtss.compiler.memory_plan import plan_memory
from dtss.compiler.passes.assign_tiles import AssignTiles
from dtss.compiler.passes.base import Pass, Target
from dtss.compiler.passes.calibrate import Calibrate
from dtss.compiler.passes.compose_linear_maps import ComposeLinearMaps
from dtss.compiler.passes.eliminate_membrane_accesses import EliminateMembraneAccesses
from dtss.compiler.passes.fold_batch_norm import FoldBatchNorm
from dtss.compiler.passes.fold_preprocessing import FoldPreprocessing
from dtss.compiler.passes.hoist_constants import HoistConstants
from dtss.compiler.passes.lower_attention import LowerAttention
from dtss.compiler.passes.manager import Observer, PassResults, run_passes
from dtss.compiler.passes.prove_widths import ProveWidths
from dtss.compiler.passes.prune_time_steps import PruneTimeSteps
from dtss.compiler.passes.quantise import Quantise
from dtss.compiler.passes.reassociate_attention import ReassociateAttention
from dtss.compiler.passes.tune_tiles import TuneTiles
from dtss.compiler.schedule import io
from dtss.compiler.schedule.format import FloatReference, Schedule

PIPELINE: tuple[Pass, ...] = (
    FoldBatchNorm(),  # a product and its norm are one linear map: fewer operations, one scale
    ComposeLinearMaps(),  # a head on a residual of currents moves onto the spikes: products read unsigned values only
    FoldPreprocessing(),  # pixels enter as they are: unsigned bit planes, no multiplier
    LowerAttention(),  # two products, the array computes one at a time
    Calibrate(),  # given images: weights round together, so that the currents change least
    PruneTimeSteps(),  # steps whose value is zero, or that nobody needs, are not run
    HoistConstants(),  # the direct-encoded image does not change: what it alone feeds runs once
    EliminateMembraneAccesses(),  # a membrane moves only between two live steps
    Quantise(),  # integers for weights, biases, thresholds; ties at the threshold stay ties
    ProveWidths(),  # bounds of every sum and membrane, so that nothing can overflow
    ReassociateAttention(),  # Q·(Kᵀ·V) = (Q·Kᵀ)·V without softmax: the one that costs less, now that widths are known
    AssignTiles(),  # strips, tiles and time order for this array, by a simple rule; LIF fused into the walk
    TuneTiles(),  # of all strips and time orders the one that costs least
)


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
    reference: FloatReference = NO_REFERENCE,
    results: PassResults | None = None,
) -> Compiled:
    """Run the passes and emit. The result's side-car is bound when it is saved; `results` as in run_passes."""
    graph = run_passes(graph, passes, target, disabled, observe, results)
    tensors = tensors_of(graph)
    schedule = msgspec.structs.replace(
        emit_schedule(graph, target.hardware),
        passes=tuple(step.name for step in passes if step.name not in disabled),
        reference=reference,
    )
    planned = msgspec.structs.replace(schedule, memory=plan_memory(schedule, tensors))
    return Compiled(planned, tensors, graph)
