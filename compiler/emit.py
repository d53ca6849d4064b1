"""From the finished graph to the schedule's own structs and the tensors of its side-car."""

from __future__ import annotations

from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from dtss.compiler.graph import ir
from dtss.compiler.graph.ir import Graph, IntegerNeuron, Node, average_active_steps, average_mask_steps
from dtss.compiler.schedule import format as schedule_format
from dtss.compiler.schedule.format import (
    AnyNode,
    AverageTimeSteps,
    FloatReference,
    MemoryPlan,
    MemoryUse,
    Output,
    Schedule,
    SideCar,
    Value,
)
from dtss.compiler.schedule.hardware import Hardware

UNBOUNDED = Value(low=0, high=0)
NOT_YET = SideCar(file="", sha256="")
NO_USE = MemoryUse(row_bits=1, needed_rows=0, used_rows=0, capacity_rows=0)
NO_PLAN = MemoryPlan(
    weight_bits=0, weights_resident=True, weight=NO_USE, parameter=NO_USE, strip=NO_USE,
    stationary=NO_USE, spike=NO_USE, current=NO_USE, membrane=NO_USE, image=NO_USE,
    regions=(),
)  # fmt: skip
NO_REFERENCE = FloatReference(trained_accuracy=None, sample_accuracy=None)


def emit_schedule(graph: Graph, hardware: Hardware) -> Schedule:
    """The graph as a schedule: without a memory plan, and not yet bound to its side-car."""
    return Schedule(
        format="dtss-schedule/1",
        network=graph.network,
        time_steps=graph.time_steps,
        average_time_steps=AverageTimeSteps(masks=average_mask_steps(graph), pruned=average_active_steps(graph)),
        preprocess=graph.preprocess,
        output=Output(node=graph.output, scale=graph.output_scale, classes=graph.classes),
        memory=NO_PLAN,
        passes=(),
        reference=NO_REFERENCE,
        hardware=hardware,
        tensors=NOT_YET,
        nodes=tuple(schedule_node(node) for node in graph.nodes),
    )


def schedule_node(node: Node) -> AnyNode:
    """One node as the schedule writes it; tensors are named after it."""
    name, inputs, shape, steps = node.name, node.inputs, node.shape, node.steps
    value = node.value or UNBOUNDED
    match node.op:
        case ir.Image():
            return schedule_format.Image(name=name, inputs=inputs, shape=shape, value=value, steps=steps)
        case ir.Convolution():
            return schedule_format.Convolution(
                name=name, inputs=inputs, shape=shape, value=value, steps=steps,
                weight=f"{name}.weight", weight_bits=node.op.weight_bits,
                bias=None if node.op.bias is None else f"{name}.bias",
                current_shift=node.op.current_shift,
                kernel=(node.op.weight.shape[1], node.op.weight.shape[2]),
                stride=node.op.stride, padding=node.op.padding,
                pad_value=None if node.op.pad_value is None else f"{name}.pad_value",
                neuron=node.neuron, tiling=node.tiling,
            )  # fmt: skip
        case ir.Linear():
            return schedule_format.Linear(
                name=name, inputs=inputs, shape=shape, value=value, steps=steps,
                weight=f"{name}.weight", weight_bits=node.op.weight_bits,
                bias=None if node.op.bias is None else f"{name}.bias",
                current_shift=node.op.current_shift, neuron=node.neuron, tiling=node.tiling,
            )  # fmt: skip
        case ir.AttentionProduct():
            return schedule_format.AttentionProduct(
                name=name, inputs=inputs, shape=shape, value=value, steps=steps,
                stage=node.op.stage, heads=node.op.heads, current_shift=node.op.current_shift,
                neuron=node.neuron, tiling=node.tiling,
            )  # fmt: skip
        case ir.Lif():
            return _schedule_lif(node, node.op, value)
        case ir.Integrator():
            assert not isinstance(node.op.leak, float)
            return schedule_format.Integrator(
                name=name, inputs=inputs, shape=shape, value=value, steps=steps, leak=node.op.leak
            )
        case ir.Add():
            return schedule_format.Add(name=name, inputs=inputs, shape=shape, value=value, steps=steps)
        case ir.MaxPool():
            return schedule_format.MaxPool(
                name=name, inputs=inputs, shape=shape, value=value, steps=steps,
                kernel=node.op.kernel, stride=node.op.stride, padding=node.op.padding,
            )  # fmt: skip
        case ir.SumPool():
            return schedule_format.SumPool(
                name=name, inputs=inputs, shape=shape, value=value, steps=steps,
                kernel=node.op.kernel, stride=node.op.stride, padding=node.op.padding,
            )  # fmt: skip
        case ir.TokenSum():
            return schedule_format.TokenSum(name=name, inputs=inputs, shape=shape, value=value, steps=steps)
        case ir.BatchNorm() | ir.Attention():
            raise AssertionError(f"{name}: {node.op} was to be lowered before")
        case _:
            assert_never(node.op)


def _schedule_lif(node: Node, lif: ir.Lif, value: Value) -> schedule_format.Lif:
    assert isinstance(lif.neuron, IntegerNeuron) and node.state is not None
    return schedule_format.Lif(
        name=node.name, inputs=node.inputs, shape=node.shape, value=value, steps=node.steps,
        group=lif.group, time_order=node.state.time_order, leak=lif.neuron.leak, reset=lif.neuron.reset,
        threshold=f"{node.name}.threshold", reset_to=f"{node.name}.reset_to", initial=f"{node.name}.initial",
        mask_steps=lif.mask_steps, state_steps=node.state.state_steps,
        membrane_reads=node.state.membrane_reads, membrane_writes=node.state.membrane_writes,
        membrane=node.membrane or UNBOUNDED,
    )  # fmt: skip


def tensors_of(graph: Graph) -> dict[str, NDArray[np.generic]]:
    """Weights, biases, pad values and neuron parameters by the names that `schedule_node` gives them."""
    tensors: dict[str, NDArray[np.generic]] = {}
    for node in graph.nodes:
        match node.op:
            case ir.Convolution() | ir.Linear():
                tensors[f"{node.name}.weight"] = _narrow(node.op.weight)
                if node.op.bias is not None:
                    tensors[f"{node.name}.bias"] = _narrow(node.op.bias)
                if isinstance(node.op, ir.Convolution) and node.op.pad_value is not None:
                    tensors[f"{node.name}.pad_value"] = _narrow(node.op.pad_value)
            case ir.Lif(neuron=IntegerNeuron() as neuron):
                for field in ("threshold", "reset_to", "initial"):
                    tensors[f"{node.name}.{field}"] = _narrow(getattr(neuron, field))
            case _:
                pass
    return tensors


def _narrow(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """The narrowest signed integer type that holds the values."""
    for kind in (np.int8, np.int16, np.int32):
        limits = np.iinfo(kind)
        if values.size == 0 or (values.min() >= limits.min and values.max() <= limits.max):
            return values.astype(kind)
    return values.astype(np.int64)
