"""Writes the table of docs/results.md: each shipped checkpoint, compiled and simulated.

python tools/zoo_results.py [--check]   --check writes nothing and fails where the page is out of date
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "results.md"
BEGIN, END = "<!-- table: tools/zoo_results.py -->\n", "<!-- end of table -->\n"
NETWORKS = {"digits": "digits (8×8)", "mnist-small": "MNIST", "cifar10-small": "CIFAR-10, JPEG"}
HEADER = (
    "network", "data", "float", "integer", "T_avg of T", "pruned", "activity", "SOPs", "compute", "memory",
    "leakage", "latency",
)  # fmt: skip


def simulate(name: str, folder: Path) -> dict[str, Any]:
    """dtss-sim's JSON for one checkpoint on the default machine at 45 nm, on the images stored in it."""
    schedule, result = folder / f"{name}.json", folder / f"{name}-result.json"
    for command in (
        ["dtss-compile", ROOT / "models" / "zoo" / f"{name}.pt", "-o", schedule, "--quiet"],
        ["dtss-sim", schedule, "--tech", "45nm", "--json", result, "--quiet"],
    ):
        program, *arguments = command
        subprocess.run([Path(sys.executable).with_name(str(program)), *arguments], check=True)
    parsed: dict[str, Any] = json.loads(result.read_text())
    return parsed


def row(name: str, result: dict[str, Any]) -> tuple[str, ...]:
    accuracy, steps, totals = result["accuracy"], result["time_steps"], result["totals"]
    lifs = [layer for layer in result["layers"] if layer["kind"] == "lif"]
    neurons = sum(layer["shape"][0] * layer["shape"][1] * layer["shape"][2] for layer in lifs)
    spikes = sum(sum(layer["spikes_per_step"]) for layer in lifs)
    return (
        f"[{name}](../models/zoo/{name}.md)",
        NETWORKS[name],
        f"{100 * accuracy['trained_float_top1']:.2f} %",
        f"{100 * accuracy['integer_top1']:.1f} % ({100 * accuracy['float_top1']:.1f} %)",
        f"{steps['average_of_masks']:.2f} of {steps['total']}",
        f"{steps['average_after_pruning']:.2f}",
        f"{100 * spikes / (neurons * steps['total'] * result['images']):.2f} %",
        f"{totals['counts']['accumulates'] / result['images'] / 1e6:.2f} M",
        f"{totals['compute_energy_pj_per_image'] / 1e6:.2f} µJ",
        f"{totals['memory_energy_pj_per_image'] / 1e6:.2f} µJ",
        f"{totals['leakage_energy_pj_per_image'] / 1e6:.2f} µJ",
        f"{totals['latency_us_per_image'] / 1e3:.2f} ms",
    )


def table() -> str:
    with tempfile.TemporaryDirectory() as folder:
        rows = [row(name, simulate(name, Path(folder))) for name in NETWORKS]
    ruler = ("---",) * len(HEADER)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (HEADER, ruler, *rows))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where the page is out of date")
    check = parser.parse_args().check
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    fresh = before + BEGIN + table() + END + after
    if check:
        if page != fresh:
            print(f"{PAGE.relative_to(ROOT)} is out of date: run python tools/zoo_results.py", file=sys.stderr)
        return int(page != fresh)
    PAGE.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
