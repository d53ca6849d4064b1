"""A small network with every kind of product, for machines of any size."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
import numpy as np

from dtss.compiler.emit import NO_PLAN
from dtss.compiler.memory_plan import plan_memory
from dtss.compiler.schedule import io
from dtss.compiler.schedule.format import (
    Add,
    AnyNode,
    AttentionProduct,
    AverageTimeSteps,
    Convolution,
    FloatReference,
    Image,
    Integrator,
    Lif,
    Linear,
    MaxPool,
    Output,
    Preprocess,
    Product,
    Schedule,
    SideCar,
    Steps,
    SumPool,
    Tiling,
    TimeOrder,
    TokenSum,
    Value,
)
from dtss.compiler.schedule.geometry import geometry, offsets_per_word
from dtss.compiler.schedule.hardware import Array, Dram, Hardware, Memory, Widths
from dtss.compiler.schedule.io import LoadedSchedule
from dtss.compiler.schedule.numerics import FixedLeak, ShiftLeak

TIME_STEPS = 3
SIZE, HEADS, WIDTH = 5, 2, 4  # an image of SIZE × SIZE tokens, HEADS heads of WIDTH channels
TOKENS, CHANNELS = SIZE * SIZE, HEADS * WIDTH
CURRENT = Value(low=-(1 << 20), high=1 << 20)
BIT = Value(low=0, high=1)

MEMORY = Memory(
    weight_bytes=1 << 14, spike_bytes=1 << 14, membrane_bytes=1 << 14, current_bytes=1 << 15, image_bytes=1 << 8,
    parameter_bytes=1 << 13, strip_bytes=1 << 13, stationary_bytes=1 << 14,
)  # fmt: skip
SMALL_MEMORY = {"weight_bytes": 600, "parameter_bytes": 250}  # two blocks of weights, not all of them

Machine = tuple[int, int, int, int, int]  # rows, columns, slots, group, weight rows a cycle
EDGE, ODD, TINY, WIDE_LOAD = (16, 16, 32, 4, 1), (12, 4, 21, 3, 2), (4, 2, 5, 1, 1), (24, 8, 40, 7, 24)
NARROW = (2, 1, 3, 2, 2)  # a head lies in several words
MACHINES: Mapping[str, Machine] = {
    "edge": EDGE, "odd": ODD, "tiny": TINY, "wide_load": WIDE_LOAD, "narrow": NARROW,
}  # fmt: skip


def steps_of(active: tuple[int, ...] = (), bias_only: tuple[int, ...] = (), reused: tuple[int, ...] = ()) -> Steps:
    """The rest of the steps is zero."""
    zero = tuple(step for step in range(TIME_STEPS) if step not in (*active, *bias_only, *reused))
    return Steps(active=active, bias_only=bias_only, reused=reused, zero=zero)


def hardware_of(machine: Machine, memory: Mapping[str, int]) -> Hardware:
    rows, columns, slots, group, load_rows = machine
    return Hardware(
        name="test",
        description="a machine of a test",
        frequency_mhz=100.0,
        array=Array(rows, columns, slots, group, load_rows),
        widths=Widths(weight=8, accumulator=22, membrane=24),
        memory=msgspec.structs.replace(MEMORY, **memory),
        dram=Dram(64, 128, 20),
    )


class NetworkBuilder:
    """Nodes and tensors with random weights, in execution order."""

    def __init__(self, order: TimeOrder, seed: int) -> None:
        self.order = order
        self.random = np.random.default_rng(seed)
        self.nodes: list[AnyNode] = []
        self.tensors: dict[str, np.ndarray] = {}

    def tensor(self, name: str, shape: tuple[int, ...], low: int, high: int) -> str:
        self.tensors[name] = self.random.integers(low, high + 1, shape).astype(np.int32)
        return name

    def lif(self, name: str, source: str, active: tuple[int, ...], **options: object) -> None:
        shape = next(node.shape for node in self.nodes if node.name == source)
        channels = (shape[2],)
        every = tuple(range(TIME_STEPS))
        neuron: dict[str, object] = {
            "steps": steps_of(active),
            "state_steps": every,
            "membrane_reads": every[1:],
            "membrane_writes": every[:-1],
            "leak": ShiftLeak(1),
            "reset": "hard",
            "threshold": self.tensor(f"{name}.threshold", channels, 1, 60),
            "reset_to": self.tensor(f"{name}.reset_to", channels, -5, 40),
            "initial": self.tensor(f"{name}.initial", channels, -30, 30),
        } | options
        self.nodes.append(
            Lif(
                name=name, inputs=(source,), shape=shape, value=BIT, group="mlp", time_order=self.order,
                mask_steps=active, membrane=CURRENT, **neuron,  # type: ignore[arg-type]
            )
        )  # fmt: skip

    def linear(self, name: str, source: str, channels: int, steps: Steps, neuron: str | None) -> None:
        shape = next(node.shape for node in self.nodes if node.name == source)
        self.nodes.append(
            Linear(
                name=name, inputs=(source,), shape=(*shape[:2], channels), value=CURRENT, steps=steps,
                weight=self.tensor(f"{name}.weight", (channels, shape[2]), -128, 127), weight_bits=8,
                bias=self.tensor(f"{name}.bias", (channels,), -50, 50), current_shift=1, neuron=neuron, tiling=None,
            )
        )  # fmt: skip

    def convolution(
        self, name: str, source: str, channels: int, size: tuple[int, int], steps: Steps, neuron: str | None
    ) -> None:
        """3 × 3, at the size of its input. Outside of an image there is a value, outside of spikes none."""
        before = next(node for node in self.nodes if node.name == source)
        of_image, inputs = isinstance(before, Image), before.shape[2]
        stem = name.removesuffix(".conv")
        self.nodes.append(
            Convolution(
                name=name, inputs=(source,), shape=(*size, channels), value=CURRENT, steps=steps,
                weight=self.tensor(f"{stem}.weight", (channels, 3, 3, inputs), -128, 127), weight_bits=8,
                bias=self.tensor(f"{stem}.bias", (channels,), -90, 90),
                current_shift=2 if of_image else 0, kernel=(3, 3), stride=1, padding=1,
                pad_value=self.tensor(f"{stem}.pad_value", (inputs,), 0, 15) if of_image else None, neuron=neuron,
                tiling=None,
            )
        )  # fmt: skip

    def attention(self, name: str, inputs: tuple[str, str], shape: tuple[int, int, int], **options: object) -> None:
        fields = {"heads": HEADS, "current_shift": 0, "neuron": None, "tiling": None} | options
        self.nodes.append(AttentionProduct(name=name, inputs=inputs, shape=shape, **fields))  # type: ignore[arg-type]


def network(order: TimeOrder, seed: int) -> NetworkBuilder:
    """Constant input, a mask that is no prefix, both leaks and resets, both forms of attention, counts, a head."""
    build, every = NetworkBuilder(order, seed), (0, 1, 2)
    pixels, tokens = Value(low=0, high=15), (SIZE, SIZE, CHANNELS)
    build.nodes.append(
        Image(name="image", inputs=(), shape=(SIZE, SIZE, 2), value=pixels, steps=steps_of((0,), (), (1, 2)))
    )
    stem = steps_of((0,), (), (1, 2)) if order == "inner" else steps_of(every)
    build.convolution("stem.conv", "image", 7, (SIZE, SIZE), stem, "stem.lif")
    build.lif("stem.lif", "stem.conv", (0, 2), leak=FixedLeak(157, 8), reset="soft")
    for name, active in (("q", every), ("k", every), ("v", (0, 2))):
        build.linear(f"{name}.linear", "stem.lif", CHANNELS, steps_of((0, 2), bias_only=(1,)), f"{name}.lif")
        build.lif(f"{name}.lif", f"{name}.linear", active)
    both = steps_of((0, 2))
    heads = (HEADS, WIDTH, WIDTH)
    build.attention("kv", ("k.lif", "v.lif"), heads, stage="key_value", value=Value(low=0, high=TOKENS), steps=both)
    linear_order = Value(low=0, high=WIDTH * TOKENS << 3)
    build.attention("qkv", ("q.lif", "kv"), tokens, stage="query_key_value", value=linear_order, steps=both,
                    current_shift=3, neuron="qkv.lif")  # fmt: skip
    build.lif("qkv.lif", "qkv", every)
    scores = Value(low=0, high=WIDTH)
    square = (HEADS, TOKENS, TOKENS)
    build.attention("qk", ("q.lif", "k.lif"), square, stage="query_key", value=scores, steps=steps_of(every))
    build.attention("qk.v", ("qk", "v.lif"), tokens, stage="score_value", value=Value(low=0, high=WIDTH * TOKENS),
                    steps=both, neuron="qk.v.lif")  # fmt: skip
    build.lif("qk.v.lif", "qk.v", (2,), leak=FixedLeak(1, 0), reset="soft")
    build.nodes.append(
        Add(name="add", inputs=("qkv.lif", "qk.v.lif"), shape=tokens, value=Value(low=0, high=2), steps=steps_of(every))
    )
    total = Value(low=0, high=2 * TOKENS)
    build.nodes.append(
        TokenSum(name="sum", inputs=("add",), shape=(1, 1, CHANNELS), value=total, steps=steps_of(every))
    )
    dead = Steps(dead=every)
    build.linear("dead.linear", "add", 4, dead, "dead.lif")
    build.lif("dead.lif", "dead.linear", (), steps=dead, state_steps=(), membrane_reads=(), membrane_writes=())
    build.linear("head", "sum", 3, steps_of(every), None)
    build.tensors[io.IMAGES] = build.random.integers(0, 16, (2, SIZE, SIZE, 2)).astype(np.uint8)
    build.tensors[io.LABELS] = np.zeros(2, np.int64)
    return build


Nodes = Callable[[TimeOrder, int], NetworkBuilder]


def stored_network(order: TimeOrder, seed: int) -> NetworkBuilder:
    """Currents that are stored on their way: pools, sums of products, neurons of their own, an integrator.

    And words of joined kernel offsets, counts of several planes that stream and that stay, steps without input.
    """
    build, every, several = NetworkBuilder(order, seed), (0, 1, 2), (0, 2)
    side = SIZE // 2 + 1
    square, tokens = (side, side), side * side
    pixels, counts = Value(low=0, high=15), Value(low=0, high=2)
    build.nodes.append(
        Image(name="image", inputs=(), shape=(SIZE, SIZE, 2), value=pixels, steps=steps_of((0,), (), (1, 2)))
    )
    build.convolution("stem.conv", "image", 6, (SIZE, SIZE), steps_of(every), None)
    build.nodes.append(
        MaxPool(
            name="pool", inputs=("stem.conv",), shape=(*square, 6), value=CURRENT, steps=steps_of(every), kernel=2,
            stride=2, padding=1,
        )
    )  # fmt: skip
    build.lif("pool.lif", "pool", (0, 2))
    build.convolution("conv", "pool.lif", CHANNELS, square, steps_of(every), "conv.lif")
    build.lif("conv.lif", "conv", every)
    build.linear("wide", "conv.lif", CHANNELS + 5, steps_of(every), "wide.lif")
    build.lif("wide.lif", "wide", (0, 2), leak=ShiftLeak(2), reset="soft")  # no neuron here needs a multiplier
    build.convolution("narrow", "wide.lif", CHANNELS, square, steps_of(every), "narrow.lif")
    build.lif("narrow.lif", "narrow", every)
    for name in ("q", "k", "v"):
        build.linear(f"{name}.linear", "conv.lif", CHANNELS, steps_of(every), f"{name}.lif")
        build.lif(f"{name}.lif", f"{name}.linear", (0, 2) if name == "v" else every)
    # its sums are there while counts are written, and none is below 0
    build.linear("positive", "narrow.lif", 5, steps_of(every), None)
    for kind in ("weight", "bias"):
        build.tensors[f"positive.{kind}"] = abs(build.tensors[f"positive.{kind}"]) // 8
    build.nodes[-1] = msgspec.structs.replace(build.nodes[-1], value=Value(low=0, high=1 << 20))
    shape = (*square, CHANNELS)
    build.nodes.append(
        Add(name="counts", inputs=("v.lif", "narrow.lif"), shape=shape, value=counts, steps=steps_of(several))
    )
    heads = (HEADS, WIDTH, WIDTH)
    build.attention("kv", ("k.lif", "counts"), heads, stage="key_value", value=Value(low=0, high=2 * tokens),
                    steps=steps_of(every))  # fmt: skip
    build.attention("qkv", ("q.lif", "kv"), (*square, CHANNELS), stage="query_key_value", steps=steps_of(every),
                    value=Value(low=0, high=2 * WIDTH * tokens))  # fmt: skip
    build.lif("qkv.lif", "qkv", every)
    build.nodes.append(
        SumPool(
            name="sums", inputs=("counts",), shape=(side - 1, side - 1, CHANNELS), value=Value(low=0, high=8),
            steps=steps_of(several), kernel=(2, 2), stride=1, padding=0,
        )
    )  # fmt: skip
    build.linear("of_sums", "sums", 5, steps_of(every), "of_sums.lif")
    build.lif("of_sums.lif", "of_sums", every)
    build.linear("signed", "qkv.lif", 5, steps_of(every), None)
    build.nodes.append(
        Add(name="total", inputs=("positive", "signed"), shape=(*square, 5), value=CURRENT, steps=steps_of(every))
    )
    build.lif("total.lif", "total", every)
    build.nodes.append(
        TokenSum(
            name="sum", inputs=("total.lif",), shape=(1, 1, 5), value=Value(low=0, high=tokens), steps=steps_of(every)
        )
    )
    build.linear("head", "sum", 3, steps_of(every), None)
    build.nodes.append(
        Integrator(
            name="out", inputs=("head",), shape=(1, 1, 3), value=CURRENT, steps=steps_of(every), leak=ShiftLeak(1)
        )
    )
    build.tensors[io.IMAGES] = build.random.integers(0, 16, (2, SIZE, SIZE, 2)).astype(np.uint8)
    build.tensors[io.LABELS] = np.zeros(2, np.int64)
    return build


def tiled(schedule: Schedule, node: Product, order: TimeOrder) -> Product:
    """With the strip a little shorter than it could be, so that the last one of most layers is cut off."""
    array = schedule.hardware.array
    resident = max(1, len(node.steps.active)) if order == "inner" else 1
    positions = max(1, array.strip_slots // resident - 1)
    streamed = schedule.node(node.inputs[0])
    tiling = Tiling(order, positions, offsets_per_word(node, streamed, array), 1, 1, 1, 1)
    cut = geometry(schedule, msgspec.structs.replace(node, tiling=tiling))
    counted = msgspec.structs.replace(
        tiling,
        strips=cut.strips,
        reduction_tiles=len(cut.rows),
        output_tiles=len(cut.columns),
        output_tiles_per_block=len(cut.columns) if isinstance(node, AttentionProduct) else -(-len(cut.columns) // 2),
    )
    return msgspec.structs.replace(node, tiling=counted)


def small_network(
    machine: Machine, order: TimeOrder, seed: int, *, streams: bool, nodes: Nodes = network
) -> LoadedSchedule:
    """Compiled by hand; `streams`: weights do not stay on chip."""
    build = nodes(order, seed)
    schedule = Schedule(
        format="dtss-schedule/1",
        network="small",
        time_steps=TIME_STEPS,
        average_time_steps=AverageTimeSteps(2.0, 2.0),
        preprocess=Preprocess(1.0, (0.0, 0.0), (1.0, 1.0), 15),
        output=Output(build.nodes[-1].name, 1.0, ("a", "b", "c")),
        memory=NO_PLAN,
        passes=(),
        reference=FloatReference(None, None),
        hardware=hardware_of(machine, SMALL_MEMORY if streams else {}),
        tensors=SideCar("", ""),
        nodes=tuple(build.nodes),
    )
    cut = [tiled(schedule, node, order) if isinstance(node, Product) else node for node in build.nodes]
    schedule = msgspec.structs.replace(schedule, nodes=tuple(cut))
    schedule = msgspec.structs.replace(schedule, memory=plan_memory(schedule, build.tensors))
    return LoadedSchedule(schedule, build.tensors)
