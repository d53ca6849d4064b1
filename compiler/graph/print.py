"""A graph as text, one line a node, the same bytes for the same graph."""

from __future__ import annotations

from dtss.compiler.graph.ir import (
    Add,
    Attention,
    AttentionProduct,
    BatchNorm,
    Convolution,
    FloatNeuron,
    Graph,
    Image,
    Integrator,
    Lif,
    Linear,
    MaxPool,
    Node,
    Op,
    SumPool,
    TokenSum,
)
from dtss.compiler.schedule.format import Steps

PLAIN: dict[type[Op], str] = {Image: "image", BatchNorm: "batch_norm", Add: "add", TokenSum: "token_sum"}
MARKS = {"active": "#", "bias_only": "b", "reused": "r", "zero": "0", "dead": "x"}


def print_graph(graph: Graph) -> str:
    """The dump of a pass: steps as one mark each (# computed, b bias only, r reused, 0 zero, x dead)."""
    lines = [f"{graph.network}: {graph.time_steps} time steps"]
    lines += [_line(graph, node) for node in graph.nodes]
    return "\n".join([*lines, f"output {graph.output} x {graph.output_scale:.6g}"]) + "\n"


def step_marks(steps: Steps, time_steps: int) -> str:
    """One mark per step."""
    kind = {step: MARKS[name] for name in MARKS for step in getattr(steps, name)}
    return "".join(kind.get(step, ".") for step in range(time_steps))


def _line(graph: Graph, node: Node) -> str:
    parts = [
        f"  {step_marks(node.steps, graph.time_steps)} {node.name} = {describe(node.op)}({', '.join(node.inputs)})",
        "×".join(map(str, node.shape)),
    ]
    if node.state is not None:
        parts.append(f"state {_list(node.state.state_steps)}")
        parts.append(f"membrane read {_list(node.state.membrane_reads)} write {_list(node.state.membrane_writes)}")
    if node.value is not None:
        parts.append(f"{node.value.low}…{node.value.high}")
    if node.membrane is not None:
        parts.append(f"membrane {node.membrane.low}…{node.membrane.high}")
    if node.tiling is not None:
        tiling = node.tiling
        parts.append(
            f"{tiling.time_order}, {tiling.strips} strips × {tiling.output_tiles} × {tiling.reduction_tiles} tiles"
        )
    return ", ".join(parts)


def _list(steps: tuple[int, ...]) -> str:
    return "{" + " ".join(map(str, steps)) + "}"


def describe(op: Op) -> str:
    """An operation with its attributes, weights by type only."""
    match op:
        case Convolution():
            kernel = f"{op.weight.shape[1]}x{op.weight.shape[2]}"
            return f"conv[{kernel} stride {op.stride} pad {op.padding} {_weights(op)} shift {op.current_shift}]"
        case Linear():
            return f"linear[{_weights(op)} shift {op.current_shift}]"
        case Attention():
            return f"attention[{op.heads} heads × {op.scale:.6g}]"
        case AttentionProduct():
            return f"{op.stage}[{op.heads} heads × {op.scale:.6g} shift {op.current_shift}]"
        case Lif(neuron=FloatNeuron() as neuron):
            parts = f"λ={neuron.leak:.6g} g={neuron.gain:.6g} H{neuron.comparison}{neuron.threshold:.6g} {neuron.reset}"
            if neuron.reset_amount is not None:
                parts += f" by {neuron.reset_amount:.6g}"
            return f"lif[{op.group} {parts} mask {_list(op.mask_steps)}]"
        case Lif():
            return f"lif[{op.group} integer {op.neuron.leak} {op.neuron.reset} mask {_list(op.mask_steps)}]"
        case MaxPool():
            return f"max_pool[{op.kernel}/{op.stride} pad {op.padding}]"
        case Integrator():
            return f"integrator[{op.leak:.6g}]" if isinstance(op.leak, float) else f"integrator[{op.leak}]"
        case SumPool():
            return f"sum_pool[{op.kernel[0]}x{op.kernel[1]}/{op.stride} pad {op.padding}]"
        case Image() | BatchNorm() | Add() | TokenSum():
            return PLAIN[type(op)]


def _weights(op: Convolution | Linear) -> str:
    if op.weight_bits:
        return f"{op.weight_bits}-bit"
    return f"{op.weight.dtype}{' calibrated' if op.lsb is not None else ''}"
