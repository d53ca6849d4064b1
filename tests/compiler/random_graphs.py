"""Random networks for properties: branches, attention, both residuals, any mask, any neuron."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from dtss.compiler.frontend.builder import GraphBuilder
from dtss.compiler.graph.ir import Convolution, FloatNeuron, Graph, Integrator, Linear, MaxPool, SumPool
from dtss.compiler.schedule.format import Preprocess
from dtss.compiler.schedule.hardware import Array, Dram, Hardware, Memory, Widths

PLENTY = Memory(**dict.fromkeys(Memory.__struct_fields__, 1 << 20))

neurons = st.builds(
    FloatNeuron,
    leak=st.sampled_from([0.0, 0.5, 0.75, 0.9, 1.0]),
    gain=st.sampled_from([0.5, 1.0]),
    threshold=st.sampled_from([0.25, 0.5, 1.0]),
    comparison=st.sampled_from([">", ">="]),
    reset=st.sampled_from(["soft", "hard"]),
    reset_value=st.sampled_from([0.0, -0.25, 0.1]),
    initial=st.sampled_from([0.0, -0.5, 0.75]),
)


@st.composite
def hardware(draw: st.DrawFn) -> Hardware:
    """Small arrays of odd shapes."""
    rows = draw(st.integers(2, 20))
    array = Array(
        rows=rows,
        columns=draw(st.integers(1, 9)),
        strip_slots=draw(st.integers(1, 12)),
        skip_group=draw(st.integers(1, 5)),
        weight_rows_per_cycle=draw(st.integers(1, min(3, rows))),
    )
    dram = Dram(
        bits_per_cycle=draw(st.integers(1, 64)),
        burst_bits=draw(st.sampled_from([1, 24, 128])),
        latency_cycles=draw(st.integers(0, 30)),
    )
    return Hardware("random", "", 100.0, array, Widths(weight=8, accumulator=32, membrane=32), PLENTY, dram)


class _Drawer:
    """Builds one random network, remembering which values are spikes and which are currents."""

    def __init__(self, draw: st.DrawFn, time_steps: int, channels: int) -> None:
        self.draw, self.time_steps, self.channels = draw, time_steps, channels
        self.random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        preprocess = Preprocess(pixel_scale=1 / 16, mean=(0.25, 0.5), std=(0.5, 0.75), pixel_max=15)
        self.builder = GraphBuilder("random", time_steps, preprocess)
        self.count = 0

    def name(self, kind: str) -> str:
        self.count += 1
        return f"{kind}{self.count}"

    def lif(self, current: str) -> str:
        mask = tuple(self.draw(st.lists(st.integers(0, 1), min_size=self.time_steps, max_size=self.time_steps)))
        return self.builder.lif(self.name("lif"), current, self.draw(neurons), "mlp", mask)

    def bias(self, outputs: int) -> np.ndarray | None:
        return self.random.normal(0.1, 0.4, outputs) if self.draw(st.booleans()) else None

    def convolution(self, source: str) -> str:
        kernel, stride, padding = self.draw(
            st.sampled_from([((1, 1), 1, 0), ((3, 3), 1, 1), ((3, 3), 2, 1), ((2, 3), 1, 1), ((1, 2), 1, 1)])
        )
        inputs = self.builder.shape(source)[2]
        deviation = 1.5 / np.sqrt(inputs * kernel[0] * kernel[1])
        weight = self.random.normal(0.1, deviation, (self.channels, *kernel, inputs))
        op = Convolution(weight, self.bias(self.channels), stride, padding)
        return self.builder.convolution(self.name("conv"), source, op)

    def pool(self, source: str) -> str:
        """The largest or the sum of each window, of spikes or of currents."""
        if self.draw(st.booleans()):
            return self.builder.max_pool(self.name("max_pool"), source, MaxPool(3, 2, 1))
        kernel, stride, padding = self.draw(
            st.sampled_from([((2, 2), 1, 1), ((3, 3), 2, 1), ((1, 2), 2, 1), ((3, 1), 1, 1)])
        )
        return self.builder.sum_pool(self.name("sum_pool"), source, SumPool(kernel, stride, padding))

    def integrator(self, current: str) -> str:
        leak = self.draw(st.sampled_from([0.0, 0.5, 0.9, 1.0]))
        return self.builder.integrator(self.name("integrator"), current, Integrator(leak))

    def head(self, source: str) -> str:
        """Three logits: of the token sum, of the flattened image (a kernel as large as it), or spikes."""
        kind = self.draw(st.sampled_from(["sum", "flatten", "spikes"]))
        if kind == "sum":
            return self.linear(self.builder.token_sum(self.name("sum"), source), outputs=3)
        height, width, channels = self.builder.shape(source)
        weight = self.random.normal(0.1, 1.5 / np.sqrt(height * width * channels), (3, height, width, channels))
        current = self.builder.convolution(self.name("flat"), source, Convolution(weight, self.bias(3), 1, 0))
        if kind == "spikes":
            return self.lif(current)
        return self.integrator(current) if self.draw(st.booleans()) else current

    def linear(self, source: str, outputs: int | None = None) -> str:
        inputs, outputs = self.builder.shape(source)[2], outputs or self.channels
        weight = self.random.normal(0.1, 1.5 / np.sqrt(inputs), (outputs, inputs))
        return self.builder.linear(self.name("linear"), source, Linear(weight, self.bias(outputs)))

    def attention(self, source: str) -> str:
        query, key, value = (self.lif(self.linear(source)) for _ in range(3))
        heads = self.draw(st.sampled_from([h for h in (1, 2, 3) if self.channels % h == 0]))
        scale = self.draw(st.sampled_from([0.125, 0.5]))
        return self.lif(self.builder.attention(self.name("attention"), query, key, value, heads, scale))

    def spike_block(self, spikes: str) -> str:
        """One more stage on spikes or counts: attention, linear or with a synapse's memory; maybe with a residual."""
        kind = self.draw(st.sampled_from(["attention", "linear", "integrator"]))
        if kind == "attention":
            branch = self.attention(spikes)
        else:
            current = self.linear(spikes)
            branch = self.lif(self.integrator(current) if kind == "integrator" else current)
        same = self.builder.shape(branch) == self.builder.shape(spikes)
        return self.builder.add(self.name("add"), spikes, branch) if same and self.draw(st.booleans()) else branch

    def current_block(self, current: str) -> str:
        """Membrane residual: LIF, product, and the currents added."""
        inner = self.lif(self.integrator(current) if self.draw(st.booleans()) else current)
        branch = self.linear(self.attention(inner) if self.draw(st.booleans()) else inner)
        return self.builder.add(self.name("add"), current, branch)


@st.composite
def graphs(draw: st.DrawFn, largest_steps: int = 4) -> Graph:
    """A float graph of one to three stages on an image of two channels."""
    drawer = _Drawer(draw, draw(st.integers(1, largest_steps)), draw(st.sampled_from([2, 4, 6])))
    build = drawer.builder
    current = drawer.convolution(build.image(draw(st.integers(2, 4)), draw(st.integers(2, 4)), 2))
    if draw(st.booleans()):
        current = drawer.pool(current)
    if draw(st.booleans()):
        current = drawer.integrator(current)
    if draw(st.booleans()):
        current = drawer.linear(drawer.lif(current))
        for _ in range(draw(st.integers(0, 2))):
            current = drawer.current_block(current)
        value = drawer.lif(current)
    else:
        value = drawer.lif(current)
        if draw(st.booleans()):
            value = drawer.pool(value)
        for _ in range(draw(st.integers(0, 2))):
            value = drawer.spike_block(value)
    return build.finish(drawer.head(value), ("a", "b", "c"))


def random_pixels(graph: Graph, seed: int, batch: int = 2) -> np.ndarray:
    """Pixels [B, H, W, C] within the graph's range."""
    random = np.random.default_rng(seed)
    return random.integers(0, graph.preprocess.pixel_max + 1, (batch, *graph.nodes[0].shape))
