"""What a pass is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from dtss.compiler.graph.ir import Graph
from dtss.compiler.graph.verify import Stage
from dtss.compiler.schedule.format import TimeOrder
from dtss.compiler.schedule.hardware import Hardware


@dataclass(frozen=True, eq=False)
class Target:
    """What the graph is compiled for, and with which images.

    time_order         None: chosen per layer.
    weight_bits        of the integer weights; None: as many as the array's.
    layer_weight_bits  product → bits, where they are others than `weight_bits`.
    calibration        pixels [B, H, W, C] on which the integers' errors are measured; None: rounded to nearest.
    """

    hardware: Hardware
    time_order: TimeOrder | None = None
    weight_bits: int | None = None
    layer_weight_bits: Mapping[str, int] = field(default_factory=dict)
    calibration: NDArray[np.unsignedinteger[Any]] | None = None

    def weight_bits_of(self, product: str) -> int:
        """Two's-complement bits of a product's weights, at most the array's."""
        return self.layer_weight_bits.get(product, self.weight_bits or self.hardware.widths.weight)


class Pass(Protocol):
    """One step of the compiler: a frozen dataclass whose `run` returns a new graph.

    optional: whether `--no-NAME` may switch it off.
    keeps_integers: whether the result is then the same integers, at higher cost.
    switched_off: what runs in its place then, if something must.
    """

    name: ClassVar[str]
    requires: ClassVar[frozenset[Stage]]
    ensures: ClassVar[frozenset[Stage]]
    removes: ClassVar[frozenset[Stage]]
    optional: ClassVar[bool]
    keeps_integers: ClassVar[bool]

    def run(self, graph: Graph, target: Target) -> Graph: ...

    def switched_off(self) -> Pass | None: ...


class PassBase:
    """Defaults of the class-level declarations."""

    requires: ClassVar[frozenset[Stage]] = frozenset()
    ensures: ClassVar[frozenset[Stage]] = frozenset()
    removes: ClassVar[frozenset[Stage]] = frozenset()
    optional: ClassVar[bool] = False
    keeps_integers: ClassVar[bool] = True

    def switched_off(self) -> Pass | None:
        return None
