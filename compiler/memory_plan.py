"""On-chip memory by liveness: what is in use at the same time, against the hardware's capacities."""

from __future__ import annotations

from collections.abc import Callable

from dtss.compiler.errors import CompileError
from dtss.compiler.schedule.format import (
    AnyNode,
    Convolution,
    Image,
    Integrator,
    Lif,
    Linear,
    MemoryPlan,
    Product,
    Schedule,
)
from dtss.compiler.schedule.hardware import Memory
from dtss.compiler.schedule.interpret import Tensors


def plan_memory(schedule: Schedule, tensors: Tensors) -> MemoryPlan:
    """Sum of weights and membranes, peak of spikes and currents; refuses what cannot be tiled away."""
    weights = weight_bits(schedule, tensors)
    plan = MemoryPlan(
        weight_bits=weights,
        spike_peak_bits=peak_bits(
            schedule, lambda node: not (isinstance(node, Image) or in_current_memory(node) or walked_at_once(node))
        ),
        current_peak_bits=peak_bits(schedule, lambda node: in_current_memory(node) and not walked_at_once(node)),
        membrane_bits=sum(membrane_bits(schedule, node) for node in schedule.lif_nodes),
        weights_resident=weights <= 8 * schedule.hardware.memory.weight_bytes,
    )
    _refuse_overflow(schedule, plan, schedule.hardware.memory)
    return plan


def weight_bits(schedule: Schedule, tensors: Tensors) -> int:
    """Weights at the hardware's width; biases and neuron parameters ride in the parameter rows."""
    products = (node for node in schedule.nodes if isinstance(node, Convolution | Linear))
    return sum(int(tensors[node.weight].size) for node in products) * schedule.hardware.widths.weight


def membrane_bits(schedule: Schedule, node: Lif) -> int:
    """Membranes live in memory only where time runs outermost and some step is written."""
    if node.time_order == "inner" or not node.membrane_writes:
        return 0
    return node.positions * node.channels * schedule.hardware.widths.membrane


def walked_at_once(node: AnyNode) -> bool:
    """Whether a product's currents go from the accumulators straight into its LIF."""
    return isinstance(node, Product) and node.neuron is not None


def in_current_memory(node: AnyNode) -> bool:
    """Signed currents, and what the array itself computes and stores, integrated or not."""
    return node.value.is_current or isinstance(node, Product | Integrator)


def value_bits(schedule: Schedule, node: AnyNode) -> int:
    """Memory a node's value occupies over all its computed steps."""
    steps = len(node.steps.active) + (len(node.steps.bias_only) if in_current_memory(node) else 0)
    width = schedule.hardware.widths.membrane if in_current_memory(node) else node.value.planes
    return node.positions * node.channels * width * steps


def peak_bits(schedule: Schedule, counts: Callable[[AnyNode], bool]) -> int:
    """Largest sum, over the execution order, of the values that are written and still to be read."""
    last_use = {name: index for index, node in enumerate(schedule.nodes) for name in node.inputs}
    live: dict[str, int] = {}
    peak = 0
    for index, node in enumerate(schedule.nodes):
        if counts(node):
            live[node.name] = value_bits(schedule, node)
        peak = max(peak, sum(live.values()))
        live = {name: bits for name, bits in live.items() if last_use.get(name, index) > index}
    return peak


def _refuse_overflow(schedule: Schedule, plan: MemoryPlan, memory: Memory) -> None:
    needs = {
        "spike_bytes": plan.spike_peak_bits,
        "current_bytes": plan.current_peak_bits,
        "membrane_bytes": plan.membrane_bits,
        "image_bytes": schedule.nodes[0].positions * schedule.nodes[0].channels * schedule.nodes[0].value.planes,
    }
    needed = {f"memory.{field}": -(-bits // 8) for field, bits in needs.items()}
    short = {field: size for field, size in needed.items() if size > getattr(memory, field.removeprefix("memory."))}
    if short:
        first, size = next(iter(short.items()))
        available = getattr(memory, first.removeprefix("memory."))
        raise CompileError(
            first,
            f"the network needs {size} bytes at once, and {schedule.hardware.name} has {available}",
            f"use a hardware file with {' and '.join(f'{field} = {size}' for field, size in short.items())} or more",
        )
