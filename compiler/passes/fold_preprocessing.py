"""The image enters as its pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from dtss.compiler.errors import CompileError
from dtss.compiler.graph.ir import Convolution, Graph, Image, Linear, Node
from dtss.compiler.graph.verify import Stage
from dtss.compiler.passes.base import PassBase, Target
from dtss.compiler.schedule.format import Preprocess


@dataclass(frozen=True)
class FoldPreprocessing(PassBase):
    """x = (p·pixel_scale − mean)/std moves into the product that reads the image, so that it streams pixels p.

    Zero padding of x is padding of p with round(mean/pixel_scale); the bias uses the exact mean.
    """

    name: ClassVar[str] = "fold-preprocessing"
    requires: ClassVar[frozenset[Stage]] = frozenset({Stage.FLOAT, Stage.NORMALISED})
    ensures: ClassVar[frozenset[Stage]] = frozenset({Stage.PIXELS})

    def run(self, graph: Graph, target: Target) -> Graph:
        image = graph.nodes[0]
        assert isinstance(image.op, Image)
        return graph.map_nodes({node.name: _fold_into(node, graph.preprocess) for node in graph.consumers(image.name)})


def _fold_into(node: Node, preprocess: Preprocess) -> Node:
    if not isinstance(node.op, Convolution | Linear):
        raise CompileError(node.name, "reads the image, but is no convolution or linear layer", "put one before it")
    mean, std = np.array(preprocess.mean), np.array(preprocess.std)
    offset = -(node.op.weight * (mean / std)).reshape(len(node.op.weight), -1).sum(1)
    bias = offset if node.op.bias is None else node.op.bias + offset
    weight = node.op.weight * (preprocess.pixel_scale / std)
    if isinstance(node.op, Linear):
        return replace(node, op=replace(node.op, weight=weight, bias=bias))
    pad = np.rint(mean / preprocess.pixel_scale).astype(np.int64)
    if node.op.padding and not 0 <= pad.min() <= pad.max() <= preprocess.pixel_max:
        raise CompileError(
            node.name,
            f"zero padding of the normalised image is pixel {pad.tolist()}, and pixels are 0 to {preprocess.pixel_max}",
            "use a mean within the range of the pixels, or no padding",
        )
    return replace(node, op=replace(node.op, weight=weight, bias=bias, pad_value=pad))
