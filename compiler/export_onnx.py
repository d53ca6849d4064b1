"""The float network with frozen masks as ONNX, for other tools."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import torch

from dtss.compiler.graph.float_module import FloatModule
from dtss.compiler.graph.ir import Graph
from dtss.compiler.passes.base import Pass, Target
from dtss.compiler.passes.hoist_constants import HoistConstants
from dtss.compiler.passes.lower_attention import LowerAttention
from dtss.compiler.passes.manager import run_passes
from dtss.compiler.passes.prune_time_steps import PruneTimeSteps
from dtss.compiler.schedule.io import write_atomically

OPSET = 18
FLOAT_PIPELINE: tuple[Pass, ...] = (LowerAttention(), PruneTimeSteps(), HoistConstants())


def export_onnx(graph: Graph, target: Target, path: Path) -> None:
    """Write `exported`."""
    write_atomically(path, exported(graph, target))


def exported(graph: Graph, target: Target) -> bytes:
    """A model images [batch, C, H, W] → logits [batch, K], logits_per_step [T, batch, K].

    Time is unrolled and skipped steps are absent. Batch norms stay, so that the float arithmetic is the
    trained network's own.
    """
    return onnx_bytes(run_passes(graph, FLOAT_PIPELINE, target))


def onnx_bytes(graph: Graph) -> bytes:
    """The serialised model of a float graph."""
    height, width, channels = graph.nodes[0].shape
    module = FloatModule(graph).eval()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=".*LeafSpec.*", category=FutureWarning
        )  # torch's own, in its exporter
        program = torch.onnx.export(
            module,
            (torch.zeros(2, channels, height, width),),
            dynamo=True,
            opset_version=OPSET,
            external_data=False,
            input_names=["images"],
            output_names=["logits", "logits_per_step"],
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
            optimize=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    for node in model.graph.node:
        del node.metadata_props[:]  # the exporter's stack traces, which name files of this machine
    content: bytes = model.SerializeToString(deterministic=True)
    return content
