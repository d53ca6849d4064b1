"""The comparison for a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dtss.hwsim.compare import REFERENCE, Comparison
from dtss.hwsim.report import quantities, verdicts
from dtss.hwsim.result import Result

VARIANT_COLUMNS = ("form", "compute", "on chip", "DRAM", "leakage", "energy", "latency", "cycles", "EDP")
LAYER_COLUMNS = ("layer", "this nJ", "int8 nJ", "times", "spikes", "even at", "steps", "verdict")


def print_comparison(result: Result, comparison: Comparison, console: Console) -> None:
    """Forms, layers, verdicts, assumptions."""
    console.print()
    console.print(Text("The same network in other forms, on the same machine, an image", style="bold"))
    console.print()
    console.print(_variants(comparison))
    console.print()
    console.print(_layers(comparison))
    legend = (
        "times: this network's energy over the int8 ANN's   spikes: an image and synapse   even at: spikes where both\n"
        "take the same energy   steps: time steps at which they would, at the rates measured   -: none does"
    )
    console.print(Text(legend, style="dim"))
    console.print()
    console.print(_verdicts(result, comparison))


def _table(columns: tuple[str, ...], left: tuple[str, ...]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="left" if column in left else "right", no_wrap=True)
    return table


def _variants(comparison: Comparison) -> Table:
    table = _table(VARIANT_COLUMNS, ("form",))
    this = comparison.variant("this")
    for variant in comparison.variants:
        cost = variant.total
        table.add_row(
            variant.label,
            *(
                quantities.energy(value)
                for value in (
                    cost.compute_pj,
                    cost.on_chip_memory_pj,
                    cost.energy_pj.dram,
                    cost.energy_pj.leakage,
                    cost.total_pj,
                )
            ),
            quantities.duration(variant.latency_us),
            quantities.whole(cost.cycles),
            f"× {quantities.significant(variant.edp_pj_us / this.edp_pj_us)}" if this.edp_pj_us else "",
        )
    return table


def _layers(comparison: Comparison) -> Table:
    table = _table(LAYER_COLUMNS, ("layer", "verdict"))
    this, ann = ([cost.total_pj for cost in comparison.variant(key).layers] for key in ("this", REFERENCE))
    column = quantities.nanojoules([*this, *ann])
    for index, layer in enumerate(comparison.layers):
        even = layer.break_even
        streams = layer.spikes_per_synapse is not None
        table.add_row(
            Text(layer.name),
            column[index],
            column[len(this) + index],
            quantities.significant(this[index] / ann[index]) if ann[index] else "",
            _rate(layer.spikes_per_synapse) if streams else "",
            _rate(even.rate) if streams else "",
            _rate(even.steps),
            verdicts.short_verdict(comparison, index),
        )
    return table


def _rate(value: float | None) -> str:
    return "-" if value is None else quantities.significant(value)


def _verdicts(result: Result, comparison: Comparison) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    table.add_row("verdict", verdicts.conclusion(comparison))
    for label, sentence in verdicts.total_verdicts(comparison):
        table.add_row(label, sentence)
    for sentence in verdicts.assumptions(result, comparison):
        table.add_row("assumption", sentence)
    return table
