"""What the Verilog cannot run, by name: `RULES` is the list; each rule finds what breaks it in a schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from dtss.compiler.schedule.buffers import reads_parameters, value_memory
from dtss.compiler.schedule.dram import transfers
from dtss.compiler.schedule.errors import UnsupportedError
from dtss.compiler.schedule.format import (
    Add,
    AttentionProduct,
    Image,
    Lif,
    MaxPool,
    Product,
    Schedule,
    SumPool,
    TokenSum,
)
from dtss.compiler.schedule.geometry import geometry
from dtss.compiler.schedule.interpret import Tensors
from dtss.compiler.schedule.numerics import signed_bits
from dtss.rtl.engine import NEURON_PARAMETERS, SHIFT_BITS
from dtss.rtl.memory_contents import channel_parameters
from dtss.rtl.shell import BYTE, narrow_widths

LOGIT_BITS = 32
MOST_NARROW_WIDTHS = 4  # weight_loader's NARROW_BITS
COMPILE_WIDER = "compile for wider hardware"

Limit = tuple[str, str, str]  # where, what was found, what to do
Rule = Callable[["Network"], Iterator[Limit]]


@dataclass(frozen=True)
class Network:
    """What the rules look at."""

    schedule: Schedule
    tensors: Tensors

    @property
    def rows(self) -> int:
        return self.schedule.hardware.array.rows

    @property
    def columns(self) -> int:
        return self.schedule.hardware.array.columns

    @property
    def value_bits(self) -> int:
        widths = self.schedule.hardware.widths
        return max(widths.accumulator, widths.membrane)

    @property
    def attention(self) -> tuple[AttentionProduct, ...]:
        """Those that run."""
        products = (node for node in self.schedule.products if isinstance(node, AttentionProduct))
        return tuple(node for node in products if geometry(self.schedule, node).walk_steps)

    def head_width(self, node: AttentionProduct) -> int:
        """d."""
        spikes = node.inputs[1] if node.stage == "score_value" else node.inputs[0]
        return self.schedule.node(spikes).channels // node.heads


def check_fits(schedule: Schedule, tensors: Tensors) -> None:
    """`UnsupportedError` for the first thing that does not fit."""
    network = Network(schedule, tensors)
    for rule in RULES:
        for limit in rule(network):
            raise UnsupportedError(*limit)


def whole_columns(network: Network) -> Iterator[Limit]:
    """A spike word is a whole number of rows of results."""
    if network.rows % network.columns:
        found = f"{network.rows} rows and {network.columns} columns"
        yield "hardware: array", found, "give a number of rows that is a multiple of the columns"


def outside_interface(network: Network) -> Iterator[Limit]:
    """AXI data are bytes; narrower weights have a few widths."""
    bits = network.schedule.hardware.dram.bits_per_cycle
    if bits < BYTE or bits & (bits - 1):
        yield "hardware: dram.bits_per_cycle", f"found {bits}", "give a power of two, at least 8: an AXI stream's width"
    widths = narrow_widths(network.schedule)
    if len(widths) > MOST_NARROW_WIDTHS or any(width > network.schedule.hardware.widths.weight for width in widths):
        found = ", ".join(map(str, widths)) + " bits"
        yield "weight_bits", found, f"use at most {MOST_NARROW_WIDTHS} widths below the array's"


def pixels_of_one_word(network: Network) -> Iterator[Limit]:
    """A pixel's channels are lanes of one word."""
    image = network.schedule.nodes[0]
    if isinstance(image, Image) and image.channels > network.rows:
        yield f"{image.name}: channels", f"found {image.channels}, a word has {network.rows} lanes", COMPILE_WIDER


def something_to_compute(network: Network) -> Iterator[Limit]:
    """A network whose logits need no weight needs no machine."""
    if not transfers(network.schedule):
        yield "network", "no step of any layer is needed", "compile one that computes something"


def logits_are_stored_currents(network: Network) -> Iterator[Limit]:
    """They leave from current memory, 32 bits each."""
    head = network.schedule.node(network.schedule.output.node)
    if value_memory(head) != "current" or head.positions != 1:
        yield f"{head.name}: output", "not one position of stored currents", "let a linear layer give the logits"
    elif signed_bits(head.value.low, head.value.high) > LOGIT_BITS:
        found = f"{signed_bits(head.value.low, head.value.high)} bits"
        yield f"{head.name}: output", found, f"logits leave with {LOGIT_BITS} bits"


def numbers_fit(network: Network) -> Iterator[Limit]:
    """Every value fits where it is kept; the compiler should have seen to it."""
    schedule, membrane_bits = network.schedule, network.schedule.hardware.widths.membrane
    for node in schedule.nodes:
        found = []
        if value_memory(node) == "current":
            found.append(("stored value", signed_bits(node.value.low, node.value.high), membrane_bits))
        if isinstance(node, Product):
            found.append(("current", signed_bits(node.value.low, node.value.high), network.value_bits))
            found.append(("current_shift", node.current_shift, (1 << SHIFT_BITS) - 1))
        if isinstance(node, Lif):
            found.append(("membrane", signed_bits(node.membrane.low, node.membrane.high), membrane_bits))
        if reads_parameters(schedule, node):
            values = channel_parameters(schedule, network.tensors, node)
            for index, name in enumerate(NEURON_PARAMETERS):
                bits = signed_bits(int(values[:, index].min()), int(values[:, index].max()))
                found.append((name, bits, membrane_bits if name == "initial" else network.value_bits))
        for what, needed, available in found:
            if needed > available:
                yield f"{node.name}: {what}", f"needs {needed}, the engine has {available}", COMPILE_WIDER


def elementwise_values_lie_together(network: Network) -> Iterator[Limit]:
    """The elementwise unit works on counts in spike memory or on currents, which sums of a product always are."""
    for node in network.schedule.nodes:
        if not isinstance(node, Add | MaxPool | SumPool | TokenSum):
            continue
        memory = value_memory(node)
        for source in map(network.schedule.node, node.inputs):
            if value_memory(source) != memory:
                found = f"{source.name} is in {value_memory(source)} memory, the result in {memory} memory"
                yield f"{node.name}: inputs", found, "let a neuron come between"


def stationary_operands_are_weights(network: Network) -> Iterator[Limit]:
    """What stays in the array has a weight's width; what is turned has one plane."""
    for node in network.attention:
        streamed, stationary = (network.schedule.node(name) for name in node.inputs)
        needed = signed_bits(stationary.value.low, stationary.value.high)
        available = network.schedule.hardware.widths.weight
        if needed > available:
            found = f"needs {needed}, the engine has {available}"
            yield f"{node.name}: stationary operand", found, COMPILE_WIDER
        turned = {"key_value": streamed, "query_key": stationary}.get(node.stage)
        if turned is not None and turned.value.planes > 1:
            found = f"{turned.name} has {turned.value.planes} planes"
            yield f"{node.name}: turned operand", found, "let K be spikes"


def heads_lie_in_words(network: Network) -> Iterator[Limit]:
    """A head is a whole number of words and of rows of results, or a whole share of one."""
    for node in network.attention:
        width = network.head_width(node)
        for what, size in (("columns", network.columns), ("rows", network.rows)):
            if width % size and size % width:
                found = f"d = {width} with {size} {what}"
                yield f"{node.name}: head width", found, f"choose d to divide the {what} or be a multiple of them"
        if node.stage in ("query_key_value", "score_value") and node.neuron is None and width % network.columns:
            found = f"d = {width} with {network.columns} columns"
            yield f"{node.name}: stored result", found, "a stored head takes whole rows of currents"


def turned_strips_lie_in_words(network: Network) -> Iterator[Limit]:
    """The channels of K that a strip of Kᵀ·V turns at once are lanes of one spike word."""
    for node in network.attention:
        if node.stage != "key_value":
            continue
        cut, width = geometry(network.schedule, node), network.head_width(node)
        starts = np.arange(0, cut.positions, cut.positions_per_strip) + width * np.arange(cut.groups)[:, None]
        lasts = np.minimum(starts + cut.positions_per_strip, width * (1 + np.arange(cut.groups))[:, None]) - 1
        if (starts // network.rows != lasts // network.rows).any():
            found = f"strips of {cut.positions_per_strip} channels of words of {network.rows} lanes"
            yield f"{node.name}: strip", found, "choose strips that divide a word"


RULES: tuple[Rule, ...] = (
    whole_columns,
    outside_interface,
    pixels_of_one_word,
    something_to_compute,
    logits_are_stored_currents,
    numbers_fit,
    elementwise_values_lie_together,
    stationary_operands_are_weights,
    heads_lie_in_words,
    turned_strips_lie_in_words,
)
