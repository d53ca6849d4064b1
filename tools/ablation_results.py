"""Writes the digits' table of docs/results.md that says what each pass is worth, or prints another network's.

python tools/ablation_results.py [--check]          --check writes nothing and fails where the page is out of date
python tools/ablation_results.py MODEL [OPTION …]   prints the table of MODEL; options are those of dtss-compile
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "results.md"
BEGIN, END = "<!-- table: tools/ablation_results.py -->\n", "<!-- end of table -->\n"
COLUMNS = ("cycles", "energy", "accumulates", "weight rows", "spike words", "membrane rows")


def ablation(model: str, options: list[str]) -> list[dict[str, Any]]:
    """The rows of `dtss-compile MODEL --ablation --json`."""
    program = Path(sys.executable).with_name("dtss-compile")
    with tempfile.TemporaryDirectory() as folder:
        command = [program, model, "-o", Path(folder) / "schedule.json", "--ablation", "--json", *options]
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    rows: list[dict[str, Any]] = json.loads(answer.stdout)["ablation"]
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    lines = [("", *COLUMNS), ("---",) * (1 + len(COLUMNS)), *((name(row), *cells(row, rows[0])) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n".replace("|  |", "| |") for line in lines)


def name(row: dict[str, Any]) -> str:
    off = row["switched_off"]
    if len(off) > 1:
        return "none of them"
    return f"without {off[0]}{'' if row['promised'] else ' *'}" if off else "all passes"


def cells(row: dict[str, Any], whole: dict[str, Any]) -> tuple[str, ...]:
    if row["refused"]:
        return ("does not compile", *("",) * (len(COLUMNS) - 1))
    energy = row["energy_pj"] / 1e6
    return (
        f"{row['cycles']:,.0f}{change(row['cycles'], whole['cycles'])}",
        f"{energy:,.{0 if energy > 100 else 3}f} µJ{change(row['energy_pj'], whole['energy_pj'])}",
        f"{row['accumulates']:,.0f}",
        *(f"{row['accesses'][kind]:,.0f}" for kind in COLUMNS[3:]),
    )


def change(value: float, reference: float) -> str:
    return "" if value == reference else f" ({100 * (value / reference - 1):+.1f} %)".replace("-", "−")


def main(arguments: list[str]) -> int:
    if arguments and arguments != ["--check"]:
        print(table(ablation(arguments[0], arguments[1:])), end="")
        return 0
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    fresh = before + BEGIN + table(ablation(str(ROOT / "models" / "zoo" / "digits.pt"), [])) + END + after
    if arguments:
        if page != fresh:
            print(f"{PAGE.relative_to(ROOT)} is out of date: run python tools/ablation_results.py", file=sys.stderr)
        return int(page != fresh)
    PAGE.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
