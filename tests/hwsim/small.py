"""A network small enough to count by hand: image 1×2×3 → linear → LIF → token sum → linear, T = 2.

The mask keeps step 0 of the neurons, and the state lives that long.
"""

from __future__ import annotations

import msgspec
import numpy as np

from dtss.compiler.emit import NO_PLAN
from dtss.compiler.memory_plan import plan_memory
from dtss.compiler.schedule.format import (
    AnyNode,
    AverageTimeSteps,
    FloatReference,
    Image,
    Lif,
    Linear,
    Output,
    Preprocess,
    Schedule,
    SideCar,
    Steps,
    Tiling,
    TokenSum,
    Value,
)
from dtss.compiler.schedule.hardware import Array, Dram, Hardware, Memory, Widths
from dtss.compiler.schedule.io import FLOAT_LOGITS, IMAGES, LABELS
from dtss.compiler.schedule.numerics import ShiftLeak

MACHINE = Hardware(
    name="bench-16x16",
    description="16 x 16 lanes",
    frequency_mhz=200.0,
    array=Array(rows=16, columns=16, strip_slots=32, skip_group=4, weight_rows_per_cycle=1),
    widths=Widths(weight=8, accumulator=24, membrane=24),
    memory=Memory(
        weight_bytes=128 << 10,
        spike_bytes=32 << 10,
        membrane_bytes=32 << 10,
        current_bytes=32 << 10,
        image_bytes=4 << 10,
        parameter_bytes=8 << 10,
        strip_bytes=8 << 10,
        stationary_bytes=4 << 10,
    ),
    dram=Dram(bits_per_cycle=64, burst_bits=128, latency_cycles=20),
)
WEIGHT = np.array([[1, 2, -1], [3, 0, 1]], np.int8)
HEAD_WEIGHT = np.array([[1, -1], [0, 2]], np.int8)


def small_network() -> tuple[Schedule, dict[str, np.ndarray]]:
    tensors: dict[str, np.ndarray] = {
        "hidden.weight": WEIGHT,
        "head.weight": HEAD_WEIGHT,
        "head.bias": np.array([5, 0], np.int32),
        "lif.threshold": np.array([20, 20], np.int32),
        "lif.reset": np.array([20, 20], np.int32),
        "lif.initial": np.zeros(2, np.int32),
        IMAGES: np.array([[[[1, 2, 3], [15, 0, 4]]], [[[0, 0, 0], [9, 9, 9]]]], np.uint8),
        LABELS: np.array([0, 1], np.int64),
        FLOAT_LOGITS: np.array([[2.0, 1.0], [2.0, 1.0]], np.float32),
    }
    return schedule(nodes(), tensors), tensors


def nodes() -> tuple[AnyNode, ...]:
    once = Tiling("inner", 2, 1, 1, 1, 1, 1)
    return (
        Image(name="image", inputs=(), shape=(1, 2, 3), value=Value(0, 15), steps=Steps(active=(0,), reused=(1,))),
        Linear(
            name="hidden", inputs=("image",), shape=(1, 2, 2), value=Value(-15, 60),
            steps=Steps(active=(0,), dead=(1,), why=("", "output not live")),
            weight="hidden.weight", weight_bits=8, bias=None, current_shift=0, neuron="lif", tiling=once,
        ),
        Lif(
            name="lif", inputs=("hidden",), shape=(1, 2, 2), value=Value(0, 1),
            steps=Steps(active=(0,), zero=(1,), why=("", "masked")),
            group="mlp", time_order="inner", leak=ShiftLeak(1), reset="soft", threshold="lif.threshold",
            reset_to="lif.reset", initial="lif.initial", mask_steps=(0,), state_steps=(0,), membrane_reads=(),
            membrane_writes=(), membrane=Value(-15, 60),
        ),
        TokenSum(
            name="sum", inputs=("lif",), shape=(1, 1, 2), value=Value(0, 2),
            steps=Steps(active=(0,), zero=(1,), why=("", "lif is zero")),
        ),
        Linear(
            name="head", inputs=("sum",), shape=(1, 1, 2), value=Value(0, 7),
            steps=Steps(active=(0,), bias_only=(1,), why=("", "bias only: sum is zero")),
            weight="head.weight", weight_bits=8, bias="head.bias", current_shift=0, neuron=None,
            tiling=Tiling("inner", 1, 1, 1, 1, 1, 1),
        ),
    )  # fmt: skip


def schedule(network: tuple[AnyNode, ...], tensors: dict[str, np.ndarray]) -> Schedule:
    made = Schedule(
        format="dtss-schedule/1",
        network="small",
        time_steps=2,
        average_time_steps=AverageTimeSteps(masks=1.0, pruned=1.0),
        preprocess=Preprocess(pixel_scale=1 / 16, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), pixel_max=15),
        output=Output(node="head", scale=0.5, classes=("a", "b")),
        memory=NO_PLAN,
        passes=(),
        reference=FloatReference(trained_accuracy=None, sample_accuracy=None),
        hardware=MACHINE,
        tensors=SideCar(file="", sha256=""),
        nodes=network,
    )
    return msgspec.structs.replace(made, memory=plan_memory(made, tensors))
