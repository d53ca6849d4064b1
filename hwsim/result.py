"""What a simulation found: counts, cycles, traffic and energy of every node and of the whole, typed and frozen."""

from __future__ import annotations

from functools import cached_property

import msgspec
import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.cycles import Counts, counts_of_table
from dtss.compiler.schedule.dram import DramCounts, Timeline, dram_counts_of_table
from dtss.compiler.schedule.format import AnyNode, Schedule
from dtss.hwsim.energy import (
    COMPUTE_KINDS,
    LEAKAGE_KINDS,
    MEMORY_KINDS,
    EnergyByKind,
    Picojoules,
    add_up,
    total,
    totals,
)
from dtss.hwsim.images import Samples
from dtss.hwsim.in_memory import InMemoryResult
from dtss.hwsim.step_counts import SharedCycles, StepCounts
from dtss.hwsim.technology import Technology


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
