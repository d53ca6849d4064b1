"""Three small panels of lines, as SVG written by hand: no plotting package is needed."""

from collections.abc import Mapping, Sequence

WIDTH, HEIGHT, MARGIN = 260, 220, 46


def line_plot(title: str, curves: Mapping[str, Sequence[tuple[int, float]]]) -> str:
    """One panel for each curve, both axes from 0, so that what is linear lies on a line."""
    panels = "".join(
        f'<g transform="translate({index * WIDTH} 24)">{_panel(name, points)}</g>'
        for index, (name, points) in enumerate(curves.items())
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH * len(curves)}" height="{HEIGHT + 24}" '
        f'font-family="sans-serif" font-size="11"><text x="8" y="16" font-size="13">{title}</text>{panels}</svg>\n'
    )


def _panel(name: str, points: Sequence[tuple[int, float]]) -> str:
    widest, highest = max(x for x, _ in points), max(y for _, y in points)

    def at(x: float, y: float) -> tuple[float, float]:
        inner = WIDTH - MARGIN - 14, HEIGHT - MARGIN - 14
        return MARGIN + inner[0] * x / widest, HEIGHT - MARGIN - inner[1] * y / highest

    places = [at(x, y) for x, y in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in places)
    labels = "".join(
        f'<text x="{place[0]:.1f}" y="{HEIGHT - MARGIN + 14}" text-anchor="middle">{x}</text>'
        for place, (x, _) in zip(places, points, strict=True)
    )
    left, bottom = at(0, 0)
    return (
        f'<polyline points="{left},14 {left},{bottom} {WIDTH - 14},{bottom}" fill="none" stroke="#888"/>'
        f'<polyline points="{path}" fill="none" stroke="#06c" stroke-width="2"/><g fill="#06c">{dots}</g>{labels}'
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 12}" text-anchor="middle">{name}</text>'
        f'<text x="{left - 4}" y="18" text-anchor="end">{highest:.2g}</text>'
    )
