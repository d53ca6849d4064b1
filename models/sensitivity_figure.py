"""The histograms of the LIF currents as one SVG: a panel for each layer, first and last step, as in Fig. 2."""

from collections.abc import Iterator, Sequence
from html import escape

from dtss.models.sensitivity import LayerCurrents, Sensitivity
from dtss.models.time_step_mask import LAYER_GROUPS, LayerGroup

COLUMNS = 6
PANEL_WIDTH, PLOT_HEIGHT, PANEL_HEIGHT = 196, 76, 128  # px; a panel: name, plot, range
GAP, MARGIN, HEADER, HEADING = 22, 28, 92, 34
WIDTH = 2 * MARGIN + COLUMNS * PANEL_WIDTH + (COLUMNS - 1) * GAP
PLOT_TOP = 18
GROUP_TITLES: dict[LayerGroup, str] = {
    "sps": "sps, patch splitting",
    "qkv": "qkv, query, key and value",
    "attn": "attn, attention and projection",
    "mlp": "mlp, perceptron",
}
# orange first, blue last, as in the paper's figure; apart from each other also in grey and to the colour-blind
STYLE = """
text { font-family: system-ui, "Segoe UI", "Helvetica Neue", Arial, sans-serif; font-size: 11px; fill: #24292f }
.title { font-size: 19px; font-weight: 600 }
.heading { font-size: 14px; font-weight: 600 }
.quiet { fill: #59636e }
.small { font-size: 10px; fill: #59636e }
.number { font-variant-numeric: tabular-nums; text-anchor: end }
.middle { text-anchor: middle }
.rule { stroke: #c9c6be; stroke-width: 1 }
.axis { stroke: #8b8f94; stroke-width: 1 }
.first { fill: #eda04c; fill-opacity: .62; stroke: none }
.last { fill: none; stroke: #1f5fa8; stroke-width: 1.4; stroke-linejoin: round }
"""


def figure(result: Sensitivity) -> str:
    """A whole SVG file, which needs no other."""
    body, height = _body(result)
    title = f"Input currents of the LIF layers of {_text(result.network)}"
    described = f"Histograms at step 0 and at step {result.time_steps - 1}, one panel for each LIF layer."
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-labelledby="title description">'
    )
    parts = (
        opening,
        f'<title id="title">{title}</title>',
        f'<desc id="description">{described}</desc>',
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="#faf9f6"/>',
        *_header(result, title),
        *body,
        "</svg>",
    )
    return "\n".join(parts) + "\n"


def _header(result: Sensitivity, title: str) -> Iterator[str]:
    last = result.time_steps - 1
    yield f'<text class="title" x="{MARGIN}" y="40">{title}</text>'
    yield (
        f'<text class="quiet" x="{MARGIN}" y="61">Share of the values in each of {result.bins} bins from least to '
        f"greatest, each panel to its own height; cos is the similarity of step {last} to step 0; {result.images} "
        f"images.</text>"
    )
    if result.warning is not None:
        yield f'<text class="quiet" x="{MARGIN}" y="78">Note: {result.warning}.</text>'
    right = WIDTH - MARGIN
    yield f'<rect class="first" x="{right - 142}" y="29" width="16" height="11"/>'
    yield f'<text x="{right - 120}" y="39">step 0</text>'
    yield f'<path class="last" d="M{right - 66} 40v-8h8v-3h8v11"/>'
    yield f'<text x="{right - 44}" y="39">step {last}</text>'


def _body(result: Sensitivity) -> tuple[list[str], int]:
    """The groups below each other, and where they end."""
    parts: list[str] = []
    top = HEADER
    for group in LAYER_GROUPS:
        layers = result.of_group(group)
        parts.extend(_heading(group, result.groups[group], top))
        for i, layer in enumerate(layers):
            x = MARGIN + i % COLUMNS * (PANEL_WIDTH + GAP)
            parts.extend(_panel(layer, x, top + HEADING + i // COLUMNS * PANEL_HEIGHT))
        top += HEADING + -(-len(layers) // COLUMNS) * PANEL_HEIGHT
    return parts, top + MARGIN // 2


def _heading(group: LayerGroup, sensitivity: float, top: int) -> Iterator[str]:
    yield f'<line class="rule" x1="{MARGIN}" x2="{WIDTH - MARGIN}" y1="{top}" y2="{top}"/>'
    yield f'<text class="heading" x="{MARGIN}" y="{top + 20}">{GROUP_TITLES[group]}</text>'
    yield f'<text class="quiet number" x="{WIDTH - MARGIN}" y="{top + 20}">sensitivity {sensitivity:.4f}</text>'


def _panel(layer: LayerCurrents, x: int, y: int) -> Iterator[str]:
    first, last = layer.counts[0], layer.counts[-1]
    tallest = max(*first, *last)
    base = PLOT_TOP + PLOT_HEIGHT
    yield f'<g class="panel" transform="translate({x} {y})">'
    yield f'<text x="0" y="12">{_text(layer.name)}</text>'
    yield f'<text class="number" x="{PANEL_WIDTH}" y="12">cos {layer.similarities[-1]:.4f}</text>'
    yield f'<path class="first" d="{_outline(first, tallest)}z"/>'
    yield f'<path class="last" d="{_outline(last, tallest)}"/>'
    yield f'<line class="axis" x1="0" x2="{PANEL_WIDTH}" y1="{base}" y2="{base}"/>'
    yield from _range(layer, base)
    yield "</g>"


def _outline(counts: Sequence[int], tallest: int) -> str:
    """The bars' outline, from the base at the left to the base at the right."""
    width = PANEL_WIDTH / len(counts)
    base = PLOT_TOP + PLOT_HEIGHT
    tops = (base - PLOT_HEIGHT * count / tallest for count in counts)
    bars = "".join(f"V{top:.2f}H{(i + 1) * width:.2f}" for i, top in enumerate(tops))
    return f"M0 {base}{bars}V{base}"


def _range(layer: LayerCurrents, base: int) -> Iterator[str]:
    """The ends of the axis, and where 0 is unless it is too near to one of them."""
    yield f'<text class="small" x="0" y="{base + 13}">{_number(layer.low)}</text>'
    yield f'<text class="small number" x="{PANEL_WIDTH}" y="{base + 13}">{_number(layer.high)}</text>'
    if layer.low < 0.0 < layer.high:
        zero = PANEL_WIDTH * -layer.low / (layer.high - layer.low)
        yield f'<path class="axis" d="M{zero:.2f} {base}v4"/>'
        if 40 <= zero <= PANEL_WIDTH - 40:
            yield f'<text class="small middle" x="{zero:.2f}" y="{base + 13}">0</text>'


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")


def _text(text: str) -> str:
    """As it may stand in XML, which has no control characters."""
    return escape("".join(character for character in text if character.isprintable()))
