"""The paper's accounting beside the machine's own, for a terminal and as part of dtss-result/1."""

from __future__ import annotations

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dtss.hwsim.energy import EnergySums
from dtss.hwsim.paper_accounting import PaperLayer
from dtss.hwsim.report import quantities
from dtss.hwsim.report.kinds import KIND_NAMES


class PaperModelJson(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The energy of an image as the DTSS paper counts it, see docs/comparison.md."""

    energy_pj_per_image: float
    energy_pj_per_image_by_kind: EnergySums
    membrane_accesses_per_image: int
    layers: tuple[PaperLayer, ...]


def paper_model_json(layers: tuple[PaperLayer, ...]) -> PaperModelJson:
    return PaperModelJson(
        energy_pj_per_image=whole_pj(layers, "energy_pj"),
        energy_pj_per_image_by_kind=summed(layers, "energy_pj"),
        membrane_accesses_per_image=_membrane_accesses(layers),
        layers=layers,
    )


def print_paper_model(layers: tuple[PaperLayer, ...], console: Console) -> None:
    """Kinds in lines, both accountings in columns."""
    console.print()
    console.print(Text("As the DTSS paper counts it, and what this machine does, an image", style="bold"))
    console.print()
    table = Table(box=None, pad_edge=False, show_footer=True, footer_style="bold")
    totals = [whole_pj(layers, field) for field in ("energy_pj", "machine_energy_pj")]
    footers = ("an image", *(quantities.energy(total) for total in totals))
    for name, footer in zip(("energy of", "paper", "machine"), footers, strict=True):
        table.add_column(name, footer, justify="left" if name == "energy of" else "right", no_wrap=True)
    for _, name, _, _, *texts in kind_rows(layers):
        table.add_row(name, *texts)
    console.print(table)
    console.print(Text(f"paper: {note(layers)}", style="dim"))


def kind_rows(layers: tuple[PaperLayer, ...]) -> tuple[tuple[str, str, float, float, str, str], ...]:
    """(kind, name, paper in pJ, machine in pJ, text of each) of the kinds that either accounting charges."""
    paper, machine = summed(layers, "energy_pj"), summed(layers, "machine_energy_pj")
    pairs = ((kind, name, getattr(paper, kind), getattr(machine, kind)) for kind, name in KIND_NAMES.items())
    return tuple(
        (
            kind,
            name,
            counted,
            taken,
            quantities.energy(counted) if counted else "not counted",
            quantities.energy(taken) if taken else "none",
        )
        for kind, name, counted, taken in pairs
        if counted or taken
    )


def note(layers: tuple[PaperLayer, ...]) -> str:
    """What the paper's accounting has in it."""
    moved = quantities.whole(_membrane_accesses(layers))
    return (
        f"{moved} membranes read or written, each weight once, each spike at each step of its mask; "
        "the image's layer in MACs"
    )


def whole_pj(layers: tuple[PaperLayer, ...], field: str) -> float:
    """Of all kinds; field: `energy_pj` or `machine_energy_pj`."""
    return float(sum(msgspec.structs.astuple(summed(layers, field))))


def summed(layers: tuple[PaperLayer, ...], field: str) -> EnergySums:
    """Over the layers."""
    parts = [getattr(layer, field) for layer in layers]
    return EnergySums(
        **{kind: float(sum(getattr(part, kind) for part in parts)) for kind in EnergySums.__struct_fields__}
    )


def _membrane_accesses(layers: tuple[PaperLayer, ...]) -> int:
    return sum(layer.membrane_accesses for layer in layers)
