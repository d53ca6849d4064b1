"""The trained network and its rounded copy, side by side on the calibration images, node by node."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from dtss.compiler.graph.float_module import FloatModule, Values
from dtss.compiler.graph.ir import Convolution, Graph, Linear, Node
from dtss.compiler.passes.rounding import Matrix

IMAGES_AT_ONCE = 16  # whose windows lie in memory together


class CalibrationRun:
    """`finish` every node in order; before a product is finished, `gram` tells of its inputs in the copy."""

    def __init__(self, graph: Graph, pixels: NDArray[np.unsignedinteger[Any]]) -> None:
        self.graph = graph
        self.images = torch.from_numpy(pixels.astype(np.float32)).permute(0, 3, 1, 2)
        self.trained, self.rounded = FloatModule(graph).eval(), FloatModule(graph).eval()
        self.trained_values: Values = {}
        self.rounded_values: Values = {}
        self.last_reader = {name: node.name for node in graph.nodes for name in node.inputs}

    @torch.no_grad()
    def gram(self, node: Node) -> Matrix:
        """mean(x·xᵀ) [K, K] over images, positions and computed steps; x lies as a weight's row: (row, column, C)."""
        columns = math.prod(_weighted(node).weight.shape[1:])
        total, count = torch.zeros(columns, columns, dtype=torch.float64), 0
        for step in node.steps.active:
            value = self.rounded.padded(node, self.rounded.input_at(node, 0, step, self.rounded_values))
            for images in value.split(IMAGES_AT_ONCE):
                windows = _windows(node, images)
                total += windows.T @ windows
                count += len(windows)
        mean: Matrix = (total / count).numpy()
        return mean

    @torch.no_grad()
    def finish(self, node: Node) -> None:
        """Runs the node in both networks."""
        self.trained.run_node(node, self.trained_values, self.images)
        self.rounded.run_node(node, self.rounded_values, self.images)
        self._forget(node)

    @torch.no_grad()
    def finish_product(self, node: Node, weight: Matrix) -> Convolution | Linear:
        """Runs a product, in the copy with this weight; its bias there keeps the mean current of each channel."""
        rounded = replace(_weighted(node), weight=weight)
        self.trained.run_node(node, self.trained_values, self.images)
        self._run_rounded(replace(node, op=rounded))
        if rounded.bias is not None:
            shift = self._mean(node, self.trained_values) - self._mean(node, self.rounded_values)
            rounded = replace(rounded, bias=rounded.bias + shift)
            self._run_rounded(replace(node, op=rounded))
        self._forget(node)
        return rounded

    def _run_rounded(self, node: Node) -> None:
        self.rounded.set_weights(node)
        self.rounded.run_node(node, self.rounded_values, self.images)

    def _mean(self, node: Node, values: Values) -> Matrix:
        means = [values[node.name, step].double().mean((0, 2, 3)) for step in node.steps.active]
        mean: Matrix = torch.stack(means).mean(0).numpy()
        return mean

    def _forget(self, node: Node) -> None:
        finished = {name for name in node.inputs if self.last_reader[name] == node.name} - {self.graph.nodes[0].name}
        for values in (self.trained_values, self.rounded_values):
            for key in [key for key in values if key[0] in finished]:
                del values[key]


def _weighted(node: Node) -> Convolution | Linear:
    assert isinstance(node.op, Convolution | Linear)
    return node.op


def _windows(node: Node, value: Tensor) -> Tensor:
    """[positions, K]: what each output position reads."""
    op = _weighted(node)
    if isinstance(op, Linear):
        return value.flatten(2).transpose(1, 2).flatten(0, 1)
    _, rows, columns, channels = op.weight.shape
    windows: Tensor = functional.unfold(value, (rows, columns), stride=op.stride)  # [B, C·rows·columns, positions]
    by_row = windows.unflatten(1, (channels, rows * columns)).permute(0, 3, 2, 1)
    flat: Tensor = by_row.reshape(-1, rows * columns * channels)
    return flat
