"""The invariants of a schedule, as a table: what a file edited by hand must still satisfy.

Each row is (name, function). A function yields one (where, found, hint) for each violation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from dtss.compiler.schedule import geometry as geometry_of
from dtss.compiler.schedule.check_memory import check_memory
from dtss.compiler.schedule.errors import BadInputError
from dtss.compiler.schedule.format import (
    Add,
    AnyNode,
    AttentionProduct,
    Convolution,
    Image,
    Integrator,
    Lif,
    Linear,
    MaxPool,
    Schedule,
    SumPool,
    TokenSum,
)
from dtss.compiler.schedule.hardware import check_hardware
from dtss.compiler.schedule.numerics import FixedLeak, ShiftLeak

Violation = tuple[str, str, str]
Violations = Iterator[Violation]
Tensors = Mapping[str, np.ndarray]

LARGEST_DIMENSION = 1 << 20
LARGEST_TIME_STEPS = 64
LARGEST_SHIFT = 47
LARGEST_VALUE = 1 << 48
INPUT_COUNT = {
    Image: 0,
    Convolution: 1,
    Linear: 1,
    AttentionProduct: 2,
    Lif: 1,
    Integrator: 1,
    MaxPool: 1,
    SumPool: 1,
    TokenSum: 1,
}


def check_schedule(schedule: Schedule, tensors: Tensors, where: str) -> None:
    """Raise `BadInputError` for the first invariant that does not hold."""
    check_hardware(schedule.hardware, f"{where}: hardware")
    for invariant in INVARIANTS:
        for field, found, hint in invariant(schedule, tensors):
            raise BadInputError(f"{where}: {field}", found, hint)


def _whole(schedule: Schedule, tensors: Tensors) -> Violations:
    if not 1 <= schedule.time_steps <= LARGEST_TIME_STEPS:
        yield "time_steps", f"found {schedule.time_steps}", f"give 1 to {LARGEST_TIME_STEPS}"
    if not schedule.nodes or not isinstance(schedule.nodes[0], Image):
        yield "nodes", "the first node is not the image", "recompile"
    if not schedule.preprocess.mean or 0.0 in schedule.preprocess.std:
        yield "preprocess", "mean is empty or a std is 0", "recompile"


def _names(schedule: Schedule, tensors: Tensors) -> Violations:
    seen: set[str] = set()
    for index, node in enumerate(schedule.nodes):
        where = f"nodes[{index}] {node.name}"
        if node.name in seen:
            yield where, "the name occurs twice", "give every node its own name"
        for name in node.inputs:
            if name not in seen:
                yield f"{where}.inputs", f"{name} is not computed before it", "put nodes in execution order"
        expected = INPUT_COUNT.get(type(node))
        if len(node.inputs) != expected if expected is not None else len(node.inputs) < 2:
            wanted = "two or more" if expected is None else expected
            yield f"{where}.inputs", f"found {len(node.inputs)}", f"{_kind(node)} takes {wanted}"
        if isinstance(node, Image) and index > 0:
            yield where, "is a second image", "a schedule has one"
        seen.add(node.name)
    if schedule.output.node not in seen:
        yield "output.node", f"{schedule.output.node} is no node", "name the node that computes the logits"


def _numbers(schedule: Schedule, tensors: Tensors) -> Violations:
    for field in ("mean", "std"):
        found, channels = len(getattr(schedule.preprocess, field)), schedule.nodes[0].channels
        if found != channels:
            yield f"preprocess.{field}", f"found {found} numbers", f"the image has {channels} channels"
    if schedule.preprocess.pixel_max != schedule.nodes[0].value.high:
        limit = f"the image's values go up to {schedule.nodes[0].value.high}"
        yield "preprocess.pixel_max", f"found {schedule.preprocess.pixel_max}", limit
    for node in schedule.nodes:
        for field, value, lowest, highest in _limited_numbers(node):
            if not lowest <= value <= highest:
                yield f"{node.name}.{field}", f"found {value}", f"give {lowest} to {highest}"
        if node.value.low > node.value.high:
            yield f"{node.name}.value", f"found {node.value.low} … {node.value.high}", "put the lower bound first"
        if isinstance(node, AttentionProduct):
            for name in _split_inputs(node):
                if schedule.node(name).channels % node.heads:
                    channels = schedule.node(name).channels
                    yield (
                        f"{node.name}.heads",
                        f"found {node.heads}",
                        f"choose a divisor of {name}'s {channels} channels",
                    )


def _split_inputs(node: AttentionProduct) -> tuple[str, ...]:
    """The inputs whose channels are split into heads; the others are per head already."""
    match node.stage:
        case "key_value" | "query_key":
            return node.inputs
        case "query_key_value":
            return node.inputs[:1]
        case "score_value":
            return node.inputs[1:]


def _limited_numbers(node: AnyNode) -> Iterator[tuple[str, int, int, int]]:
    """(field, value, lowest, highest) of every number that a shift, a division or an index uses."""
    yield "value.low", node.value.low, -LARGEST_VALUE, LARGEST_VALUE
    yield "value.high", node.value.high, -LARGEST_VALUE, LARGEST_VALUE
    match node:
        case Convolution() | MaxPool() | SumPool():
            yield "stride", node.stride, 1, LARGEST_DIMENSION
            yield "padding", node.padding, 0, LARGEST_DIMENSION
        case AttentionProduct():
            yield "heads", node.heads, 1, LARGEST_DIMENSION
        case Lif(leak=ShiftLeak(shift=shift)) | Integrator(leak=ShiftLeak(shift=shift)):
            yield "leak.shift", shift, 1, LARGEST_SHIFT
        case Lif(leak=FixedLeak() as fixed) | Integrator(leak=FixedLeak() as fixed):
            multiplier, fraction_bits = fixed.multiplier, fixed.fraction_bits
            yield "leak.fraction_bits", fraction_bits, 0, LARGEST_SHIFT
            yield "leak.multiplier", multiplier, 0, 1 << fraction_bits
        case _:
            pass
    if isinstance(node, MaxPool | SumPool):
        for size in node.window:
            yield "kernel", size, 1, LARGEST_DIMENSION
    if isinstance(node, Convolution | Linear | AttentionProduct):
        yield "current_shift", node.current_shift, 0, LARGEST_SHIFT


def _shapes(schedule: Schedule, tensors: Tensors) -> Violations:
    for node in schedule.nodes:
        if not all(1 <= size <= LARGEST_DIMENSION for size in node.shape):
            yield f"{node.name}.shape", f"found {node.shape}", f"sizes are 1 to {LARGEST_DIMENSION}"
            continue
        expected = expected_shape(schedule, tensors, node)
        if expected is not None and tuple(node.shape) != expected:
            yield f"{node.name}.shape", f"found {node.shape}", f"its inputs and weights give {expected}"
        if isinstance(node, AttentionProduct):
            yield from _stationary_shape(schedule, node)
    head = schedule.node(schedule.output.node)
    if head.positions != 1 or head.channels != len(schedule.output.classes):
        yield (
            "output.classes",
            f"{len(schedule.output.classes)} names for shape {head.shape}",
            "one name for each class",
        )


def expected_shape(schedule: Schedule, tensors: Tensors, node: AnyNode) -> tuple[int, int, int] | None:
    """The shape that follows from a node's inputs and weights; None where nothing constrains it."""
    sources = [schedule.node(name).shape for name in node.inputs]
    match node:
        case Image():
            return None
        case Convolution():
            height, width = (
                (size + 2 * node.padding - kernel) // node.stride + 1
                for size, kernel in zip(sources[0][:2], node.kernel, strict=True)
            )
            return height, width, _length(tensors, node.weight)
        case Linear():
            return sources[0][0], sources[0][1], _length(tensors, node.weight)
        case AttentionProduct():
            return _attention_shape(node, sources[0], sources[1])
        case MaxPool() | SumPool():
            height, width = (
                (size + 2 * node.padding - kernel) // node.stride + 1
                for size, kernel in zip(sources[0][:2], node.window, strict=True)
            )
            return height, width, sources[0][2]
        case TokenSum():
            return 1, 1, sources[0][2]
        case Lif() | Integrator() | Add():
            return sources[0]


def _length(tensors: Tensors, name: str) -> int:
    return int(tensors[name].shape[0]) if name in tensors else -1


def _stationary_shape(schedule: Schedule, node: AttentionProduct) -> Violations:
    """The operand that another attention product made must be one matrix per head of the right size."""
    streamed, stationary = (schedule.node(name) for name in node.inputs)
    size = streamed.channels // node.heads
    if node.stage == "query_key_value" and stationary.shape != (node.heads, size, size):
        yield f"{node.name}.inputs", f"{stationary.name} has shape {stationary.shape}", f"{node.heads, size, size} fits"
    if node.stage == "score_value" and streamed.shape != (node.heads, stationary.positions, stationary.positions):
        fits = (node.heads, stationary.positions, stationary.positions)
        yield f"{node.name}.inputs", f"{streamed.name} has shape {streamed.shape}", f"{fits} fits"
    if node.stage in ("key_value", "query_key") and streamed.shape != stationary.shape:
        yield f"{node.name}.inputs", f"{stationary.name} has shape {stationary.shape}", f"{streamed.shape} fits"


def _attention_shape(
    node: AttentionProduct, streamed: tuple[int, int, int], stationary: tuple[int, int, int]
) -> tuple[int, int, int]:
    tokens = streamed[0] * streamed[1]
    match node.stage:
        case "key_value":
            return node.heads, streamed[2] // node.heads, stationary[2] // node.heads
        case "query_key":
            return node.heads, tokens, stationary[0] * stationary[1]
        case "query_key_value":
            return streamed
        case "score_value":
            return stationary


def _steps(schedule: Schedule, tensors: Tensors) -> Violations:
    every = list(range(schedule.time_steps))
    for node in schedule.nodes:
        steps = node.steps
        listed = sorted((*steps.active, *steps.bias_only, *steps.reused, *steps.zero, *steps.dead))
        if listed != every:
            yield f"{node.name}.steps", f"the lists hold {listed}", f"together they hold each of {every} once"
        if steps.reused and not steps.active:
            yield f"{node.name}.steps.reused", "no active step to reuse", "make one step active"
        if steps.why and len(steps.why) != schedule.time_steps:
            yield f"{node.name}.steps.why", f"{len(steps.why)} entries", f"give {schedule.time_steps} or none"
        for field in ("active", "bias_only", "reused", "zero", "dead"):
            if list(getattr(steps, field)) != sorted(getattr(steps, field)):
                yield f"{node.name}.steps.{field}", f"found {getattr(steps, field)}", "list steps in ascending order"


def _reads_of_dead_values(schedule: Schedule, tensors: Tensors) -> Violations:
    for node in schedule.nodes:
        needed = node.state_steps if isinstance(node, Lif) else node.steps.active
        for name in node.inputs:
            dead = sorted(set(needed) & set(schedule.node(name).steps.dead))
            if dead:
                yield f"{node.name}.steps", f"reads {name} at steps {dead}, where it is dead", "recompile"
    head = schedule.node(schedule.output.node)
    if head.steps.dead:
        yield f"{head.name}.steps.dead", f"found {head.steps.dead}", "the logits are needed at every step"


def _lif(schedule: Schedule, tensors: Tensors) -> Violations:
    for node in schedule.lif_nodes:
        where, last = node.name, max(node.steps.active, default=-1)
        if not set(node.steps.active) <= set(node.mask_steps):
            yield f"{where}.steps.active", f"found {node.steps.active}", f"the time-step mask allows {node.mask_steps}"
        if tuple(range(last + 1)) != node.state_steps[: last + 1]:
            yield f"{where}.state_steps", f"found {node.state_steps}", f"the state is needed at every step up to {last}"
        if not set(node.state_steps) <= set(range(schedule.time_steps)) or list(node.state_steps) != sorted(
            node.state_steps
        ):
            yield f"{where}.state_steps", f"found {node.state_steps}", "list steps of the run in ascending order"
        for field in ("membrane_reads", "membrane_writes"):
            if not set(getattr(node, field)) <= set(node.state_steps):
                yield (
                    f"{where}.{field}",
                    f"found {getattr(node, field)}",
                    f"choose from the state steps {node.state_steps}",
                )
        missing = [b for a, b in zip(node.state_steps, node.state_steps[1:], strict=False)
                   if a not in node.membrane_writes or b not in node.membrane_reads]  # fmt: skip
        if missing:
            yield f"{where}.membrane_reads", f"the state of step {missing[0]} is lost", "write before it and read at it"
        for field in ("threshold", "reset_to", "initial"):
            yield from _tensor(tensors, where, field, getattr(node, field), (node.channels,), "i")


def _integrators(schedule: Schedule, tensors: Tensors) -> Violations:
    for node in schedule.nodes:
        if not isinstance(node, Integrator):
            continue
        active = node.steps.active
        first, last = (active[0], active[-1]) if active else (0, -1)
        if active != tuple(range(first, last + 1)) or not set(range(first)) <= set(node.steps.zero):
            hint = "zero up to the first active step, then no gap: the state is needed at every step"
            yield f"{node.name}.steps.active", f"found {active}", hint
        if node.steps.reused or node.steps.bias_only:
            yield f"{node.name}.steps", "has reused or bias-only steps", "an integrator computes every step"


def _tensors(schedule: Schedule, tensors: Tensors) -> Violations:
    for node in schedule.nodes:
        if isinstance(node, Convolution):
            channels = schedule.node(node.inputs[0]).channels
            yield from _tensor(tensors, node.name, "weight", node.weight, (node.channels, *node.kernel, channels), "i")
            yield from _tensor(tensors, node.name, "pad_value", node.pad_value, (channels,), "iu")
            yield from _pad_range(schedule, tensors, node)
        if isinstance(node, Linear):
            channels = schedule.node(node.inputs[0]).channels
            yield from _tensor(tensors, node.name, "weight", node.weight, (node.channels, channels), "i")
        if isinstance(node, Convolution | Linear):
            yield from _tensor(tensors, node.name, "bias", node.bias, (node.channels,), "i")
            yield from _weight_range(schedule, tensors, node)


def _tensor(
    tensors: Tensors, where: str, field: str, name: str | None, shape: tuple[int, ...], kinds: str
) -> Violations:
    if name is None:
        return
    if name not in tensors:
        yield f"{where}.{field}", f"the side-car has no tensor {name}", "recompile"
    elif tensors[name].shape != shape or tensors[name].dtype.kind not in kinds:
        found = f"{name} is {tensors[name].dtype} {tensors[name].shape}"
        yield f"{where}.{field}", found, f"an integer tensor of shape {shape} is needed; recompile"


def _weight_range(schedule: Schedule, tensors: Tensors, node: Convolution | Linear) -> Violations:
    if not 2 <= node.weight_bits <= schedule.hardware.widths.weight:
        widest = f"the array takes 2 to {schedule.hardware.widths.weight} bits; recompile"
        yield f"{node.name}.weight_bits", f"is {node.weight_bits}", widest
        return
    bound = 1 << (node.weight_bits - 1)
    weight = tensors[node.weight]
    if weight.size and (weight.min() < -bound or weight.max() >= bound):
        found = f"{node.weight} holds {weight.min()} … {weight.max()}"
        yield f"{node.name}.weight", found, f"{node.weight_bits}-bit weights are {-bound} … {bound - 1}"


def _pad_range(schedule: Schedule, tensors: Tensors, node: Convolution) -> Violations:
    if node.pad_value is None or node.padding == 0:
        return
    pad, highest = tensors[node.pad_value], schedule.node(node.inputs[0]).value.high
    if pad.min() < 0 or pad.max() > highest:
        found = f"{node.pad_value} holds {pad.min()} … {pad.max()}"
        yield f"{node.name}.pad_value", found, f"it stands for values 0 … {highest}; recompile"


def _neurons(schedule: Schedule, tensors: Tensors) -> Violations:
    for node in schedule.products:
        if node.neuron is None:
            continue
        neuron = next((lif for lif in schedule.lif_nodes if lif.name == node.neuron), None)
        if neuron is None or neuron.inputs != (node.name,):
            yield f"{node.name}.neuron", f"found {node.neuron}", "name the LIF that reads this product"
        elif node.tiling is not None and neuron.time_order != node.tiling.time_order:
            yield (
                f"{neuron.name}.time_order",
                f"found {neuron.time_order}",
                f"its product runs {node.tiling.time_order}",
            )
        elif not set(node.steps.active) <= set(neuron.state_steps):
            found = f"found {node.steps.active}"
            yield f"{node.name}.steps.active", found, f"{neuron.name} only looks at steps {neuron.state_steps}"


def _tilings(schedule: Schedule, tensors: Tensors) -> Violations:
    array = schedule.hardware.array
    for node in schedule.products:
        if node.tiling is None:
            yield f"{node.name}.tiling", "is missing", "recompile"
            continue
        tiling, where = node.tiling, f"{node.name}.tiling"
        streamed = schedule.node(node.inputs[0])
        if streamed.value.is_current:
            yield f"{node.name}.inputs", f"{streamed.name} is signed", "only unsigned values travel as bit planes"
        if tiling.offsets_per_word != geometry_of.offsets_per_word(node, streamed, array):
            fits = geometry_of.offsets_per_word(node, streamed, array)
            yield f"{where}.offsets_per_word", f"found {tiling.offsets_per_word}", f"{array.rows} rows take {fits}"
        if tiling.positions_per_strip < 1:
            yield f"{where}.positions_per_strip", f"found {tiling.positions_per_strip}", "give at least 1"
            continue
        blocked = tiling.output_tiles_per_block
        if not 1 <= blocked <= max(1, tiling.output_tiles):
            yield f"{where}.output_tiles_per_block", f"found {blocked}", f"give 1 to {tiling.output_tiles}"
            continue
        if isinstance(node, AttentionProduct) and blocked != tiling.output_tiles:
            hint = "its stationary operand is no weight: give output_tiles"
            yield f"{where}.output_tiles_per_block", f"found {blocked}", hint
        cut = geometry_of.geometry(schedule, node)
        slots = tiling.positions_per_strip * (max(1, len(cut.slot_steps)) if tiling.time_order == "inner" else 1)
        if slots > array.strip_slots:
            yield f"{where}.positions_per_strip", f"needs {slots} slots", f"the array has {array.strip_slots}"
        if tiling.time_order == "outer" and node.steps.reused:
            yield f"{where}.time_order", "is outer, yet steps are reused", "run it innermost"
        expected = (cut.strips, len(cut.rows), len(cut.columns))
        if (tiling.strips, tiling.reduction_tiles, tiling.output_tiles) != expected:
            found = f"found {(tiling.strips, tiling.reduction_tiles, tiling.output_tiles)}"
            yield f"{where}", found, f"strips, reduction_tiles and output_tiles are {expected}"


def _kind(node: AnyNode) -> str:
    return str(type(node).__struct_config__.tag)


INVARIANTS: tuple[Callable[[Schedule, Tensors], Violations], ...] = (
    _whole,
    _names,
    _numbers,
    _steps,
    _lif,
    _integrators,
    _tensors,
    _shapes,
    _reads_of_dead_values,
    _neurons,
    _tilings,
    check_memory,
)
