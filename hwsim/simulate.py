"""Run a batch of images through a schedule and account for every event: `simulate` gives a `Result`."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cached_property

import msgspec
import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.cycles import Counts
from dtss.compiler.schedule.dram import DramCounts, Timeline, dram_counts, timeline
from dtss.compiler.schedule.format import AnyNode, Lif, Product, Schedule
from dtss.compiler.schedule.images import Pixels
from dtss.compiler.schedule.io import LoadedSchedule
from dtss.hwsim.activity import NodeActivity, feeds_group, node_activity
from dtss.hwsim.energy import (
    COMPUTE_KINDS,
    LEAKAGE_KINDS,
    MEMORY_KINDS,
    EnergyByKind,
    Picojoules,
    access_energies,
    add_up,
    configuration_energy_pj,
    node_energy,
    total,
)
from dtss.hwsim.execute import Tensors, execute
from dtss.hwsim.images import Samples
from dtss.hwsim.in_memory import InMemoryResult
from dtss.hwsim.memory_use import images_per_chunk
from dtss.hwsim.technology import Technology

Progress = Callable[[int, int], None]


class NodeResult(msgspec.Struct, frozen=True, kw_only=True):
    """One node: its exact counts, on chip and at the DRAM, and its energy, all per image.

    group: the layer group of the first LIF that the node is or leads to.
    neuron: the LIF that walks this product's accumulators.  spikes: of a LIF, [B, T].
    """

    node: AnyNode
    group: str | None
    neuron: str | None
    counts: Counts
    dram: DramCounts
    energy_pj: EnergyByKind
    spikes: NDArray[np.int64] | None

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

    @cached_property
    def compute_pj(self) -> Picojoules:
        return add_up([node.compute_pj for node in self.nodes])

    @cached_property
    def memory_pj(self) -> Picojoules:
        return add_up([node.memory_pj for node in self.nodes])

    @cached_property
    def leakage_pj(self) -> Picojoules:
        return add_up([node.leakage_pj for node in self.nodes])

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
        array = self.schedule.hardware.array
        return float(self.sum_of("accumulates").sum() / (max(1, self.cycles.sum()) * array.rows * array.columns))

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


class _Chunk(msgspec.Struct, frozen=True):
    """What a part of the batch gave: by node, and the logits [T, b, K]."""

    activity: tuple[NodeActivity, ...]
    logits: NDArray[np.int64]


def simulate(
    loaded: LoadedSchedule, samples: Samples, technology: Technology, progress: Progress = lambda done, whole: None
) -> Result:
    """Execute the images in chunks of bounded memory, count, and charge each event. `progress` gets (done, of)."""
    schedule, tensors = loaded.schedule, loaded.tensors
    size = images_per_chunk(schedule)
    starts = range(0, len(samples.pixels), size)
    whole = len(starts) * len(schedule.nodes)
    done = itertools.count(1)

    def advance() -> None:
        progress(next(done), whole)

    chunks = [_run_chunk(schedule, tensors, samples.pixels[start : start + size], advance) for start in starts]
    when = _timeline(loaded, chunks)
    steps = np.concatenate([chunk.logits for chunk in chunks], axis=1) * schedule.output.scale
    return Result(
        schedule=schedule,
        technology=technology,
        samples=samples,
        nodes=_node_results(loaded, technology, chunks, when),
        timeline=when,
        logits_per_step=steps,
        accuracy=_accuracy(steps.mean(axis=0), samples),
        configuration_energy_pj=configuration_energy_pj(schedule, tensors, technology),
    )


def _run_chunk(schedule: Schedule, tensors: Tensors, pixels: Pixels, advance: Callable[[], None]) -> _Chunk:
    activity: list[NodeActivity] = []
    logits = np.zeros((schedule.time_steps, len(pixels), len(schedule.output.classes)), np.int64)
    for run in execute(schedule, tensors, pixels):
        activity.append(node_activity(schedule, tensors, run))
        if run.node.name == schedule.output.node:
            logits = np.stack([run.value_at(t).reshape(len(pixels), -1) for t in range(schedule.time_steps)])
        advance()
    return _Chunk(tuple(activity), logits.astype(np.int64))


def _timeline(loaded: LoadedSchedule, chunks: list[_Chunk]) -> Timeline:
    run_cycles = {
        node.name: np.concatenate([chunk.activity[index].block_cycles for chunk in chunks])
        for index, node in enumerate(loaded.schedule.nodes)
    }
    return timeline(loaded.schedule, loaded.tensors, run_cycles)


def _node_results(
    loaded: LoadedSchedule, technology: Technology, chunks: list[_Chunk], when: Timeline
) -> tuple[NodeResult, ...]:
    schedule, tensors = loaded.schedule, loaded.tensors
    costs = access_energies(schedule, technology)
    dram = dram_counts(schedule, tensors, when.waited)
    results = []
    for index, node in enumerate(schedule.nodes):
        parts = [chunk.activity[index] for chunk in chunks]
        counts = _join([part.counts for part in parts])
        results.append(
            NodeResult(
                node=node,
                group=feeds_group(schedule, node),
                neuron=node.neuron if isinstance(node, Product) else None,
                counts=counts,
                dram=dram[node.name],
                energy_pj=node_energy(schedule, node, counts, dram[node.name], costs),
                spikes=np.concatenate([part.spikes for part in parts if part.spikes is not None])
                if isinstance(node, Lif)
                else None,
            )
        )
    return tuple(results)


def _join(parts: list[Counts]) -> Counts:
    return Counts(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in Counts.__struct_fields__}
    )


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
