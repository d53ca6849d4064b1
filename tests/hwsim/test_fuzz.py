"""Schedules and tensors changed at random: each is refused in one line or simulated, in bounded time and memory."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dtss.compiler.schedule.io import LoadedSchedule, save

FUZZ = Path(__file__).parent / "fuzz.py"


def fuzzed(digits: LoadedSchedule, folder: Path, count: int) -> dict[str, Any]:
    path = folder / "digits.json"
    save(path, digits.schedule, digits.tensors)
    command = [sys.executable, "-W", "error::ResourceWarning", str(FUZZ), str(path), str(count), "5"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=3600)
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def assert_all_ended(found: dict[str, Any], count: int) -> None:
    assert found["faults"] == []
    assert found["refused"] + found["ran"] == count
    assert found["refused"] > count // 2  # most changes matter
    assert found["ran"] > count // 20  # and some reach the simulator


def test_changed_schedules_are_refused_or_run(digits: LoadedSchedule, tmp_path: Path) -> None:
    assert_all_ended(fuzzed(digits, tmp_path, 150), 150)


@pytest.mark.slow
def test_ten_thousand_changed_schedules_are_refused_or_run(digits: LoadedSchedule, tmp_path: Path) -> None:
    assert_all_ended(fuzzed(digits, tmp_path, 10_000), 10_000)
