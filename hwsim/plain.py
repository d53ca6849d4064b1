"""The same network without masks, every layer at all T steps, from one masked run.

    steps that the run computed     as it measured them
    every other step                at the layer's mean of the steps that it did compute (the assumption)
    layers that computed no step    at the mean of the network's other products

Words, ones, accumulates and the skipper's cycles grow with the steps; passes, weight loads, walks, rows and membrane
accesses are those of the schedule at T steps: strips hold fewer positions, and where time runs outermost every membrane
is read and written at every step. What is fed by the image alone is still computed once, as any compiler would.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.cycles import Counter, Counts, ProductRules, elementwise_counts, table_of_counts
from dtss.compiler.schedule.dram import DramRules
from dtss.compiler.schedule.format import AnyNode, Image, Integrator, Lif, Product, Schedule, Steps, TimeOrder
from dtss.compiler.schedule.geometry import geometry
from dtss.hwsim.energy import EnergyByKind, access_energies, node_energies
from dtss.hwsim.reshape import cut_again, dense_counts, whole, with_steps
from dtss.hwsim.result import NodeResult, Result

STREAMED = ("stream_cycles", "words_issued", "active_bits", "accumulates", "gated_accumulates")


class PlainNode(msgspec.Struct, frozen=True, kw_only=True):
    """One node of the extended network: counts, cycles with stalls [B] and energy."""

    counts: Counts
    cycles: Counter
    energy_pj: EnergyByKind


def plain_nodes(result: Result, time_steps: int) -> dict[str, PlainNode]:
    """Every node at `time_steps` steps."""
    plain = plain_schedule(result.schedule, time_steps)
    costs = access_energies(plain, result.technology)
    density = _Density.of(result)
    pairs = {node.name: (node, part) for node, part in zip(plain.nodes, result.nodes, strict=True)}
    counted = {
        name: _as_measured(part, counts, cycles)
        if isinstance(node, Product) and _same_work(result.schedule, plain, node)
        else (counts, cycles)
        for name, (node, part) in pairs.items()
        for counts, cycles in [_counts(plain, node, part, density)]
    }
    rules = DramRules.of(plain)
    waited = rules.timeline({name: cycles for name, (_, cycles) in counted.items()}).waited
    counts_of = [counts for counts, _ in counted.values()]
    energies = node_energies(table_of_counts(counts_of), rules.table(waited), costs)
    return {
        name: PlainNode(counts=counts, cycles=counts.cycles + waited[name], energy_pj=energy)
        for name, counts, energy in zip(counted, counts_of, energies, strict=True)
    }


def plain_schedule(schedule: Schedule, time_steps: int) -> Schedule:
    """Every step of every node active; of what the image alone feeds, the first, reused."""
    every = tuple(range(time_steps))
    steps = Steps(active=every, why=("",) * time_steps)
    once = Steps(active=(0,), reused=every[1:], why=("",) * time_steps)
    constant = fed_by_the_image_alone(schedule)
    plain = with_steps(schedule, time_steps, lambda node: once if node.name in constant else steps)
    again = {node.name: _cut(schedule, plain, node) for node in plain.nodes if isinstance(node, Product)}
    outer = {node.neuron for node in again.values() if node.tiling is not None and node.tiling.time_order == "outer"}
    return msgspec.structs.replace(
        plain, nodes=tuple(_in_order(again.get(node.name, node), outer) for node in plain.nodes)
    )


def fed_by_the_image_alone(schedule: Schedule) -> frozenset[str]:
    """Nodes whose value is the same at every step."""
    constant: set[str] = set()
    for node in schedule.nodes:
        if isinstance(node, Image) or (not isinstance(node, Lif | Integrator) and constant.issuperset(node.inputs)):
            constant.add(node.name)
    return frozenset(constant)


def _cut(schedule: Schedule, plain: Schedule, node: Product) -> Product:
    """The schedule's own strips where a position needs as many slots as before."""
    old, slots = schedule.node(node.name), len(node.steps.active)
    assert node.tiling is not None
    if len(old.steps.active) == slots or node.tiling.time_order == "outer":
        return node
    order: TimeOrder = "inner" if slots <= plain.hardware.array.strip_slots else "outer"
    return cut_again(plain, node, order, slots if order == "inner" else 1)


def _in_order(node: AnyNode, outer: set[str | None]) -> AnyNode:
    again: AnyNode = msgspec.structs.replace(node, time_order="outer") if node.name in outer else node
    return again


def _same_work(schedule: Schedule, plain: Schedule, node: Product) -> bool:
    """Whether the run did all that the extended network does: same cut, same spikes written, no membrane moved."""
    old = schedule.node(node.name)
    assert isinstance(old, Product)
    if geometry(schedule, old) != geometry(plain, node) or geometry(plain, node).time_order == "outer":
        return False
    return old.neuron is None or len(schedule.node(old.neuron).steps.active) == plain.time_steps


def _as_measured(part: NodeResult, counts: Counts, cycles: Counter) -> tuple[Counts, Counter]:
    """The run's own counts; its cycles shared among the blocks as the extension has them."""
    shares = cycles.cumsum(-1) / np.maximum(1, cycles.sum(-1, keepdims=True))
    return part.counts, np.diff(whole(shares * part.counts.cycles[:, None]), prepend=0, axis=-1)


class _Density(msgspec.Struct, frozen=True, kw_only=True):
    """Over the products that spikes stream through: what a dense word would give, and what the run's words gave [B]."""

    share: dict[str, NDArray[np.float64]]

    @classmethod
    def of(cls, result: Result) -> _Density:
        constant = fed_by_the_image_alone(result.schedule)
        seen = [part for part in result.nodes if isinstance(part.node, Product) and part.name not in constant]
        seen = [part for part in seen if part.node.steps.active]
        dense = dict.fromkeys(STREAMED, 0)
        for part in seen:
            assert isinstance(part.node, Product)
            counts = dense_counts(result.schedule, part.node).counts
            for name, of in _dense_of(counts).items():
                dense[name] += of
        return cls(
            share={
                name: np.sum([getattr(part.counts, name) for part in seen], axis=0) / max(1, dense[name])
                if seen
                else np.zeros(result.images)
                for name in STREAMED
            }
        )


def _dense_of(counts: Counts) -> dict[str, int]:
    """What each streamed count is a share of: words, bits or lanes offered."""
    words, bits, lanes = (int(getattr(counts, name)[0]) for name in ("words_offered", "active_bits", "accumulates"))
    return {
        "stream_cycles": words, "words_issued": words, "active_bits": bits, "accumulates": lanes,
        "gated_accumulates": lanes,
    }  # fmt: skip


def _counts(plain: Schedule, node: AnyNode, part: NodeResult, density: _Density) -> tuple[Counts, Counter]:
    """(counts [B], cycles of each block [B, blocks])."""
    batch = len(part.counts.cycles)
    if not isinstance(node, Product):
        counts = elementwise_counts(plain, node, batch)
        return counts, counts.cycles[:, None]
    dense = dense_counts(plain, node)
    streamed = _streamed(node, part, dense.counts, density)
    rules = ProductRules.of(plain, node)
    if not rules.cut.walk_steps:
        return dense.counts, dense.block_cycles
    tiles = len(rules.cut.columns)
    stream = _spread(whole(streamed["stream_cycles"] / tiles), rules)
    found = rules.counts_of(stream, np.stack([stream.reshape(batch, -1).sum(-1), *np.zeros((3, batch), np.int64)]))
    issued = streamed["words_issued"]
    walk_reads = dense.counts.accumulator_reads - dense.counts.words_issued
    fields = {name: getattr(found.counts, name) for name in Counts.__struct_fields__}
    fields |= streamed | {
        "stream_cycles": found.counts.stream_cycles,
        "accumulator_reads": issued + walk_reads,
        "accumulator_writes": issued,
    }
    return Counts(**fields), found.block_cycles


def _streamed(node: Product, part: NodeResult, dense: Counts, density: _Density) -> dict[str, Counter]:
    """The counts that follow the spikes, at the steps of `node`."""
    measured = len(part.node.steps.active)
    if measured:
        ratio = len(node.steps.active) / measured
        return {name: whole(getattr(part.counts, name) * ratio) for name in STREAMED}
    return {name: whole(density.share[name] * of) for name, of in _dense_of(dense).items()}


def _spread(total: Counter, rules: ProductRules) -> NDArray[np.int64]:
    """`total` [B] over the passes of an output tile in proportion to their words, whole cycles, none lost.

    [B, groups, pass steps, strips, reduction tiles], as `skipper.pass_sums`.
    """
    cut = rules.cut
    shape = (cut.groups, cut.pass_steps if cut.slot_steps else 0, cut.strips, len(cut.rows))
    words = np.broadcast_to(cut.pass_words[:, None], shape)
    shares = words.ravel().cumsum() / max(1, words.sum())
    spread: NDArray[np.int64] = np.diff(whole(np.outer(total, shares)), prepend=0, axis=-1)
    return spread.reshape(len(total), *shape)


def extension(result: Result) -> tuple[int, int]:
    """(layer steps that the run computed, layer steps at T): how far the assumption reaches."""
    constant = fed_by_the_image_alone(result.schedule)
    products = [node for node in result.schedule.products if node.name not in constant]
    return sum(len(node.steps.active) for node in products), len(products) * result.schedule.time_steps
