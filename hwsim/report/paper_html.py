"""What the page says of the DTSS paper's accounting."""

from __future__ import annotations

import msgspec

from dtss.hwsim.paper_accounting import PaperLayer
from dtss.hwsim.report import quantities
from dtss.hwsim.report.kinds import KIND_NAMES, Segment, segments
from dtss.hwsim.report.paper_model import kind_rows, note, summed, whole_pj


class Accounting(msgspec.Struct, frozen=True, kw_only=True):
    """A bar; `key` is its place in the JSON result."""

    label: str
    key: str
    energy_pj: float
    text: str
    segments: tuple[Segment, ...]


class PaperLayerRow(msgspec.Struct, frozen=True, kw_only=True):
    """cells: membranes read or written, energy in nJ as the paper and as the machine has it."""

    index: int
    layer: PaperLayer
    cells: tuple[str, ...]


class PaperSection(msgspec.Struct, frozen=True, kw_only=True):
    """kinds: (kind, name, paper in pJ, machine in pJ) and their text."""

    finding: str
    note: str
    legend: tuple[tuple[str, str], ...]
    bars: tuple[Accounting, ...]
    kinds: tuple[tuple[str, str, float, float, str, str], ...]
    layers: tuple[PaperLayerRow, ...]


def paper_section(layers: tuple[PaperLayer, ...]) -> PaperSection:
    paper, machine = (whole_pj(layers, field) for field in ("energy_pj", "machine_energy_pj"))
    bars = tuple(
        _bar(layers, field, label, key, max(paper, machine))
        for field, label, key in (
            ("energy_pj", "as the paper counts", "paper_model.energy_pj_per_image"),
            ("machine_energy_pj", "this machine, every event", "totals.energy_pj_per_image"),
        )
    )
    used = {segment.kind for bar in bars for segment in bar.segments}
    return PaperSection(
        finding=(
            f"The paper's accounting gives {quantities.energy(paper)} an image, the machine takes "
            f"{quantities.energy(machine)}: {quantities.significant(machine / paper)} times as much."
            if paper
            else "The paper's accounting has nothing to count here."
        ),
        note=note(layers),
        legend=tuple((kind, name) for kind, name in KIND_NAMES.items() if kind in used),
        bars=bars,
        kinds=kind_rows(layers),
        layers=_layers(layers),
    )


def _bar(layers: tuple[PaperLayer, ...], field: str, label: str, key: str, longest: float) -> Accounting:
    whole = whole_pj(layers, field)
    return Accounting(
        label=label,
        key=key,
        energy_pj=whole,
        text=quantities.energy(whole),
        segments=segments(msgspec.structs.asdict(summed(layers, field)), longest, whole),
    )


def _layers(layers: tuple[PaperLayer, ...]) -> tuple[PaperLayerRow, ...]:
    """Those that either accounting charges."""
    paper, machine = ([whole_pj((layer,), field) for layer in layers] for field in ("energy_pj", "machine_energy_pj"))
    column = quantities.nanojoules([*paper, *machine])
    return tuple(
        PaperLayerRow(
            index=index,
            layer=layer,
            cells=(
                quantities.whole(layer.membrane_accesses) if layer.membrane_accesses else "",
                column[index] if paper[index] else "",
                column[len(layers) + index],
            ),
        )
        for index, layer in enumerate(layers)
        if paper[index] or machine[index]
    )
