"""How good the benches are: python tests/rtl/mutation [--json FILE], or `make mutants`."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[3]


def _import_tests() -> None:
    """`tests` is this repository's folder, as pytest has it: other packages install one of that name."""
    tests = ModuleType("tests")
    tests.__path__ = [str(ROOT / "tests")]
    sys.modules["tests"] = tests


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/rtl/mutation", description=__doc__)
    parser.add_argument("--modules", nargs="+", metavar="MODULE", help="only mutants of these")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), metavar="N", help="runs at a time")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep what is built there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every mutant and what found it")
    return parser.parse_args()


def main() -> int:
    """0: at least 95 % are found, and each survivor is explained."""
    _import_tests()
    from tests.rtl.mutation.command import measure

    arguments = _arguments()
    with tempfile.TemporaryDirectory() as temporary:
        return measure(arguments.work or Path(temporary), arguments.modules, arguments.jobs, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
