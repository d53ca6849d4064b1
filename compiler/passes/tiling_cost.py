"""What a tiling would cost: the simulator's own rules on words drawn at random.

Spikes are not known when a network is compiled, so each word's ones are drawn from a binomial distribution with
`EXPECTED_ONES` ones a bit, from one seed. Counts, cycles and stalls then follow from `schedule.cycles` as in dtss-sim,
and energy from `relative_energy`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import msgspec
import numpy as np
from numpy.typing import NDArray

from dtss.compiler.passes.assign_tiles import tilings
from dtss.compiler.passes.relative_energy import product_energy
from dtss.compiler.schedule.cycles import product_counts
from dtss.compiler.schedule.format import AnyNode, AttentionProduct, Lif, Product, Schedule, Tiling, TimeOrder
from dtss.compiler.schedule.geometry import geometry, reduction_length

EXPECTED_ONES = 0.1  # share of ones among streamed bits; trained networks here have 0.02 to 0.1


@dataclass(frozen=True)
class Candidate:
    """A tiling with the cycles and the relative energy that it is expected to take for an image.

    cost = cycles · energy, the energy-delay product.
    """

    tiling: Tiling
    cycles: int
    energy: float

    @property
    def cost(self) -> float:
        return self.cycles * self.energy


def candidates(schedule: Schedule, product: Product, time_order: TimeOrder | None = None) -> tuple[Candidate, ...]:
    """Every tiling that is possible with its cost: best first; of equals the first listed."""
    found = (_candidate(schedule, product, tiling) for tiling in tilings(schedule, product, time_order))
    return tuple(sorted(found, key=lambda candidate: candidate.cost))


def cheapest(
    schedule: Schedule, product: Product, time_order: TimeOrder | None = None, *, membranes_fit: bool = True
) -> Candidate | None:
    """The best candidate: time outermost only where membranes still fit, or it is asked for or alone possible.

    None if no time order is possible.
    """
    found = candidates(schedule, product, time_order)
    held = [candidate for candidate in found if membranes_fit or candidate.tiling.time_order == "inner"]
    return next(iter(held or found), None)


def _candidate(schedule: Schedule, product: Product, tiling: Tiling) -> Candidate:
    tiled = msgspec.structs.replace(product, tiling=tiling)
    changed: dict[str, AnyNode] = {product.name: tiled}
    if product.neuron is not None:
        neuron = schedule.node(product.neuron)
        assert isinstance(neuron, Lif)
        changed[neuron.name] = msgspec.structs.replace(neuron, time_order=tiling.time_order)
    scene = msgspec.structs.replace(schedule, nodes=tuple(changed.get(node.name, node) for node in schedule.nodes))
    counts = product_counts(scene, tiled, expected_ones(scene, tiled)).counts
    return Candidate(tiling, int(counts.cycles[0]), float(product_energy(scene, counts)[0]))


def expected_ones(schedule: Schedule, product: Product) -> NDArray[np.int64]:
    """Ones of each streamed word [1, groups, positions, steps, planes, reduction tiles], the same at every call."""
    cut = geometry(schedule, product)
    shape = (1, cut.groups, cut.positions, len(cut.slot_steps), cut.planes, len(cut.rows))
    shares = plane_shares(schedule, schedule.node(product.inputs[0]))
    return np.random.default_rng(0).binomial(np.array(cut.rows), shares[:, None], shape)


def plane_shares(schedule: Schedule, streamed: AnyNode) -> NDArray[np.float64]:
    """Share of ones in each bit plane: `EXPECTED_ONES`, but in a matrix Q·Kᵀ what follows from that for Q and K."""
    shares = np.full(streamed.value.planes, EXPECTED_ONES)
    if isinstance(streamed, AttentionProduct):
        most = reduction_length(streamed, schedule.node(streamed.inputs[0]))
        both = EXPECTED_ONES**2
        probability = np.array([comb(most, n) * both**n * (1 - both) ** (most - n) for n in range(most + 1)])
        for plane in range(len(shares)):
            shares[plane] = probability[np.arange(most + 1) >> plane & 1 == 1].sum()
    clipped: NDArray[np.float64] = np.minimum(shares, 1.0)  # sums of rounded terms
    return clipped
