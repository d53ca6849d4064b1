"""Roofline: how fast each product adds, against what the array and the ports of its weights allow.

    additions a cycle ≤ min(R·C, additions a weight bit · bits a cycle)

for the weight memory's port (weight_rows_per_cycle · C · weight width) and, where weights do not stay on chip, for the
DRAM's (bits_per_cycle). Both axes are logarithmic.
"""

from __future__ import annotations

import math

import msgspec

from dtss.compiler.schedule.format import Convolution, Linear
from dtss.hwsim.report import quantities
from dtss.hwsim.result import NodeResult, Result

LEFT, RIGHT, TOP, BOTTOM = 56.0, 1000.0, 12.0, 330.0  # of the plot, in units of the drawing


class Dot(msgspec.Struct, frozen=True, kw_only=True):
    x: float
    y: float
    port: str  # weights or dram
    title: str


class Line(msgspec.Struct, frozen=True, kw_only=True):
    points: str
    port: str
    label: str
    label_x: float
    label_y: float


class Roofline(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the drawing needs."""

    dots: tuple[Dot, ...]
    roofs: tuple[Line, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    finding: str


class _Point(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    port: str
    intensity: float  # additions a bit
    speed: float  # additions a cycle


class _Scale:
    """A logarithmic axis."""

    def __init__(self, values: list[float], start: float, end: float) -> None:
        self.low, self.high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        self.high = max(self.high, self.low + 1)
        self.start, self.end = start, end

    def __call__(self, value: float) -> float:
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 2)

    def ticks(self) -> tuple[tuple[float, str], ...]:
        powers = range(self.low, self.high + 1)
        return tuple((self(10.0**power), quantities.significant(10.0**power, 1)) for power in powers)


def roofline(result: Result) -> Roofline | None:
    """None if no product with weights adds anything."""
    ports = _ports(result)
    points = [point for node in result.nodes for point in _points(result, node, ports)]
    if not points:
        return None
    array = result.schedule.hardware.array
    peak = float(array.lanes)
    ridges = [peak / bits for bits in ports.values()]
    x = _Scale([*(point.intensity for point in points), *ridges], LEFT, RIGHT)
    y = _Scale([*(point.speed for point in points), peak], BOTTOM, TOP)
    return Roofline(
        dots=tuple(
            Dot(
                x=x(point.intensity),
                y=y(point.speed),
                port=point.port,
                title=(
                    f"{point.name}: {quantities.significant(point.speed)} additions a cycle, "
                    f"{quantities.significant(point.intensity)} a bit of {_named(point.port)}"
                ),
            )
            for point in points
        ),
        roofs=tuple(_roof(port, bits, peak, x, y) for port, bits in ports.items()),
        x_ticks=x.ticks(),
        y_ticks=y.ticks(),
        finding=_finding(result, points, ports, peak),
    )


def _ports(result: Result) -> dict[str, float]:
    """Bits a cycle of each port that weights cross."""
    hardware = result.schedule.hardware
    weights = float(hardware.array.weight_rows_per_cycle * hardware.array.columns * hardware.widths.weight)
    if result.schedule.memory.weights_resident:
        return {"weights": weights}
    return {"weights": weights, "dram": float(hardware.dram.bits_per_cycle)}


def _points(result: Result, node: NodeResult, ports: dict[str, float]) -> list[_Point]:
    """A product with weights at each of its ports."""
    if not isinstance(node.node, Convolution | Linear) or not node.counts.accumulates.any():
        return []
    hardware = result.schedule.hardware
    row_bits = hardware.array.columns * hardware.widths.weight
    moved = {
        "weights": float(node.counts.weight_row_reads.mean()) * row_bits,
        "dram": float(node.dram.dram_read_bits.mean()),
    }
    cycles, added = float(node.cycles.mean()), float(node.counts.accumulates.mean())
    return [_Point(name=node.name, port=port, intensity=added / moved[port], speed=added / cycles) for port in ports]


def _roof(port: str, bits: float, peak: float, x: _Scale, y: _Scale) -> Line:
    """The slope as far as the drawing shows it, then the array's peak."""
    low_x, low_y, high_x = 10.0**x.low, 10.0**y.low, 10.0**x.high
    start = max(low_x, low_y / bits)
    ridge = min(max(peak / bits, low_x), high_x)
    points = [(start, min(peak, start * bits)), (ridge, min(peak, ridge * bits)), (high_x, min(peak, high_x * bits))]
    middle = math.sqrt(start * ridge)
    return Line(
        points=" ".join(f"{x(px)},{y(py)}" for px, py in points),
        port=port,
        label=f"{_named(port)}, {quantities.whole(bits)} bits a cycle",
        label_x=x(middle),
        label_y=y(min(peak, middle * bits)),
    )


def _named(port: str) -> str:
    return "weight memory" if port == "weights" else "DRAM"


def _finding(result: Result, points: list[_Point], ports: dict[str, float], peak: float) -> str:
    fastest = max(points, key=lambda point: point.speed)
    bound = {point.name for point in points if point.intensity * ports[point.port] < peak}
    products = {point.name for point in points}
    sentence = (
        f"{len(bound)} of {len(products)} products move too many weight bits for their additions to fill the array"
    )
    if not bound:
        sentence = "No product is limited by its weights: all could fill the array"
    return (
        f"{sentence}. The fastest, {fastest.name}, makes {quantities.significant(fastest.speed)} of the "
        f"{quantities.whole(peak)} additions that are possible in a cycle; what a zero bit leaves idle counts as idle."
    )
