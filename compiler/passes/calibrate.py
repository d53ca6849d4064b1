"""Weights, scales and biases chosen so that the integers change the currents least on given images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from dtss.compiler.graph.ir import Convolution, Graph, Linear, Node
from dtss.compiler.graph.verify import Stage
from dtss.compiler.passes.base import PassBase, Target
from dtss.compiler.passes.hoist_constants import HoistConstants
from dtss.compiler.passes.prune_time_steps import PruneTimeSteps
from dtss.compiler.passes.quantise import current_nets, holds_output, largest_integer, products_of, weight_lsbs
from dtss.compiler.passes.rounding import best_lsb, rounded_together


@dataclass(frozen=True)
class Calibrate(PassBase):
    """Layer by layer, on the inputs that the rounded layers before it give.

    The weights become integers times their LSB, so that `quantise` finds nothing left to round; a bias takes up what
    is left of the change of a channel's mean current. Without calibration images nothing changes.

    Only steps count that pruning will leave, whether it is left out of this compilation or not: no switch of another
    pass may change an integer.
    """

    name: ClassVar[str] = "calibrate"
    requires: ClassVar[frozenset[Stage]] = frozenset({Stage.FLOAT, Stage.NORMALISED, Stage.LOWERED, Stage.PIXELS})
    optional: ClassVar[bool] = True
    keeps_integers: ClassVar[bool] = False

    def run(self, graph: Graph, target: Target) -> Graph:
        if target.calibration is None:
            return graph
        from dtss.compiler.passes.calibration_run import CalibrationRun  # noqa: PLC0415 - torch loads only here

        measured = HoistConstants().run(PruneTimeSteps().run(graph, target), target)
        run = CalibrationRun(measured, target.calibration)
        lsbs = weight_lsbs(graph, target)
        nets = current_nets(graph)
        alone = {products[0].name for products in map(products_of, nets) if len(products) == 1}
        of_output = {node.name for net in nets if holds_output(graph, net) for node in net}
        changed: dict[str, Node] = {}
        for node in measured.nodes:
            if isinstance(node.op, Convolution | Linear) and node.steps.active:
                gram = run.gram(node)
                weight = np.asarray(node.op.weight, np.float64).reshape(node.channels, -1)
                lsb, largest = lsbs[node.name], largest_integer(target, node.name)
                if node.name in alone:
                    lsb = best_lsb(weight, lsb, largest, gram, shared=node.name in of_output)
                rounded = rounded_together(weight, lsb, largest, gram) * lsb[:, None]
                op = run.finish_product(node, rounded.reshape(node.op.weight.shape))
                changed[node.name] = replace(graph.node(node.name), op=replace(op, lsb=lsb))
            else:
                run.finish(node)
        return graph.map_nodes(changed)
