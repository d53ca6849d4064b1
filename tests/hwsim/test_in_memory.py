"""The network on crossbars: counted by hand, and SpikeSim's own sum for its own network."""

from math import ceil
from pathlib import Path

import pytest

from dtss.compiler.schedule.errors import BadInputError
from dtss.compiler.schedule.format import AttentionProduct, Convolution, Linear
from dtss.compiler.schedule.io import LoadedSchedule
from dtss.hwsim.in_memory import load_in_memory_table, on_crossbars, pe_cycle_pj, shipped_in_memory_tables
from dtss.hwsim.technology import IN_MEMORY, load_technology

TABLE = load_in_memory_table("32nm-imc")


def test_a_pe_cycle_as_spikesim_adds_it_up() -> None:
    """Htree + fetch + neuron + 8 · (9 · crossbar + 8 · (ADC + MUX)) + 8 · 16 · Sub + 8 · Temp_Buff + Tile_buff."""
    pe = 9 * 1.76423 + 8 * (2.03084 + 0.094245)
    whole = 19.64 * 8 + 4.64 + 1.274 * 4 + 8 * pe + 8 * 16 * 1.15e-6 + 8 * 0.2 + 397
    assert pe_cycle_pj(TABLE, 9) == pytest.approx(whole)
    assert whole == pytest.approx(828.5, abs=0.1)
    assert pe_cycle_pj(TABLE, 1) == pytest.approx(whole - 8 * 8 * 1.76423)


def test_the_small_network_by_hand(small: LoadedSchedule) -> None:
    """hidden: two positions, one step, four planes of the image; head: one position, one step, counts of 2 planes."""
    result = on_crossbars(small.schedule, TABLE)
    planes = small.schedule.node("sum").value.planes
    assert [(product.name, product.pe_cycles) for product in result.products] == [("hidden", 2 * 4), ("head", planes)]
    assert result.pe_cycles == 8 + planes
    assert result.energy_pj == pytest.approx((8 + planes) * pe_cycle_pj(TABLE, 1))
    assert result.left_out == ()


def test_every_stored_weight_is_on_a_crossbar_and_attention_is_left_out_by_name(digits: LoadedSchedule) -> None:
    result, nodes = on_crossbars(digits.schedule, TABLE), digits.schedule.nodes
    assert result.left_out == tuple(node.name for node in nodes if isinstance(node, AttentionProduct)) != ()
    stored = [node for node in nodes if isinstance(node, Convolution | Linear)]
    assert [product.name for product in result.products] == [node.name for node in stored]
    for node, product in zip(stored, result.products, strict=True):
        source = digits.schedule.node(node.inputs[0])
        crossbars = ceil(source.channels / 64) * ceil(node.channels / 64)
        assert product.pe_cycles == crossbars * node.positions * len(node.steps.active) * source.value.planes


def test_crossbars_are_no_technology_of_this_machine() -> None:
    assert tuple(shipped_in_memory_tables()) == IN_MEMORY
    with pytest.raises(BadInputError) as error:
        load_technology("32nm-imc")
    assert str(error.value) == "32nm-imc: prices crossbars, not this machine's events; use --in-memory 32nm-imc"


def test_a_missing_entry_is_named(tmp_path: Path) -> None:
    text = shipped_in_memory_tables()["32nm-imc"].read_text(encoding="utf-8")
    path = tmp_path / "mine.toml"
    path.write_text(text.partition("[neuron]")[0], encoding="utf-8")
    with pytest.raises(BadInputError) as error:
        load_in_memory_table(str(path))
    assert str(error.value) == (
        f"{path}: is not an in-memory table: Object missing required field `neuron`; "
        "compare it with a shipped table: 32nm-imc"
    )
