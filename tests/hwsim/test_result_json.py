"""dtss-result/1: its schema, its sums, its order."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dtss.compiler.schedule.cycles import Counts
from dtss.compiler.schedule.io import LoadedSchedule
from dtss.hwsim.compare import compare
from dtss.hwsim.energy import EnergyByKind, EnergySums
from dtss.hwsim.images import load_samples
from dtss.hwsim.paper_accounting import paper_layers
from dtss.hwsim.report import result_json
from dtss.hwsim.report.beside import Beside
from dtss.hwsim.report.result_json import CountSums, encode
from dtss.hwsim.result import Result
from dtss.hwsim.simulate import simulate
from dtss.hwsim.technology import load_technology


@pytest.fixture(scope="module")
def result(digits: LoadedSchedule) -> Result:
    return simulate(digits, load_samples(digits, "digits", None, 12), load_technology("45nm"), by_step=True)


@pytest.fixture(scope="module")
def document(result: Result) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(encode(result))
    return read


def test_schema_file_is_up_to_date() -> None:
    written = result_json.SCHEMA.read_bytes()
    assert written == result_json.schema(), "run `python -m dtss.hwsim.report.result_json` to write it again"


def test_result_obeys_the_schema(document: dict[str, Any]) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(result_json.SCHEMA.read_bytes())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document | {"format": "dtss-result/2"}, schema)


def test_a_compared_result_obeys_the_schema(digits: LoadedSchedule, result: Result) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(result_json.SCHEMA.read_bytes())
    beside = Beside(comparison=compare(result, digits.tensors), paper_model=paper_layers(result, digits.tensors))
    compared = json.loads(
        encode(result, beside),
        parse_constant=pytest.fail,
    )
    jsonschema.validate(compared, schema)
    comparison = compared["comparison"]
    for variant in comparison["variants"]:
        assert len(variant["layers"]) == len(comparison["layers"])
        parts = [variant[f"{kind}_energy_pj_per_image"] for kind in ("compute", "on_chip_memory", "dram", "leakage")]
        assert sum(parts) == pytest.approx(variant["energy_pj_per_image"], rel=1e-12)
    assert comparison["variants"][0]["energy_pj_per_image"] == pytest.approx(compared["totals"]["energy_pj_per_image"])


def test_every_count_and_kind_is_in_the_format() -> None:
    assert CountSums.__struct_fields__ == Counts.__struct_fields__
    assert EnergySums.__struct_fields__ == EnergyByKind.__struct_fields__


def test_keys_are_sorted(result: Result) -> None:
    def in_order(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert [key for key, _ in pairs] == sorted(key for key, _ in pairs)
        return dict(pairs)

    text = encode(result)
    json.loads(text, object_pairs_hook=in_order)
    assert text == msgspec.json.format(text, indent=2) + b"\n"


def test_layers_add_up_to_the_totals(document: dict[str, Any]) -> None:
    totals, layers = document["totals"], document["layers"]
    for name, whole in totals["counts"].items():
        assert sum(layer["counts"][name] for layer in layers) == whole
    for name, whole in totals["dram"].items():
        assert sum(layer["dram"][name] for layer in layers) == whole
    for kind, whole in totals["energy_pj_per_image_by_kind"].items():
        assert sum(layer["energy_pj_per_image"][kind] for layer in layers) == pytest.approx(whole, rel=1e-12)
    assert sum(totals["energy_pj_per_image_by_kind"].values()) == pytest.approx(
        totals["energy_pj_per_image"], rel=1e-12
    )
    assert sum(document["per_image"]["cycles"]) == totals["counts"]["cycles"] + totals["dram"]["stall_cycles"]
    mean = sum(document["per_image"]["energy_pj"]) / document["images"]
    assert mean == pytest.approx(totals["energy_pj_per_image"], rel=1e-12)


def test_steps_add_up_to_their_layer(document: dict[str, Any]) -> None:
    array = document["hardware"]["rows"] * document["hardware"]["columns"]
    for layer in document["layers"]:
        steps, counts, shared = layer["by_step"], layer["counts"], layer["shared_cycles"]
        partly_shared = {"walk_cycles", "fill_cycles", "elementwise_cycles"}
        for name in set(steps) & set(counts) - partly_shared:
            assert sum(steps[name]) == counts[name]
        assert sum(steps["words_issued"]) + sum(steps["words_skipped"]) == counts["words_offered"]
        assert sum(steps["walk_cycles"]) + shared["drain"] == counts["walk_cycles"]
        results = counts["fill_cycles"] + counts["elementwise_cycles"]
        assert sum(steps["fill_cycles"]) + sum(steps["elementwise_cycles"]) + shared["last_results"] == results
        assert shared["weight_load"] == counts["load_stall_cycles"]
        assert shared["word_wait"] == counts["word_stall_cycles"]
        assert shared["control"] == counts["control_cycles"]
        cycles = counts["cycles"] + layer["dram"]["stall_cycles"]
        own = sum(sum(steps[name]) for name in ("words_issued", *partly_shared))
        assert own + sum(shared.values()) == cycles
        assert layer["array_busy"] == pytest.approx(counts["words_issued"] / max(1, cycles))
        assert layer["lanes_busy"] == pytest.approx(counts["accumulates"] / max(1, cycles) / array)
        for share in ("array_busy", "lanes_busy"):
            assert sum(steps[share]) == pytest.approx(layer[share])


def test_steps_are_null_where_nobody_counted_them(digits: LoadedSchedule) -> None:
    result = simulate(digits, load_samples(digits, "digits", None, 1), load_technology("45nm"))
    for layer in json.loads(encode(result))["layers"]:
        assert layer["by_step"] is None
        assert layer["shared_cycles"] is None


def test_sums_are_exact_integers(document: dict[str, Any], result: Result) -> None:
    for layer, node in zip(document["layers"], result.nodes, strict=True):
        assert layer["name"] == node.name
        for name, count in layer["counts"].items():
            assert isinstance(count, int)
            assert count == int(getattr(node.counts, name).sum())


def test_the_full_technology_table_is_in_it(document: dict[str, Any]) -> None:
    table = document["technology"]
    assert table["name"] == "45nm"
    assert table["zero_check"]["confidence"] == "assumption"
    assert table["sram_access"]["anchors"][0] == {"bytes": 8192, "pj": 10.0}


def test_units_are_in_the_keys(document: dict[str, Any]) -> None:
    totals = document["totals"]
    assert totals["latency_us_per_image"] == pytest.approx(totals["cycles_per_image"] / 200.0)
    parts = [totals[f"{part}_energy_pj_per_image"] for part in ("compute", "memory", "leakage")]
    assert min(parts) > 0
    assert sum(parts) == pytest.approx(totals["energy_pj_per_image"])


def test_the_schema_is_where_the_package_looks(repository: Path) -> None:
    assert result_json.SCHEMA.resolve() == repository / "hwsim/report/schema/result.json"
