"""Fast bit-exact execution of a schedule for a batch of images.

Written apart from `dtss.compiler.schedule.interpret`, so that equal results are a check of both. Every sum is made in
an integer that its bound from the weights and the proved bounds of the streamed value fits; every value
is checked against its own proved bounds before it is used, so nothing can wrap unseen.

Shape letters as in `dtss.compiler.schedule.format`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import assert_never

import numpy as np

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
from dtss.hwsim.elementwise import Elementwise
from dtss.hwsim.neurons import NeuronLayer, run_integrator
from dtss.hwsim.products import AttentionByHead, Streamed, Tensors, WeightedProduct
from dtss.hwsim.values import Array, AtSteps, NodeRun, Read, Stack, proved, stack_of
from dtss.hwsim.workspace import Workspace

Step = Image | WeightedProduct | AttentionByHead | NeuronLayer | Integrator | Elementwise


@dataclass(frozen=True, eq=False)
class Program:
    """A schedule made ready to run: everything that no image changes."""

    schedule: Schedule
    steps: tuple[Step, ...]

    @classmethod
    def of(cls, schedule: Schedule, tensors: Tensors) -> Program:
        """Weights laid out by element of the sum, widths chosen."""
        return cls(schedule, tuple(_step(schedule, tensors, node) for node in schedule.nodes))

    @cached_property
    def nodes(self) -> dict[str, AnyNode]:
        return {node.name: node for node in self.schedule.nodes}

    @cached_property
    def finished(self) -> dict[str, list[str]]:
        """Node → the values that nothing reads after it."""
        last_reader = {node.name: node.name for node in self.schedule.nodes}
        for node in self.schedule.nodes:
            last_reader |= dict.fromkeys(node.inputs, node.name)
        finished: dict[str, list[str]] = {node.name: [] for node in self.schedule.nodes}
        for name, reader in last_reader.items():
            finished[reader].append(name)
        return finished


def execute(schedule: Schedule, tensors: Tensors, pixels: Array) -> Iterator[NodeRun]:
    """Run `pixels` [B, H, W, C], node by node, and record every membrane."""
    return run_program(Program.of(schedule, tensors), pixels, record=True)


def run_program(
    program: Program, pixels: Array, space: Workspace | None = None, *, record: bool = False
) -> Iterator[NodeRun]:
    """Run `pixels` [B, H, W, C], node by node.

    A value is dropped after its last reader; in a space whose memory serves again, it is gone then.
    """
    space = space or Workspace()
    memories: dict[str, list[Array]] = {}
    values: dict[str, AtSteps] = {}
    streamed: dict[str, Streamed] = {}
    for node, step in zip(program.schedule.nodes, program.steps, strict=True):
        sources = [(program.nodes[name], values[name]) for name in node.inputs]
        run = _run(step, node, sources, pixels, streamed, record=record, space=space)
        memories[node.name] = space.taken()
        values[node.name] = run.values
        yield run
        for name in program.finished[node.name]:
            del values[name]
            streamed.pop(name, None)
            space.free(memories.pop(name))


def _step(schedule: Schedule, tensors: Tensors, node: AnyNode) -> Step:
    match node:
        case Convolution() | Linear():
            return WeightedProduct.of(schedule, tensors, node)
        case AttentionProduct():
            return AttentionByHead.of(schedule, tensors, node)
        case Lif():
            return NeuronLayer.of(schedule, tensors, node)
        case Add() | MaxPool() | SumPool() | TokenSum():
            return Elementwise.of(schedule, node)
        case Image() | Integrator():
            return node
        case _:
            assert_never(node)


def _run(
    step: Step,
    node: AnyNode,
    sources: Sequence[tuple[AnyNode, AtSteps]],
    pixels: Array,
    streamed: dict[str, Streamed],
    *,
    record: bool,
    space: Workspace,
) -> NodeRun:
    batch = len(pixels)
    match step:
        case Image():
            return NodeRun(step, batch, (), _image(step, pixels))
        case NeuronLayer():
            return step.run(Read(*sources[0], step.node.state_steps, batch), batch, space, record=record)
        case Integrator():
            return run_integrator(step, Read(*sources[0], step.steps.active, batch), batch)
        case _:
            inputs = tuple(stack_of(source, held, node.steps.active, batch) for source, held in sources)
    match step:
        case WeightedProduct():
            return step.run(inputs, _shared(step, inputs[0], sources[0][1], streamed, space.threads), space)
        case AttentionByHead():
            return step.run(inputs, space)
        case Elementwise():
            return step.run(inputs, batch, space)
        case _:
            assert_never(step)


def _image(node: Image, pixels: Array) -> Stack:
    first = node.steps.active[:1]
    return Stack(first, np.stack([proved(node, step, pixels) for step in first]) if first else pixels[None][:0])


def _shared(
    step: WeightedProduct, stack: Stack, held: AtSteps, streamed: dict[str, Streamed], threads: int
) -> Streamed:
    """Looked at once for all products that read the same frames."""
    if step.border is not None or not isinstance(held, Stack) or held.frames is not stack.frames:
        return Streamed.of(stack, step.highest, step.border, threads)
    if step.source not in streamed:
        streamed[step.source] = Streamed.of(stack, step.highest, None, threads)
    return streamed[step.source]
