"""Published figures: what the checks say of them, and that nothing in them is tuned."""

import json

import pytest

from dtss.hwsim import network_work, paper
from dtss.hwsim.cli import main
from dtss.hwsim.paper import Check, checks
from dtss.hwsim.technology import load_technology

FOUND = {(check.table, check.cell): check for check in checks()}


def table(name: str) -> dict[str, Check]:
    return {cell: check for (of, cell), check in FOUND.items() if of == name}


def test_work_of_spikformer_4_384() -> None:
    shape = network_work.cifar()
    work = {layer.name: layer for layer in network_work.layers(shape)}
    millions = {name: round(work[name].multiplications / 1e6, 3) for name in work}
    assert [millions[f"stem.{index}"] for index in range(4)] == [1.327, 42.467, 169.869, 169.869]
    assert (millions["rpe"], millions["0.q"], millions["3.proj"]) == (84.935, 9.437, 9.437)
    assert (millions["0.scores"], millions["0.values"], millions["2.fc1"], millions["2.fc2"]) == (
        1.573, 1.573, 37.749, 37.749,
    )  # fmt: skip
    assert network_work.multiplications(shape) / 1e6 == pytest.approx(934.04, abs=0.005)
    assert network_work.weights(shape) / 1e6 == pytest.approx(9.28, abs=0.005)
    assert network_work.neurons(shape) == 1_449_984


def test_work_of_spikformer_8_512() -> None:
    shape = network_work.imagenet()
    work = {layer.name: layer for layer in network_work.layers(shape)}
    names = ("stem.0", "stem.1", "stem.2", "stem.3", "rpe", "0.q", "0.scores", "0.fc1")
    assert [round(work[name].multiplications / 1e6, 2) for name in names] == [
        86.70, 924.84, 924.84, 924.84, 462.42, 51.38, 19.67, 205.52,
    ]  # fmt: skip
    everything = network_work.multiplications(shape) + work["head"].multiplications
    assert everything / 1e6 == pytest.approx(8571.4, abs=0.05)
    assert network_work.weights(shape) / 1e6 == pytest.approx(29.59, abs=0.005)
    assert network_work.neurons(shape) / 1e6 == pytest.approx(14.15, abs=0.005)


def test_every_cell_says_where_it_comes_from() -> None:
    assert len(FOUND) == len(checks())  # no two of one name
    for check in checks():
        assert check.source
        assert check.basis
        assert (check.error is None) == (check.derived is None)
        if check.derived is not None and check.error is not None:
            assert check.error == pytest.approx(check.derived / check.published - 1)


def test_spikingformers_log_exactly() -> None:
    cells = table("Spikingformer energy")
    assert cells["8-512, MACs"].derived == pytest.approx(0.347329512, abs=1e-15)
    assert cells["8-512, energy"].derived == pytest.approx(7.463503, abs=5e-7)


def test_spikformers_formula() -> None:
    cells = table("Spikformer energy")
    for cell, check in cells.items():
        if "own" not in cell:
            assert check.derived == pytest.approx(check.published, abs=1.5e-3)
    assert cells["8-384, own first layer"].error == pytest.approx(-0.052, abs=1e-3)


def test_dtss_constants() -> None:
    for check in table("DTSS constants").values():
        assert check.error == pytest.approx(0.0, abs=1e-12)
    assert table("DTSS constants")["MAC / AC"].derived == pytest.approx(7.4)


REACHABLE = {
    "CIFAR-100, NS ViT, CE": 0.003,
    "CIFAR-10, Spikformer, ME": -0.055,
    "CIFAR-10, NS ViT, ME": 0.035,
}


def test_table_v_has_every_cell_and_closes_where_it_can() -> None:
    cells = table("DTSS Table V")
    for data in ("CIFAR-10", "CIFAR-100"):
        for kind in ("NS ViT", "Spikformer", "DTS SNN"):
            for energy in ("CE", "ME", "TE"):
                assert cells[f"{data}, {kind}, {energy}"].derived is not None
    for cell, error in REACHABLE.items():
        assert cells[cell].error == pytest.approx(error, abs=5e-4), cell


def test_table_v_contradicts_itself() -> None:
    """The same networks, and a step's memory differs 2.5 times; the shares of compute differ beyond their rounding."""
    quotient = next(check for cell, check in table("DTSS Table V").items() if cell.startswith("memory of a"))
    assert quotient.published == pytest.approx(2.49, abs=0.005)
    for row in paper.TABLE_V:
        vit, spikformer = paper._compute_shares(row)
        assert abs(vit - spikformer) > 0.03


def test_the_activity_that_cifar_10_would_take_is_told() -> None:
    assert "the cell would take 25 %" in table("DTSS Table V")["CIFAR-10, NS ViT, CE"].basis


def test_dt_snn_table_ii_with_one_constant() -> None:
    errors = [check.error for check in table("DT-SNN Table II").values()]
    assert len(errors) == 8
    assert max(abs(error or 1.0) for error in errors) == pytest.approx(0.029, abs=5e-4)
    elsewhere = table("DT-SNN elsewhere")
    assert elsewhere["8 steps over 1"].error == pytest.approx(0.103, abs=1e-3)
    assert elsewhere["4 steps over 2"].error == pytest.approx(-0.047, abs=1e-3)
    assert elsewhere["σ-E unit over one step"].derived is None


def test_the_published_delay_product_lies_between_its_bounds() -> None:
    low, high = list(table("DT-SNN energy-delay").values())[:2]
    assert low.derived is not None
    assert high.derived is not None
    assert low.derived < low.published < high.derived


def test_energy_delay_products_are_averaged_not_multiplied() -> None:
    """Half of the images take 1 step and half take 3: more than all of them taking 2."""
    assert paper.dynamic_delay_product([1, 3], 4) > paper.dynamic_delay_product([2], 4)
    assert paper.dynamic_delay_product([4, 4], 4) == pytest.approx(1.0)


def test_gpu_times_are_above_the_lines_between_static_runs() -> None:
    for check in table("DT-SNN Table III").values():
        assert check.error is not None
        assert 0 < check.error < 0.1
    assert paper.interpolated_throughput((10.0, 5.0), 1.5) == pytest.approx(1 / 0.15)


def test_teas_ratios() -> None:
    ratios = [check for check in table("TEAS").values() if check.derived is not None]
    assert len(ratios) == 6
    for check in ratios:
        assert check.error == pytest.approx(0.0, abs=1.5e-3)


def test_the_constants_are_the_tables_own() -> None:
    """A table with other energies gives other cells: nothing is typed again."""
    fpga = load_technology("28nm")
    assert paper.multiply_accumulate_pj(fpga) / paper.accumulate_pj(fpga) == pytest.approx(7.4)
    assert paper.published_energy_mj(load_technology("45nm"), 1e9, 1e9) == pytest.approx(5.5)


def test_the_command_needs_no_schedule(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--paper"]) == 0
    out, err = capsys.readouterr()
    assert "CIFAR-10, NS ViT, CE" in out
    assert "-0.0 %" not in out
    assert out.rstrip().endswith("that nothing published gives")
    assert err == ""


def test_the_command_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--paper", "--json", "-"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["format"] == "dtss-paper/1"
    assert len(document["checks"]) == len(FOUND)
    assert set(document["checks"][0]) == {
        "table", "cell", "unit", "published", "derived", "error", "basis", "source",
    }  # fmt: skip
