"""Writes the tables of docs/machines.md: Spikformer-4-384 on the shipped machines, and the sweep behind asic-28nm.

python tools/machine_results.py CHECKPOINT [--work DIR] [--limit N]

CHECKPOINT is a trained spikformer-4-384 of dtss-train; it is not shipped. What DIR already holds is not compiled again.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "machines.md"
TARGETS = ROOT / "compiler" / "schedule" / "targets"
BEGIN, END = "<!-- {}: tools/machine_results.py -->\n", "<!-- end of {} -->\n"
ALL_STEPS = "all-steps"

# Lines of asic-28nm.toml that a row of the sweep changes, and the bits of its weights.
SWEEP: dict[str, dict[str, int]] = {
    "asic-28nm": {},
    "R = 64, S = 64": {"rows": 64, "strip_slots": 64},
    "R = 64": {"rows": 64},
    "S = 64": {"strip_slots": 64},
    "S = 256, 128 KiB of strip": {"strip_slots": 256, "strip_bytes": 131072},
    "C = 16, 128 KiB of weights": {"columns": 16, "weight_bytes": 131072},
    "C = 64, 512 KiB of weights": {"columns": 64, "weight_bytes": 524288},
    "512 KiB of weights": {"weight_bytes": 524288},
    "1 weight row a cycle": {"weight_rows_per_cycle": 1},
    "4-bit array, 128 KiB of weights, 576 KiB of currents": {
        "weight": 4, "weight_bytes": 131072, "current_bytes": 589824,
    },
}  # fmt: skip


class Run(NamedTuple):
    """One column of the comparison."""

    name: str
    checkpoint: str
    machine: str
    technology: str
    weight_bits: int


RUNS = (
    Run("asic-28nm, 8-bit weights", "masked", "asic-28nm", "28nm-asic", 8),
    Run("asic-28nm, 4-bit weights", "masked", "asic-28nm", "28nm-asic", 4),
    Run("asic-28nm, 8-bit, every step", ALL_STEPS, "asic-28nm", "28nm-asic", 8),
    Run("asic-28nm, 4-bit, every step", ALL_STEPS, "asic-28nm", "28nm-asic", 4),
    Run("wide-64x32, 8-bit", "masked", "wide-64x32", "28nm-asic", 8),
    Run("kintex7, 8-bit", "masked", "kintex7", "28nm-fpga", 8),
)


class Bench:
    """Compiles and simulates, keeping every file in one folder."""

    def __init__(self, checkpoint: Path, work: Path, limit: int) -> None:
        self.work, self.images = work, work / "images.npy"
        samples = torch.load(checkpoint, map_location="cpu", weights_only=True)["samples"]["images"]
        np.save(self.images, np.asarray(samples[:limit]), allow_pickle=False)
        self.checkpoints = {"masked": checkpoint, ALL_STEPS: work / f"{ALL_STEPS}.pt"}
        if not self.checkpoints[ALL_STEPS].exists():
            unmask(checkpoint, self.checkpoints[ALL_STEPS])

    def result(self, run: Run, hardware: Path | None = None) -> dict[str, Any]:
        """dtss-sim's JSON."""
        hardware = hardware or TARGETS / f"{run.machine}.toml"
        schedule = self.work / f"{run.checkpoint}-{hardware.stem}-{run.weight_bits}.json"
        result = schedule.with_suffix(".result.json")
        if not schedule.exists():
            options = ["--hardware", hardware, "--weight-bits", run.weight_bits, "-o", schedule, "--quiet"]
            command("dtss-compile", self.checkpoints[run.checkpoint], *options)
        options = ["--tech", run.technology, "--images", self.images, "--json", result, "--quiet"]
        command("dtss-sim", schedule, *options, "--in-memory", "32nm-imc")
        parsed: dict[str, Any] = json.loads(result.read_text())
        return parsed

    def swept(self, name: str, changes: dict[str, int]) -> dict[str, Any]:
        lines = (TARGETS / "asic-28nm.toml").read_text().splitlines()
        text = "\n".join(changed(line, changes) for line in lines)
        file = self.work / ("-".join(f"{key}{value}" for key, value in changes.items()) or "asic-28nm")
        file = file.with_name(f"sweep-{file.name}.toml")
        file.write_text(text)
        return self.result(Run(name, "masked", name, "28nm-asic", min(8, changes.get("weight", 8))), file)


def changed(line: str, changes: dict[str, int]) -> str:
    key = line.split(" = ", maxsplit=1)[0]
    return f"{key} = {changes[key]}" if key in changes else line


def unmask(source: Path, target: Path) -> None:
    """The same weights with every time step on: scores whose total is 2 at each step."""
    checkpoint = torch.load(source, map_location="cpu", weights_only=True)
    for name, tensor in checkpoint["state_dict"].items():
        if name.endswith("mask.score"):
            tensor.zero_()[-1] = 2.0
    masks = checkpoint["training"]["masks"]
    checkpoint["training"]["masks"] = {name: [1] * len(mask) for name, mask in masks.items()}
    torch.save(checkpoint, target)


def command(program: str, *options: object) -> None:
    subprocess.run([Path(sys.executable).with_name(program), *map(str, options)], check=True)


def comparison(results: list[dict[str, Any]]) -> str:
    """Prosperity's published figures, and ours."""
    columns = [
        ("Spikformer-4-384, an image", *(run.name for run in RUNS), "Prosperity"),
        ("energies", *(run.technology for run in RUNS), "28 nm, published"),
        ("T_avg that runs, of 4", *(f"{r['time_steps']['average_after_pruning']:.2f}" for r in results), "4"),
        ("SOPs", *(f"{sops(r) / 1e6:.0f} M" for r in results), "≈ 558 M"),
        ("latency", *(f"{r['totals']['latency_us_per_image'] / 1e3:.2f} ms" for r in results), "3.74 ms"),
        ("chip: compute", *(microjoules(r["totals"]["compute_energy_pj_per_image"]) for r in results), ""),
        ("chip: memories", *(microjoules(on_chip_memory(r)) for r in results), ""),
        ("chip: leakage", *(microjoules(r["totals"]["leakage_energy_pj_per_image"]) for r in results), ""),
        ("chip", *(microjoules(energy(r) - dram(r)) for r in results), "1,670 µJ"),
        ("DRAM bits", *(f"{dram_bits(r) / 1e6:.1f} M" for r in results), "140.6 M"),
        ("DRAM", *(microjoules(dram(r)) for r in results), "1,750 µJ"),
        ("all", *(f"**{microjoules(energy(r))}**" for r in results), "**3,420 µJ**"),
        ("chip, per SOP", *(f"{(energy(r) - dram(r)) / sops(r):.2f} pJ" for r in results), "2.99 pJ"),
        ("all, per SOP", *(f"{energy(r) / sops(r):.2f} pJ" for r in results), "6.13 pJ"),
        ("latency, per M SOPs", *(f"{latency_per_sop(r):.1f} µs" for r in results), "6.7 µs"),
    ]
    return table(columns)


def sweep(bench: Bench) -> str:
    header = ("machine", "chip", "weights", "spikes", "strip buffer", "accumulators", "leakage", "latency", "waits")
    return table([header, *(swept_row(name, bench.swept(name, changes)) for name, changes in SWEEP.items())])


def swept_row(name: str, result: dict[str, Any]) -> tuple[str, ...]:
    kinds, totals = result["totals"]["energy_pj_per_image_by_kind"], result["totals"]
    stalls = totals["counts"]["load_stall_cycles"] + totals["counts"]["word_stall_cycles"]
    waits = stalls / result["images"] / totals["cycles_per_image"]
    parts = ("weight_memory", "spike_memory", "strip_memory", "accumulator_file", "leakage")
    return (
        name,
        microjoules(energy(result) - dram(result)),
        *(microjoules(kinds[part]) for part in parts),
        f"{totals['latency_us_per_image'] / 1e3:.2f} ms",
        f"{100 * waits:.0f} %",
    )


def table(rows: list[tuple[str, ...]]) -> str:
    lines = [rows[0], ("---",) * len(rows[0]), *rows[1:]]
    return "".join(f"| {' | '.join(line)} |\n".replace("|  |", "| |") for line in lines)


def energy(result: dict[str, Any]) -> float:
    return float(result["totals"]["energy_pj_per_image"])


def dram(result: dict[str, Any]) -> float:
    return float(result["totals"]["energy_pj_per_image_by_kind"]["dram"])


def on_chip_memory(result: dict[str, Any]) -> float:
    return float(result["totals"]["memory_energy_pj_per_image"]) - dram(result)


def dram_bits(result: dict[str, Any]) -> float:
    moved = result["totals"]["dram"]
    return float(moved["dram_read_bits"] + moved["dram_write_bits"]) / int(result["images"])


def sops(result: dict[str, Any]) -> float:
    return float(result["totals"]["counts"]["accumulates"]) / int(result["images"])


def latency_per_sop(result: dict[str, Any]) -> float:
    return float(result["totals"]["latency_us_per_image"]) / (sops(result) / 1e6)


def microjoules(energy_pj: float) -> str:
    return f"{energy_pj / 1e6:,.{0 if energy_pj > 1e8 else 1}f} µJ"


def crossbars(result: dict[str, Any]) -> str:
    """The masked network's stored weights on crossbars."""
    stored = result["in_memory"]
    whole, of = f"{stored['energy_pj'] / 1e9:.2f} mJ", stored["table"]["description"]
    return f"{whole} in {stored['pe_cycles']:,} PE-cycles of {of}.\n"


def replaced(page: str, name: str, text: str) -> str:
    before, _, rest = page.partition(BEGIN.format(name))
    _, _, after = rest.partition(END.format(name))
    return before + BEGIN.format(name) + text + END.format(name) + after


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--work", type=Path, help="where schedules are kept (default: nowhere)")
    parser.add_argument("--limit", type=int, default=16, help="images to simulate (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = (options.work or Path(folder)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        bench = Bench(options.checkpoint.resolve(), work, options.limit)
        results = [bench.result(run) for run in RUNS]
        tables = {"comparison": comparison(results), "crossbars": crossbars(results[0]), "sweep": sweep(bench)}
    page = PAGE.read_text(encoding="utf-8")
    for name, text in tables.items():
        page = replaced(page, name, text)
    PAGE.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
