"""CSV, trace and Python API: the same numbers as the JSON."""

import csv
import io
import itertools
import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

import dtss.hwsim
from dtss.compiler.schedule.cycles import Counts
from dtss.compiler.schedule.errors import BadInputError
from dtss.compiler.schedule.io import LoadedSchedule
from dtss.hwsim.images import Samples
from dtss.hwsim.report.result_json import result_json
from dtss.hwsim.report.table_csv import COLUMNS, encode_csv
from dtss.hwsim.report.trace import DRAM, IMAGE, LAYERS, RUNS, encode_trace
from dtss.hwsim.result import Result
from dtss.hwsim.simulate import simulate
from dtss.hwsim.step_counts import STEP_COUNTS
from dtss.hwsim.technology import load_technology


@pytest.fixture(scope="module")
def result(digits: LoadedSchedule) -> Result:
    return simulate(digits, Samples(pixels=digits.tensors["samples.images"][:3]), load_technology("45nm"), by_step=True)


def test_csv_holds_the_numbers_of_the_json(result: Result) -> None:
    rows = list(csv.DictReader(io.StringIO(encode_csv(result).decode())))
    document = result_json(result)
    assert tuple(rows[0]) == COLUMNS
    assert [row["name"] for row in rows] == [layer.name for layer in document.layers]
    for row, layer in zip(rows, document.layers, strict=True):
        for name in Counts.__struct_fields__:
            assert int(row[name]) == getattr(layer.counts, name)
        assert int(row["dram_stall_cycles"]) == layer.dram.stall_cycles
        assert int(row["dram_read_bits"]) == layer.dram.dram_read_bits
        assert float(row["accumulate_pj_per_image"]) == layer.energy_pj_per_image.accumulate
        assert row["firing_rate"] == ("" if layer.firing_rate is None else repr(layer.firing_rate))
        assert row["spikes_per_step"] == " ".join(map(str, layer.spikes_per_step or ()))
        assert layer.by_step is not None
        for name in STEP_COUNTS:
            assert row[f"{name}_per_step"] == " ".join(map(str, getattr(layer.by_step, name)))
        assert layer.shared_cycles is not None
        assert int(row["shared_drain_cycles"]) == layer.shared_cycles.drain


def test_the_trace_is_the_timeline(result: Result) -> None:
    events = json.loads(encode_trace(result, image=1))["traceEvents"]
    clock = result.schedule.hardware.frequency_mhz
    slices = [event for event in events if event["ph"] == "X"]
    layers, runs, transfers, image = ([e for e in slices if e["tid"] == t] for t in (LAYERS, RUNS, DRAM, IMAGE))
    assert [e["name"] for e in layers] == [node.name for node in result.nodes if node.cycles[1]]
    assert layers[-1]["ts"] + layers[-1]["dur"] == pytest.approx(result.cycles[1] / clock)
    assert sum(e["args"]["cycles"] for e in layers) == result.cycles[1]
    for before, after in itertools.pairwise(layers):
        assert before["args"]["first cycle"] + before["args"]["cycles"] == after["args"]["first cycle"]
    assert sum(e["args"]["cycles"] for e in runs) == result.sum_of("cycles")[1]
    assert transfers == []  # weights and parameters stay on chip
    assert [(e["name"], e["args"]["cycles"]) for e in image] == [("image", 64 + 1)]
    assert {e["name"] for e in events if e["ph"] == "C"} == {"share of lanes that add", "words a cycle"}
    assert {e["ts"] for e in layers} <= {e["ts"] for e in events if e["ph"] == "C"}


def test_slices_of_a_track_do_not_overlap(digits: LoadedSchedule) -> None:
    """Blocks that cross while the image does have a track beside it."""
    memory = msgspec.structs.replace(digits.schedule.memory, weights_resident=False)
    streamed = LoadedSchedule(msgspec.structs.replace(digits.schedule, memory=memory), digits.tensors)
    found = simulate(streamed, Samples(pixels=digits.tensors["samples.images"][:1]), load_technology("45nm"))
    slices = [event for event in json.loads(encode_trace(found))["traceEvents"] if event["ph"] == "X"]
    for track in (LAYERS, RUNS, DRAM, IMAGE):
        here = [event["args"] for event in slices if event["tid"] == track]
        assert here
        for before, after in itertools.pairwise(here):
            assert before["first cycle"] + before["cycles"] <= after["first cycle"]


def test_run_is_the_command(small_path: Path, tmp_path: Path) -> None:
    answer = dtss.hwsim.run(small_path, limit=1, tech="28nm")
    assert isinstance(answer, dtss.hwsim.Result)
    command = [sys.executable, "-m", "dtss.hwsim.cli", str(small_path), "--limit", "1", "--tech", "28nm", "--json", "-"]
    printed = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert printed["per_image"]["cycles"] == answer.cycles.tolist()
    assert printed["per_image"]["energy_pj"] == answer.energy_pj.tolist()


def test_results_are_frozen(small_path: Path) -> None:
    answer = dtss.hwsim.run(small_path)
    with pytest.raises(AttributeError, match="immutable"):
        answer.nodes = ()  # type: ignore[misc]


def test_run_refuses_what_the_command_refuses(small_path: Path) -> None:
    with pytest.raises(BadInputError, match="limit: found 0"):
        dtss.hwsim.run(small_path, limit=0)
    with pytest.raises(BadInputError, match=r"nowhere\.json"):
        dtss.hwsim.run("nowhere.json")


class Cells(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1] += data


def test_a_notebook_shows_every_layer(result: Result) -> None:
    parser = Cells()
    parser.feed(result._repr_html_())
    assert parser.open == []
    assert {"stem.0.conv", "head", "layer", "memory nJ", "latency"} <= set(parser.cells)
