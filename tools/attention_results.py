"""Writes the table of docs/passes.md: the attention products in either order, simulated on real images.

python tools/attention_results.py [CHECKPOINT] [--limit N]

CHECKPOINT is a trained spikformer-4-384 of dtss-train; it is not shipped. Without it its row stays as it is. What the
other order would do to the whole network is printed.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from dtss.compiler.frontend.source import Source, read_source
from dtss.compiler.passes.base import Pass, Target
from dtss.compiler.passes.reassociate_attention import ReassociateAttention
from dtss.compiler.pipeline import PIPELINE, compile_graph
from dtss.compiler.schedule.format import AttentionProduct
from dtss.compiler.schedule.hardware import load_hardware
from dtss.compiler.schedule.io import LoadedSchedule
from dtss.hwsim.images import Samples
from dtss.hwsim.result import Result
from dtss.hwsim.simulate import simulate
from dtss.hwsim.technology import load_technology

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "passes.md"
ZOO = ROOT / "models" / "zoo"
BEGIN, END = "<!-- table: tools/attention_results.py -->\n", "<!-- end of table -->\n"
LARGE = "Spikformer-4-384, wide-64x32"
SHIPPED = (("digits", "edge-16x16"), ("mnist-small", "edge-16x16"), ("cifar10-small", "edge-16x16"),
           ("cifar10-small", "wide-64x32"))  # fmt: skip
ORDERS = ("(Q·Kᵀ)·V", "Q·(Kᵀ·V)")


class Cost(NamedTuple):
    """Of one order, means of an image: of the attention products, and of the whole network."""

    cycles: float
    energy_pj: float
    whole_cycles: float
    whole_energy_pj: float


def cost(result: Result) -> Cost:
    attention = [node for node in result.nodes if isinstance(node.node, AttentionProduct)]
    energy = sum(float((node.compute_pj + node.memory_pj + node.leakage_pj).mean()) for node in attention)
    cycles = sum(float(node.cycles.mean()) for node in attention)
    return Cost(cycles, energy, float(result.cycles.mean()), float(result.energy_pj.mean()))


def measure(source: Source, machine: str, passes: tuple[Pass, ...], limit: int | None) -> tuple[Cost, bool]:
    """The cost, and whether Kᵀ·V comes first."""
    compiled = compile_graph(source.graph, Target(load_hardware(machine)), passes=passes)
    loaded = LoadedSchedule(compiled.schedule, compiled.tensors)
    result = simulate(loaded, Samples(pixels=source.images[:limit]), load_technology("45nm"))
    stages = {node.stage for node in compiled.schedule.nodes if isinstance(node, AttentionProduct)}
    return cost(result), "key_value" in stages


def row(name: str, path: Path, machine: str, limit: int | None) -> str:
    source = read_source(path)
    as_written = tuple(step for step in PIPELINE if not isinstance(step, ReassociateAttention))
    always = tuple(replace(step, always=True) if isinstance(step, ReassociateAttention) else step for step in PIPELINE)
    costs = [measure(source, machine, passes, limit)[0] for passes in (as_written, always)]
    _, chosen = measure(source, machine, PIPELINE, 1)
    taken, other = costs[chosen], costs[not chosen]
    print(
        f"{name}, {machine}: {ORDERS[not chosen]} would take {other.whole_cycles / taken.whole_cycles - 1:+.2%} of the "
        f"network's cycles, {other.whole_energy_pj / taken.whole_energy_pj - 1:+.2%} of its energy"
    )
    cells = [
        f"{each.cycles:,.0f} cycles, {each.energy_pj / 1e6:,.{1 if each.energy_pj > 1e7 else 3}f} µJ" for each in costs
    ]
    cells[chosen] = f"**{cells[chosen]}**"
    return f"| {name}, {machine} | {' | '.join(cells)} |\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("checkpoint", type=Path, nargs="?")
    parser.add_argument("--limit", type=int, metavar="N", help="simulate the first N images only")
    options = parser.parse_args()
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    old, _, after = rest.partition(END)
    rows = [row(name, ZOO / f"{name}.pt", machine, options.limit) for name, machine in SHIPPED]
    if options.checkpoint is not None:
        name, machine = LARGE.split(", ")
        rows.append(row(name, options.checkpoint, machine, options.limit))
    else:
        rows += [line for line in old.splitlines(keepends=True) if line.startswith(f"| {LARGE} ")]
    table = f"| network, machine | {' | '.join(ORDERS)} |\n|---|---|---|\n{''.join(rows)}"
    PAGE.write_text(before + BEGIN + table + END + after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
