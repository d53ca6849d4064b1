"""What each pass decides for small networks, line by line.

`python -m pytest tests/compiler/test_passes_golden.py --update-golden` rewrites the files. Read the difference
before it is committed: every line of it is a change of what the compiler decides.
"""

from pathlib import Path

import numpy as np
import pytest

from dtss.compiler.explain import explain
from dtss.compiler.graph.ir import Graph
from dtss.compiler.graph.print import print_graph
from dtss.compiler.passes.base import Target
from dtss.compiler.passes.manager import run_passes
from dtss.compiler.pipeline import PIPELINE, compile_graph
from dtss.compiler.schedule.format import TimeOrder
from dtss.compiler.schedule.hardware import load_hardware
from tests.compiler.small_networks import current_head, membrane_residual, spike_residual

GOLDEN = Path(__file__).parent / "golden"


def golden_texts(graph: Graph, order: TimeOrder | None) -> dict[str, str]:
    """File name → text: the graph after each pass, and the explanation."""
    dumps: list[tuple[str, str]] = []
    target = Target(load_hardware("edge-16x16"), order)
    compiled = compile_graph(graph, target, observe=lambda name, changed: dumps.append((name, print_graph(changed))))
    texts = {f"{graph.network}.{index:02d}-{name}.txt": text for index, (name, text) in enumerate(dumps)}
    return texts | {f"{graph.network}.explain.txt": explain(compiled.schedule)}


def calibrated_texts(graph: Graph) -> dict[str, str]:
    """Up to calibration: what comes after would show integers that hang on the machine's linear algebra."""
    dumps: list[tuple[str, str]] = []
    pixels = (np.arange(8 * 12) * 5 % 16).astype(np.uint8).reshape(8, *graph.nodes[0].shape)
    passes = PIPELINE[: 1 + [step.name for step in PIPELINE].index("calibrate")]
    target = Target(load_hardware("edge-16x16"), calibration=pixels)
    run_passes(graph, passes, target, observe=lambda name, changed: dumps.append((name, print_graph(changed))))
    return {f"{graph.network}.{index:02d}-{name}.txt": text for index, (name, text) in enumerate(dumps)}


def all_texts() -> dict[str, str]:
    texts = golden_texts(spike_residual(), None) | golden_texts(membrane_residual(), "outer")
    return texts | calibrated_texts(current_head())


TEXTS = all_texts()


@pytest.fixture(scope="module", autouse=True)
def _update(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--update-golden", default=False):
        for path in GOLDEN.glob("*.txt"):
            path.unlink()
        for name, text in TEXTS.items():
            (GOLDEN / name).write_text(text)


@pytest.mark.parametrize("name", TEXTS)
def test_text_is_the_committed_one(name: str) -> None:
    assert TEXTS[name] == (GOLDEN / name).read_text(), "if this is meant, run again with --update-golden"


def test_every_pass_has_a_file_and_no_file_is_left_over() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == set(TEXTS)
    names = ["frontend", *(step.name for step in PIPELINE)]
    for network in ("spike-residual", "membrane-residual"):
        dumps = [name for name in TEXTS if name.startswith(network) and "explain" not in name]
        assert dumps == [f"{network}.{index:02d}-{name}.txt" for index, name in enumerate(names)]


def test_texts_are_the_same_in_a_second_run() -> None:
    assert all_texts() == TEXTS
