"""(Q·Kᵀ)·V and Q·(Kᵀ·V), what each is expected to take, and how one becomes the other.

Both are live at the same steps: those at which none of Q, K and V is zero and somebody needs the product. Only what is
called zero and what dead between them differs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import msgspec

from dtss.compiler.passes.tiling_cost import Candidate, cheapest
from dtss.compiler.schedule.format import AnyNode, AttentionProduct, AttentionStage, Schedule, Steps, TimeOrder, Value

Inner = Literal["query_key", "key_value"]
OUTER: dict[Inner, AttentionStage] = {"query_key": "score_value", "key_value": "query_key_value"}
WRITTEN: dict[Inner, str] = {"query_key": "(Q·Kᵀ)·V", "key_value": "Q·(Kᵀ·V)"}


@dataclass(frozen=True)
class Path:
    """Both products of an order, with the cheapest tiling that each has: cost = cycles · energy, as of one product."""

    inner: AttentionProduct
    outer: AttentionProduct
    tilings: tuple[Candidate, Candidate]

    @property
    def name(self) -> str:
        return WRITTEN["key_value" if self.inner.stage == "key_value" else "query_key"]

    @property
    def cycles(self) -> int:
        return sum(candidate.cycles for candidate in self.tilings)

    @property
    def energy(self) -> float:
        return sum(candidate.energy for candidate in self.tilings)

    @property
    def cost(self) -> float:
        return self.cycles * self.energy


def paths(schedule: Schedule, outer: AttentionProduct, time_order: TimeOrder | None = None) -> tuple[Path, ...]:
    """The orders that the machine can run, best first; of equals (Q·Kᵀ)·V."""
    return tuple(sorted(_possible(schedule, outer, time_order), key=lambda path: path.cost))


def _possible(schedule: Schedule, outer: AttentionProduct, time_order: TimeOrder | None) -> Iterator[Path]:
    for order in OUTER:
        pair = in_order(schedule, outer, order)
        if pair is None:
            continue
        scene = _with(schedule, outer, pair)
        inner, outer_tiling = (cheapest(scene, product, time_order) for product in pair)
        if inner is not None and outer_tiling is not None:
            yield Path(*pair, (inner, outer_tiling))


def in_order(
    schedule: Schedule, outer: AttentionProduct, order: Inner
) -> tuple[AttentionProduct, AttentionProduct] | None:
    """The two products whose result is `outer`'s in this order; None where the array cannot hold what stands still.

    None also for the other order where some of it is computed once for all steps: that may not be so there.
    """
    query, key, value = (schedule.node(name) for name in operands(schedule, outer))
    old = inner_of(schedule, outer)
    if old.stage == order:
        return old, outer
    if old.steps.reused or outer.steps.reused:
        return None
    left, right = (query, key) if order == "query_key" else (key, value)
    size = query.positions if order == "query_key" else query.channels // outer.heads
    length = query.channels // outer.heads if order == "query_key" else query.positions
    most = length * left.value.high * right.value.high
    stationary = (key.value.high, value.value.high) if order == "query_key" else (value.value.high, most)
    if max(stationary) >= 1 << (schedule.hardware.widths.weight - 1):
        return None
    name = f"{outer.name}.{order}"
    inner = msgspec.structs.replace(
        old, name=name, inputs=(left.name, right.name), shape=(outer.heads, size, size),
        value=Value(low=0, high=most), steps=_inner_steps(outer.steps, left, right), stage=order,
    )  # fmt: skip
    inputs = (name, value.name) if order == "query_key" else (query.name, name)
    steps = _outer_steps(outer.steps, inputs, query if order == "key_value" else inner)
    return inner, msgspec.structs.replace(outer, inputs=inputs, steps=steps, stage=OUTER[order])


def inner_of(schedule: Schedule, outer: AttentionProduct) -> AttentionProduct:
    inner = schedule.node(outer.inputs[1 if outer.stage == "query_key_value" else 0])
    assert isinstance(inner, AttentionProduct)
    return inner


def operands(schedule: Schedule, outer: AttentionProduct) -> tuple[str, str, str]:
    """Names of Q, K and V."""
    first, second = inner_of(schedule, outer).inputs
    if outer.stage == "query_key_value":
        return outer.inputs[0], first, second
    return first, second, outer.inputs[1]


def _inner_steps(outer: Steps, left: AnyNode, right: AnyNode) -> Steps:
    """Live where the whole product is, which unpruned is everywhere; zero where a factor is; else nobody needs it."""
    zero = tuple(sorted({*left.steps.zero, *right.steps.zero} - {*outer.active}))
    dead = tuple(step for step in (*outer.zero, *outer.dead) if step not in zero)
    why = tuple(_why_inner(step, outer, left, right) for step in range(len(outer.why)))
    return Steps(active=outer.active, zero=zero, dead=tuple(sorted(dead)), why=why)


def _why_inner(step: int, outer: Steps, left: AnyNode, right: AnyNode) -> str:
    silent = next((factor for factor in (left, right) if step in factor.steps.zero), None)
    if silent is not None:
        return f"{silent.name} is zero"
    return "" if step in outer.active else "output not live"


def _outer_steps(steps: Steps, inputs: tuple[str, str], first: AnyNode) -> Steps:
    """The same steps; a zero one names the first input that is zero there."""
    why = tuple(
        f"{inputs[0] if step in first.steps.zero else inputs[1]} is zero" if step in steps.zero else reason
        for step, reason in enumerate(steps.why)
    )
    return msgspec.structs.replace(steps, why=why)


def _with(schedule: Schedule, outer: AttentionProduct, pair: tuple[AttentionProduct, AttentionProduct]) -> Schedule:
    changed = {inner_of(schedule, outer).name: pair[0], outer.name: pair[1]}
    return msgspec.structs.replace(schedule, nodes=tuple(changed.get(node.name, node) for node in schedule.nodes))
