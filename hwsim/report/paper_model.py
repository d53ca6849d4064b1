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
    by_kind = _sum([layer.energy_pj for layer in layers])
    return PaperModelJson(
        energy_pj_per_image=float(sum(msgspec.structs.astuple(by_kind))),
        energy_pj_per_image_by_kind=by_kind,
        membrane_accesses_per_image=sum(layer.membrane_accesses for layer in layers),
        layers=layers,
    )


def print_paper_model(layers: tuple[PaperLayer, ...], console: Console) -> None:
    """Kinds in lines, both accountings in columns."""
    paper, machine = (_sum([getattr(layer, field) for layer in layers]) for field in ("energy_pj", "machine_energy_pj"))
    console.print()
    console.print(Text("As the DTSS paper counts it, and what this machine does, an image", style="bold"))
    console.print()
    table = Table(box=None, pad_edge=False, show_footer=True, footer_style="bold")
    totals = [float(sum(msgspec.structs.astuple(each))) for each in (paper, machine)]
    footers = ("an image", *(quantities.energy(total) for total in totals))
    for name, footer in zip(("energy of", "paper", "machine"), footers, strict=True):
        table.add_column(name, footer, justify="left" if name == "energy of" else "right", no_wrap=True)
    for kind, name in KIND_NAMES.items():
        values = [getattr(each, kind) for each in (paper, machine)]
        if any(values):
            absent = ("not counted", "none")
            table.add_row(name, *(quantities.energy(v) if v else a for v, a in zip(values, absent, strict=True)))
    console.print(table)
    moved = quantities.whole(sum(layer.membrane_accesses for layer in layers))
    note = (
        f"paper: {moved} membranes read or written, each weight once, each spike at each step of its mask; "
        "the image's layer in MACs"
    )
    console.print(Text(note, style="dim"))


def _sum(parts: list[EnergySums]) -> EnergySums:
    return EnergySums(
        **{kind: float(sum(getattr(part, kind) for part in parts)) for kind in EnergySums.__struct_fields__}
    )
