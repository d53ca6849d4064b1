"""What the layer bench is asked to do and what it answers: JSON files in its working directory."""

from __future__ import annotations

from pathlib import Path

import msgspec

from dtss.rtl.compare import Comparison
from dtss.rtl.engine import Engine

PLAN = Path("plan.json")
ANSWER = Path("answer.json")
EXPECTED = "expected.npz"


class LayerPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One layer: its configuration row, how many rows of each memory its files hold, and where each run starts."""

    name: str
    configuration: str
    rows: dict[str, int]
    block_starts: tuple[int, ...]
    cycle_limit: int


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Layer k has its files in layer<k>/."""

    engine: Engine
    layers: tuple[LayerPlan, ...]


class LayerAnswer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The engine's counters, and the comparison of its walk stream."""

    name: str
    counters: dict[str, int]
    comparison: Comparison


class Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry for each layer of the plan."""

    layers: tuple[LayerAnswer, ...]


def layer_folder(index: int) -> Path:
    """Where the files of layer `index` are, from the working directory."""
    return Path(f"layer{index}")
