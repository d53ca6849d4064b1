"""A small language for front ends: each call adds one node and returns its name."""

from __future__ import annotations

from dataclasses import dataclass, field

from dtss.compiler.errors import CompileError
from dtss.compiler.graph.ir import (
    Add,
    Attention,
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
    Shape,
    StatePlan,
    SumPool,
    TokenSum,
)
from dtss.compiler.schedule.errors import BadInputError
from dtss.compiler.schedule.format import Group, Preprocess, Steps


@dataclass
class GraphBuilder:
    """Collects nodes in execution order; shapes are inferred and checked here."""

    network: str
    time_steps: int
    preprocess: Preprocess
    nodes: list[Node] = field(default_factory=list)

    def image(self, height: int, width: int, channels: int) -> str:
        steps = Steps(active=(0,), reused=tuple(range(1, self.time_steps)))
        self.nodes.append(Node("image", Image(), (), (height, width, channels), steps))
        return "image"

    def convolution(self, name: str, source: str, op: Convolution) -> str:
        height, width, channels = self.shape(source)
        outputs, kernel_height, kernel_width, expected = op.weight.shape
        if channels != expected:
            raise CompileError(
                name, f"its weight reads {expected} channels and {source} has {channels}", "fix the model"
            )
        rows = (height + 2 * op.padding - kernel_height) // op.stride + 1
        columns = (width + 2 * op.padding - kernel_width) // op.stride + 1
        return self._add(name, op, (source,), (rows, columns, outputs))

    def linear(self, name: str, source: str, op: Linear) -> str:
        height, width, channels = self.shape(source)
        if channels != op.weight.shape[1]:
            raise CompileError(
                name, f"its weight reads {op.weight.shape[1]} channels and {source} has {channels}", "fix the model"
            )
        return self._add(name, op, (source,), (height, width, op.weight.shape[0]))

    def batch_norm(self, name: str, source: str, op: BatchNorm) -> str:
        broken = int((op.variance <= 0.0).sum())
        if broken:
            raise BadInputError(
                name,
                f"{broken} of {op.variance.size} variances are 0 or below",
                "the checkpoint is damaged, or the norm never saw a batch: train it again",
            )
        return self._add(name, op, (source,), self.shape(source))

    def lif(self, name: str, source: str, neuron: FloatNeuron, group: Group, mask: tuple[int, ...]) -> str:
        """`mask` holds one 0 or 1 for each time step; it becomes step indices here."""
        if len(mask) != self.time_steps:
            raise CompileError(
                name,
                f"its mask has {len(mask)} entries, but the model runs {self.time_steps} steps",
                "fix the checkpoint",
            )
        if not 0.0 <= neuron.leak <= 1.0 or neuron.gain <= 0.0:
            raise CompileError(name, f"leak {neuron.leak}, gain {neuron.gain}", "leak is 0 to 1 and gain positive")
        every = tuple(range(self.time_steps))
        kept = tuple(step for step in every if mask[step])
        steps = Steps(
            active=kept,
            zero=tuple(step for step in every if not mask[step]),
            why=tuple("" if bit else "masked" for bit in mask),
        )
        node = Node(
            name, Lif(neuron, group, kept), (source,), self.shape(source), steps, StatePlan(every, every, every)
        )
        self.nodes.append(node)
        return name

    def integrator(self, name: str, source: str, op: Integrator) -> str:
        return self._add(name, op, (source,), self.shape(source))

    def max_pool(self, name: str, source: str, op: MaxPool) -> str:
        height, width, channels = self.shape(source)
        rows, columns = ((size + 2 * op.padding - op.kernel) // op.stride + 1 for size in (height, width))
        return self._add(name, op, (source,), (rows, columns, channels))

    def sum_pool(self, name: str, source: str, op: SumPool) -> str:
        height, width, channels = self.shape(source)
        rows, columns = (
            (size + 2 * op.padding - kernel) // op.stride + 1
            for size, kernel in zip((height, width), op.kernel, strict=True)
        )
        return self._add(name, op, (source,), (rows, columns, channels))

    def add(self, name: str, *sources: str) -> str:
        return self._add(name, Add(), sources, self.shape(sources[0]))

    def attention(self, name: str, query: str, key: str, value: str, heads: int, scale: float) -> str:
        if self.shape(query)[2] % heads:
            raise CompileError(
                name, f"{self.shape(query)[2]} channels do not split into {heads} heads", "choose a divisor"
            )
        return self._add(name, Attention(heads, scale), (query, key, value), self.shape(query))

    def token_sum(self, name: str, source: str) -> str:
        return self._add(name, TokenSum(), (source,), (1, 1, self.shape(source)[2]))

    def finish(self, output: str, classes: tuple[str, ...]) -> Graph:
        graph = Graph(self.network, self.time_steps, self.preprocess, classes, output, tuple(self.nodes))
        return graph.with_nodes(graph.nodes)

    def shape(self, name: str) -> Shape:
        return next(node.shape for node in self.nodes if node.name == name)

    def _add(self, name: str, op: Op, inputs: tuple[str, ...], shape: Shape) -> str:
        if min(shape) < 1:
            height, width, _ = self.shape(inputs[0])
            raise CompileError(name, f"its window does not fit the {height}×{width} positions of {inputs[0]}",
                               "give larger images")  # fmt: skip
        self.nodes.append(Node(name, op, inputs, shape, Steps(active=tuple(range(self.time_steps)))))
        return name
