"""Small panels of points with the straight line through them, as SVG written by hand: no plotting package is needed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log2

import numpy as np

WIDTH, HEIGHT, MARGIN, RIGHT, TOP = 270, 230, 48, 16, 34

Points = Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Growth:
    """Least squares of y = fixed + each·x, and the exponent p of y − fixed ∝ x^p over the last doubling of x."""

    fixed: float
    each: float
    r_squared: float
    exponent: float

    @classmethod
    def of(cls, points: Points) -> "Growth":
        """Of points whose largest x has its half among them."""
        x, y = np.array(points, np.float64).T
        each, fixed = np.polyfit(x, y, 1)
        measured, widest = dict(points), points[-1][0]
        exponent = log2((measured[widest] - fixed) / (measured[widest // 2] - fixed))
        return cls(float(fixed), float(each), float(np.corrcoef(x, y)[0, 1] ** 2), exponent)


def growth_lines(curves: Mapping[str, Points]) -> list[str]:
    """The fit of each curve in seconds, as a table in milliseconds."""
    lines = ["", "| CPU ms over | fixed | each more | R² | exponent |", "|---|---|---|---|---|"]
    for name, points in curves.items():
        fit = Growth.of(points)
        cells = f"{1e3 * fit.fixed:.1f} | {1e3 * fit.each:.2f} | {fit.r_squared:.4f} | {fit.exponent:.2f}"
        lines.append(f"| {name} | {cells} |")
    return lines


def growth_plot(title: str, curves: Mapping[str, Points]) -> str:
    """One panel for each curve in seconds, drawn in milliseconds, both axes from 0."""
    panels = "".join(
        f'<g transform="translate({index * WIDTH} 24)">{_panel(name, points)}</g>'
        for index, (name, points) in enumerate(curves.items())
    )
    width, height = WIDTH * len(curves), HEIGHT + 24
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="11"><rect width="{width}" height="{height}" fill="#fff"/>'
        f'<text x="8" y="18" font-size="13">{title}</text>{panels}</svg>\n'
    )


def _panel(name: str, points: Points) -> str:
    widest, highest = max(x for x, _ in points), max(y for _, y in points)
    fit = Growth.of(points)

    def at(x: float, y: float) -> tuple[float, float]:
        across, up = (WIDTH - MARGIN - RIGHT) * x / widest, (HEIGHT - MARGIN - TOP) * y / highest
        return MARGIN + across, HEIGHT - MARGIN - up

    (left, bottom), (right, top) = at(0, 0), at(widest, highest)
    (_, start), (_, end) = at(0, fit.fixed), at(widest, fit.fixed + fit.each * widest)
    dots = "".join('<circle cx="{:.1f}" cy="{:.1f}" r="3"/>'.format(*at(x, y)) for x, y in points)
    across = "".join(
        f'<text x="{at(x, 0)[0]:.1f}" y="{bottom + 14}" text-anchor="middle">{x}</text>' for x, _ in points
    )
    up = "".join(
        f'<line x1="{left - 3}" x2="{left}" y1="{at(0, y)[1]:.1f}" y2="{at(0, y)[1]:.1f}" stroke="#888"/>'
        f'<text x="{left - 6}" y="{at(0, y)[1] + 4:.1f}" text-anchor="end">{1e3 * y:.0f}</text>'
        for y in (0.0, highest / 2, highest)
    )
    equation = f"{1e3 * fit.fixed:.1f} ms + {1e3 * fit.each:.2f} ms · {name}, R² {fit.r_squared:.4f}"
    return (
        f'<polyline points="{left},{top} {left},{bottom} {right},{bottom}" fill="none" stroke="#888"/>'
        f'<line x1="{left}" y1="{start:.1f}" x2="{right}" y2="{end:.1f}" stroke="#06c" stroke-opacity="0.5"/>'
        f'<g fill="#06c">{dots}</g>{across}{up}<text x="{left}" y="{TOP - 12}">{equation}</text>'
        f'<text x="{(left + right) / 2}" y="{HEIGHT - 14}" text-anchor="middle">{name}</text>'
    )
