"""Run a batch of images through a schedule and account for every event: `simulate` gives a `Result`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.dram import DramRules, Timeline
from dtss.compiler.schedule.format import AnyNode, Product
from dtss.compiler.schedule.images import Pixels
from dtss.compiler.schedule.io import LoadedSchedule
from dtss.compiler.schedule.kernel import free_processors, threads_for
from dtss.hwsim.activity import Counter, NodeActivity, counter_of, feeds_group
from dtss.hwsim.energy import (
    access_energies,
    configuration_bits,
    node_energies,
)
from dtss.hwsim.execute import Program, run_program
from dtss.hwsim.images import Samples
from dtss.hwsim.memory_use import images_per_chunk
from dtss.hwsim.reshape import multiplications
from dtss.hwsim.result import Accuracy, NodeResult, Result
from dtss.hwsim.step_counts import StepCounts, StepRules
from dtss.hwsim.technology import Technology
from dtss.hwsim.values import NodeRun
from dtss.hwsim.workspace import Workspace

WORTH_THREADS = 50_000_000  # products of a weight and a value, of an image: milliseconds

Progress = Callable[[int, int], None]


class Chunk(msgspec.Struct, frozen=True):
    """What a part of the batch gave: by node, and the logits [T, b, K]."""

    activity: tuple[NodeActivity, ...]
    logits: NDArray[np.int64]


def simulate(
    loaded: LoadedSchedule,
    samples: Samples,
    technology: Technology,
    progress: Progress = lambda done, whole: None,
    *,
    by_step: bool = False,
) -> Result:
    """Execute the images in chunks of bounded memory, count, and charge each event. `progress` gets (done, of).

    by_step: say of each node what belongs to each of its time steps.
    """
    return Simulator.of(loaded, by_step=by_step).run(samples, technology, progress)


class Simulator(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule made ready to be simulated, as often as one likes: what no image changes is computed once.

    steps: the rules of what belongs to each time step, by node; empty where nobody asks.
    """

    loaded: LoadedSchedule
    program: Program
    counters: tuple[Counter, ...]
    dram: DramRules
    groups: tuple[str | None, ...]
    steps: dict[str, StepRules]
    images_at_once: int
    configuration_bits: int
    work: int

    @classmethod
    def of(cls, loaded: LoadedSchedule, *, by_step: bool = False) -> Simulator:
        """Lay out the weights and cut every product."""
        schedule, tensors = loaded.schedule, loaded.tensors
        return cls(
            loaded=loaded,
            program=Program.of(schedule, tensors),
            counters=tuple(counter_of(schedule, tensors, node, by_step=by_step) for node in schedule.nodes),
            dram=DramRules.of(schedule),
            groups=tuple(feeds_group(schedule, node) for node in schedule.nodes),
            steps={node.name: StepRules.of(schedule, node) for node in schedule.nodes} if by_step else {},
            images_at_once=images_per_chunk(schedule),
            configuration_bits=configuration_bits(schedule),
            work=sum(
                len(node.steps.active) * multiplications(schedule, node)
                for node in schedule.nodes
                if isinstance(node, Product)
            ),
        )

    def run(
        self,
        samples: Samples,
        technology: Technology,
        progress: Progress = lambda done, whole: None,
        threads: int | None = None,
    ) -> Result:
        """As `simulate`, on `threads`; None: of a large network as many as processors are free.

        They share every node of a run; one after the other run chunks of a batch.
        """
        schedule = self.loaded.schedule
        size, space = self.images_at_once, Workspace(again=True)
        starts = range(0, len(samples.pixels), size)
        whole = len(starts) * len(schedule.nodes)
        done = itertools.count(1)
        chunks = []
        for start in starts:
            with threads_for(threads or self._threads()) as space.threads:
                pixels = samples.pixels[start : start + size]
                chunks.append(self.run_chunk(pixels, space, lambda: progress(next(done), whole)))
        steps = np.concatenate([chunk.logits for chunk in chunks], axis=1) * schedule.output.scale
        nodes, when = self.account(_join(chunks), technology)
        return Result(
            schedule=schedule,
            technology=technology,
            samples=samples,
            nodes=nodes,
            timeline=when,
            logits_per_step=steps,
            accuracy=_accuracy(steps.mean(axis=0), samples),
            configuration_energy_pj=self.configuration_bits * technology.dram.pj,
        )

    def _threads(self) -> int:
        return free_processors() if self.work >= WORTH_THREADS else 1

    def run_chunk(
        self, pixels: Pixels, space: Workspace | None = None, advance: Callable[[], None] = lambda: None
    ) -> Chunk:
        """Images that run side by side, each node's events counted before the next runs."""
        schedule, space = self.loaded.schedule, space or Workspace()
        activity: list[NodeActivity] = []
        logits = np.zeros((schedule.time_steps, len(pixels), len(schedule.output.classes)), np.int64)
        for counter, run in zip(self.counters, run_program(self.program, pixels, space), strict=True):
            activity.append(counter.activity(run, space.threads))
            if run.node.name == schedule.output.node:
                logits = np.stack([run.value_at(t).reshape(len(pixels), -1) for t in range(schedule.time_steps)])
            advance()
        return Chunk(tuple(activity), logits.astype(np.int64))

    def count(self, runs: Sequence[NodeRun]) -> tuple[NodeActivity, ...]:
        """Events of every node, from the values of one batch."""
        return tuple(counter.activity(run) for counter, run in zip(self.counters, runs, strict=True))

    def account(
        self, activity: tuple[NodeActivity, ...], technology: Technology
    ) -> tuple[tuple[NodeResult, ...], Timeline]:
        """Waiting for the DRAM and energy, from the events of every node."""
        schedule = self.loaded.schedule
        run_cycles = {node.name: found.block_cycles for node, found in zip(schedule.nodes, activity, strict=True)}
        when = self.dram.timeline(run_cycles)
        costs = access_energies(schedule, technology)
        table, dram = np.stack([found.table for found in activity]), self.dram.table(when.waited)
        energies = node_energies(table, dram, costs)
        batch = table.shape[2]

        def steps(node: AnyNode, found: NodeActivity) -> StepCounts | None:
            return self.steps[node.name].counts(batch, found.streamed) if self.steps else None

        results = tuple(
            NodeResult(
                node=node,
                group=group,
                neuron=node.neuron if isinstance(node, Product) else None,
                events=events,
                moved=moved,
                energy_pj=energy,
                spikes=found.spikes,
                by_step=steps(node, found),
            )
            for node, group, found, events, moved, energy in zip(
                schedule.nodes, self.groups, activity, table, dram, energies, strict=True
            )
        )
        return results, when


def _join(chunks: list[Chunk]) -> tuple[NodeActivity, ...]:
    """Each node's activity over the whole batch."""
    if len(chunks) == 1:
        return chunks[0].activity
    return tuple(_join_node(parts) for parts in zip(*(chunk.activity for chunk in chunks), strict=True))


def _join_node(parts: tuple[NodeActivity, ...]) -> NodeActivity:
    return NodeActivity(
        table=np.concatenate([part.table for part in parts], axis=1),
        block_cycles=np.concatenate([part.block_cycles for part in parts]),
        spikes=_join_found([part.spikes for part in parts]),
        streamed=_join_found([part.streamed for part in parts]),
    )


def _join_found(parts: list[NDArray[np.int64] | None]) -> NDArray[np.int64] | None:
    found = [part for part in parts if part is not None]
    return np.concatenate(found) if found else None


def _accuracy(logits: NDArray[np.float64], samples: Samples) -> Accuracy:
    chosen = logits.argmax(axis=1)
    reference = None if samples.float_logits is None else samples.float_logits.argmax(axis=1)
    return Accuracy(
        integer_top1=_share_equal(chosen, samples.labels),
        float_top1=_share_equal(reference, samples.labels),
        agreement=_share_equal(chosen, reference),
    )


def _share_equal(left: NDArray[np.int64] | None, right: NDArray[np.int64] | None) -> float | None:
    return None if left is None or right is None else float((left == right).mean())
