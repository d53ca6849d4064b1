"""What a pass is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from dtss.compiler.graph.ir import Graph
from dtss.compiler.graph.verify import Stage
from dtss.compiler.schedule.format import TimeOrder
from dtss.compiler.schedule.hardware import Hardware


@dataclass(frozen=True)
class Target:
    """What the graph is compiled for. time_order None: chosen per layer."""

    hardware: Hardware
    time_order: TimeOrder | None = None


class Pass(Protocol):
    """One step of the compiler: a frozen dataclass whose `run` returns a new graph.

    optional: whether `--no-NAME` may leave it out; the result is then the same integers, at higher cost.
    """

    name: ClassVar[str]
    requires: ClassVar[frozenset[Stage]]
    ensures: ClassVar[frozenset[Stage]]
    removes: ClassVar[frozenset[Stage]]
    optional: ClassVar[bool]

    def run(self, graph: Graph, target: Target) -> Graph: ...


class PassBase:
    """Defaults of the class-level declarations."""

    requires: ClassVar[frozenset[Stage]] = frozenset()
    ensures: ClassVar[frozenset[Stage]] = frozenset()
    removes: ClassVar[frozenset[Stage]] = frozenset()
    optional: ClassVar[bool] = False
