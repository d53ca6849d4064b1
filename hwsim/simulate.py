"""Run a batch of images through a schedule and account for every event: `simulate` gives a `Result`."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from functools import cached_property

import msgspec
import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.cycles import Counts, counts_of_table
from dtss.compiler.schedule.dram import DramCounts, DramRules, Timeline, dram_counts_of_table
from dtss.compiler.schedule.format import AnyNode, Product, Schedule
from dtss.compiler.schedule.images import Pixels
from dtss.compiler.schedule.io import LoadedSchedule
from dtss.compiler.schedule.kernel import threads_for
from dtss.hwsim.activity import Counter, NodeActivity, counter_of, feeds_group
from dtss.hwsim.energy import (
    COMPUTE_KINDS,
    LEAKAGE_KINDS,
    MEMORY_KINDS,
    EnergyByKind,
    Picojoules,
    access_energies,
    add_up,
    configuration_bits,
    node_energies,
    total,
    totals,
)
from dtss.hwsim.execute import Program, run_program
from dtss.hwsim.images import Samples
from dtss.hwsim.in_memory import InMemoryResult
from dtss.hwsim.memory_use import images_per_chunk
from dtss.hwsim.step_counts import SharedCycles, StepCounts, StepRules
from dtss.hwsim.technology import Technology
from dtss.hwsim.values import NodeRun
from dtss.hwsim.workspace import Workspace

Progress = Callable[[int, int], None]


class NodeResult(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One node: its exact counts, on chip and at the DRAM, and its energy, all per image.

    events [COUNTS, B], moved [DRAM_COUNTS, B]: what `counts` and `dram` name.
    group: the layer group of the first LIF that the node is or leads to.
    neuron: the LIF that walks this product's accumulators.  spikes: of a LIF, [B, T].
    by_step: what of it belongs to each step, where that was asked for.
    """

    node: AnyNode
    group: str | None
    neuron: str | None
    events: NDArray[np.int64]
    moved: NDArray[np.int64]
    energy_pj: EnergyByKind
    spikes: NDArray[np.int64] | None
    by_step: StepCounts | None = None

    @cached_property
    def counts(self) -> Counts:
        return counts_of_table(self.events)

    @cached_property
    def dram(self) -> DramCounts:
        return dram_counts_of_table(self.moved)

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def kind(self) -> str:
        return str(type(self.node).__struct_config__.tag)

    @property
    def cycles(self) -> NDArray[np.int64]:
        """[B]: of its work, and waiting for the DRAM before it."""
        return self.counts.cycles + self.dram.stall_cycles

    @property
    def shared_cycles(self) -> SharedCycles | None:
        """Cycles that belong to no step alone; None where steps were not counted."""
        return None if self.by_step is None else SharedCycles.of(self.by_step, self.counts, self.dram)

    @property
    def array_busy(self) -> float:
        """Share of its cycles in which a word that is not all zero enters the array."""
        return float(self.counts.words_issued.sum() / max(1, self.cycles.sum()))

    @property
    def compute_pj(self) -> Picojoules:
        return total(self.energy_pj, COMPUTE_KINDS)

    @property
    def memory_pj(self) -> Picojoules:
        return total(self.energy_pj, MEMORY_KINDS)

    @property
    def leakage_pj(self) -> Picojoules:
        return total(self.energy_pj, LEAKAGE_KINDS)


class Accuracy(msgspec.Struct, frozen=True, kw_only=True):
    """Top-1 fractions over the simulated images; None where labels or float logits are unknown.

    integer_top1: of this run.  float_top1: of the float network on the same images.
    agreement: both choose the same class.
    """

    integer_top1: float | None
    float_top1: float | None
    agreement: float | None

    @property
    def change(self) -> float | None:
        if self.integer_top1 is None or self.float_top1 is None:
            return None
        return self.integer_top1 - self.float_top1


class Result(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """Everything the reports show; per image unless said otherwise. logits_per_step [T, B, K] in float units.

    in_memory: the same network on crossbars, where that was asked for.
    """

    schedule: Schedule
    technology: Technology
    samples: Samples
    nodes: tuple[NodeResult, ...]
    timeline: Timeline
    logits_per_step: NDArray[np.float64]
    accuracy: Accuracy
    configuration_energy_pj: float
    in_memory: InMemoryResult | None = None

    @cached_property
    def images(self) -> int:
        return len(self.samples.pixels)

    @cached_property
    def logits(self) -> NDArray[np.float64]:
        """[B, K]: the mean over the T steps."""
        mean: NDArray[np.float64] = self.logits_per_step.mean(axis=0)
        return mean

    @cached_property
    def cycles(self) -> NDArray[np.int64]:
        """[B]: nodes run one after another."""
        return self.sum_of("cycles") + self.memory_stall_cycles

    @cached_property
    def memory_stall_cycles(self) -> NDArray[np.int64]:
        """[B]: the machine waits for the image or a weight block."""
        return self.sum_of_dram("stall_cycles")

    @cached_property
    def energy_pj(self) -> Picojoules:
        """[B]: over all nodes and kinds."""
        return self.compute_pj + self.memory_pj + self.leakage_pj

    @property
    def compute_pj(self) -> Picojoules:
        return self._totals[0]

    @property
    def memory_pj(self) -> Picojoules:
        return self._totals[1]

    @property
    def leakage_pj(self) -> Picojoules:
        return self._totals[2]

    @cached_property
    def _totals(self) -> tuple[Picojoules, Picojoules, Picojoules]:
        return totals([node.energy_pj for node in self.nodes])

    @cached_property
    def latency_us(self) -> NDArray[np.float64]:
        """[B]: cycles at the machine's clock."""
        return self.cycles / self.schedule.hardware.frequency_mhz

    @cached_property
    def edp_pj_us(self) -> Picojoules:
        """[B]: energy · latency; its mean is that of the products, not the product of the means."""
        return self.energy_pj * self.latency_us

    @cached_property
    def images_per_second(self) -> float:
        """One image after the other, nothing overlapped."""
        return 1e6 / max(float(self.latency_us.mean()), 1e-12)

    @cached_property
    def array_busy(self) -> float:
        """Share of all cycles in which a word that is not all zero enters the array."""
        return float(self.sum_of("words_issued").sum() / max(1, self.cycles.sum()))

    @cached_property
    def lanes_busy(self) -> float:
        """Share of all cycles × R × C in which a lane adds: what the array could do at most."""
        lanes = self.schedule.hardware.array.lanes
        return float(self.sum_of("accumulates").sum() / (max(1, self.cycles.sum()) * lanes))

    def lanes_busy_of(self, node: NodeResult) -> float:
        """As `lanes_busy`, of one node and its cycles."""
        whole = max(1, node.cycles.sum()) * self.schedule.hardware.array.lanes
        return float(node.counts.accumulates.sum() / whole)

    def sum_of(self, count: str) -> NDArray[np.int64]:
        """One field of `Counts` over all nodes [B]."""
        added: NDArray[np.int64] = np.sum([getattr(node.counts, count) for node in self.nodes], axis=0)
        return added

    def sum_of_dram(self, count: str) -> NDArray[np.int64]:
        """One field of `DramCounts` over all nodes [B]."""
        added: NDArray[np.int64] = np.sum([getattr(node.dram, count) for node in self.nodes], axis=0)
        return added

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from dtss.hwsim.report.notebook import fragment

        return fragment(self)

    def kind_pj(self, kind: str) -> Picojoules:
        """One kind of energy over all nodes [B]."""
        return add_up([getattr(node.energy_pj, kind) for node in self.nodes])


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
        )

    def run(
        self,
        samples: Samples,
        technology: Technology,
        progress: Progress = lambda done, whole: None,
        threads: int | None = None,
    ) -> Result:
        """As `simulate`, on `threads`, None: the processors that this process may use.

        They share every node of a run; one after the other run chunks of a batch.
        """
        schedule = self.loaded.schedule
        size = self.images_at_once
        starts = range(0, len(samples.pixels), size)
        whole = len(starts) * len(schedule.nodes)
        done = itertools.count(1)
        with threads_for(threads or len(os.sched_getaffinity(0))) as parts:
            space = Workspace(parts, again=True)
            chunks = [
                self.run_chunk(samples.pixels[start : start + size], space, lambda: progress(next(done), whole))
                for start in starts
            ]
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
