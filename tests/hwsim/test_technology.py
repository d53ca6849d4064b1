"""Technology tables: what they hold, and what a wrong one is told."""

import math
from pathlib import Path

import pytest

from dtss.compiler.schedule.errors import BadInputError
from dtss.hwsim.scaling import energy_ratio
from dtss.hwsim.technology import (
    ENTRIES,
    OPTIONAL_ENTRIES,
    ProductCurve,
    WidthAnchor,
    load_technology,
    require_ann_entries,
    shipped_tables,
)


def test_horowitz_memory_at_its_published_sizes() -> None:
    sram = load_technology("45nm").sram_access
    assert [round(sram.at(size), 9) for size in (8 << 10, 32 << 10, 1 << 20)] == [10.0, 20.0, 100.0]
    assert sram.confidence == "published"


def test_memory_between_and_outside_the_published_sizes() -> None:
    """Straight lines in log-log, the outer ones continued: four times the size doubles the energy below 32 KB."""
    sram = load_technology("45nm").sram_access
    assert sram.at(16 << 10) == pytest.approx(10 * math.sqrt(2))
    assert sram.at(2 << 10) == pytest.approx(5.0)
    assert sram.at(32 << 20) == pytest.approx(500.0)


def test_additions_are_linear_between_the_published_widths() -> None:
    accumulate = load_technology("45nm").accumulate
    assert [accumulate.at(width) for width in (8, 16, 24, 32)] == pytest.approx([0.03, 0.05, 0.075, 0.1])
    assert accumulate.at(48) == pytest.approx(0.15)


def test_dtss_constants_hold_at_every_width() -> None:
    table = load_technology("28nm")
    assert [table.accumulate.at(width) for width in (8, 24, 48)] == [1.8, 1.8, 1.8]
    assert (table.zero_check.pj, table.zero_check.confidence) == (0.05, "published")


def test_28nm_is_the_table_of_the_dtss_paper() -> None:
    assert load_technology("28nm") == load_technology("28nm-fpga")


def test_dtss_paper_publishes_no_memory_energy() -> None:
    table = load_technology("28nm")
    memory = (table.sram_access, table.dram, table.accumulator_read, table.accumulator_write)
    assert {entry.confidence for entry in memory} == {"assumption"}
    assert all("publishes no memory energy" in entry.note for entry in memory)
    assert table.sram_access.anchors == load_technology("45nm").sram_access.anchors


def test_multiplications_at_and_between_the_published_widths() -> None:
    """0.2 and 3.1 pJ are 15.5 apart for 16 times the bits: between them the energy follows both widths alike."""
    multiply = load_technology("45nm").multiply
    assert multiply is not None
    assert [multiply.at(8, 8), multiply.at(32, 32)] == pytest.approx([0.2, 3.1])
    assert multiply.at(4, 16) == pytest.approx(0.2)
    assert multiply.at(16, 16) == pytest.approx(math.sqrt(0.2 * 3.1))
    assert pytest.approx(multiply.at(3, 8), rel=0.02) == 0.2 * 3 / 8


def test_one_multiplication_alone_grows_with_both_widths() -> None:
    anchor = (WidthAnchor(bits=8, pj=3.2),)
    assert ProductCurve(anchors=anchor, per="-", source="-", confidence="assumption").at(4, 2) == pytest.approx(0.4)


def test_dtss_multiplication_and_addition_are_its_mac() -> None:
    table = load_technology("28nm")
    assert table.float_multiply is not None
    assert table.float_accumulate is not None
    assert table.float_multiply.pj + table.float_accumulate.pj == pytest.approx(13.32)


@pytest.mark.parametrize("name", OPTIONAL_ENTRIES)
def test_an_entry_that_only_a_comparison_needs(name: str, tmp_path: Path) -> None:
    text = shipped_tables()["45nm"].read_text(encoding="utf-8")
    before, _, rest = text.partition(f"[{name}]\n")
    path = tmp_path / "mine.toml"
    path.write_text(before + "[".join(["", *rest.partition("\n[")[2:]]) if "\n[" in rest else before, encoding="utf-8")
    table = load_technology(str(path))
    with pytest.raises(BadInputError) as error:
        require_ann_entries(table)
    hint = f"add a table [{name}] with {OPTIONAL_ENTRIES[name]}, per, source and confidence, or leave --compare out"
    assert str(error.value) == f"45nm: {name}: is missing; {hint}"


@pytest.mark.parametrize("name", shipped_tables())
def test_every_entry_says_where_it_comes_from(name: str) -> None:
    table = load_technology(name)
    assert table.name == name
    assert set(table.entries) == set(ENTRIES) | set(OPTIONAL_ENTRIES)
    for entry in table.entries.values():
        assert entry.source
        assert entry.per
        assert entry.note or entry.confidence == "published"


def test_the_asic_table_is_45nm_scaled_with_its_own_dram_and_leakage() -> None:
    table, base = load_technology("28nm-asic"), load_technology("45nm")
    ratio = energy_ratio(45, 0.9, 28, 0.9)
    assert 0.5 < ratio < 0.6
    assert table.accumulate.at(24) == pytest.approx(ratio * 0.075)
    assert table.sram_access.at(1 << 20) == pytest.approx(ratio * 100)
    assert table.zero_check.pj == pytest.approx(ratio * base.zero_check.pj)
    assert table.accumulate.confidence == "scaled"
    assert table.zero_check.confidence == base.zero_check.confidence == "assumption"
    assert table.accumulate.source.endswith(
        f"× {ratio:.4f}, 45 nm at 0.9 V to 28 nm at 0.9 V (Stillmaker & Baas 2017, table 5)"
    )
    assert table.accumulate.note.startswith("derived before it was scaled")
    assert (table.dram.pj, table.dram.confidence) == (12.45, "published")


SCALED = """name = "mine"
description = "a user's"
node_nm = 65
voltage_v = 1.1
scaled = "45nm"
[accumulate]
anchors = [{ bits = 24, pj = 0.5 }]
per = "addition"
source = "measured"
confidence = "published"
"""
OFF_CHIP_AND_LEAKAGE = "".join(
    f'[{name}]\n{energy} = 1.0\nper = "bit"\nsource = "measured"\nconfidence = "published"\n'
    for name, energy in ENTRIES.items()
    if energy == "uw" or name == "dram"
)


def test_a_users_table_scales_what_it_does_not_give(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(SCALED + OFF_CHIP_AND_LEAKAGE, encoding="utf-8")
    table = load_technology(str(path))
    assert table.accumulate.at(24) == 0.5
    assert table.sram_access.at(8192) == pytest.approx(10 * energy_ratio(45, 0.9, 65, 1.1))


SCALED_WRONGLY = {
    "no supply": ("voltage_v = 1.1\n", "", "voltage_v: is missing; energies cannot be scaled to an unknown supply"),
    "near threshold": (
        "voltage_v = 1.1", "voltage_v = 0.5",
        "scaled: found voltage_v = 0.5 of {path}; the method holds from 0.7 to 1.3 V",
    ),
    "between the families": (
        "node_nm = 65", "node_nm = 21",
        "scaled: found node_nm = 21 of {path}; the method holds from 130 to 22 and from 20 to 7 nm",
    ),
    "scaled twice": (
        'scaled = "45nm"', 'scaled = "28nm-asic"',
        "scaled: 28nm-asic is itself scaled, from 45nm; name the original",
    ),
    "base without a supply": (
        'scaled = "45nm"', 'scaled = "28nm"',
        "scaled: found voltage_v = None of 28nm; the method holds from 0.7 to 1.3 V",
    ),
    "a number": ('scaled = "45nm"', "scaled = 45", "scaled: found 45; name the table whose energies are scaled"),
}  # fmt: skip


@pytest.mark.parametrize("case", SCALED_WRONGLY)
def test_a_table_that_cannot_be_scaled_is_told_why(case: str, tmp_path: Path) -> None:
    old, new, message = SCALED_WRONGLY[case]
    text = SCALED + OFF_CHIP_AND_LEAKAGE
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(BadInputError) as error:
        load_technology(str(path))
    assert str(error.value).startswith(f"{path}: {message.format(path=path)}")


@pytest.mark.parametrize("name", [name for name, energy in ENTRIES.items() if energy == "uw" or name == "dram"])
def test_what_does_not_scale_is_asked_for(name: str, tmp_path: Path) -> None:
    kept = OFF_CHIP_AND_LEAKAGE.replace(f"[{name}]\n", "[removed]\n").split("[")
    path = tmp_path / "mine.toml"
    path.write_text(SCALED + "[".join(part for part in kept if not part.startswith("removed")), encoding="utf-8")
    with pytest.raises(BadInputError, match=f"{name}: is missing; add a table"):
        load_technology(str(path))


def edited(folder: Path, old: str, new: str) -> Path:
    text = shipped_tables()["45nm"].read_text(encoding="utf-8")
    assert old in text
    path = folder / "mine.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


ZERO_CHECK = "[zero_check]\npj = 0.001"
FIELDS = "pj, per, source, confidence"

WRONG_TABLES = {
    "negative": (ZERO_CHECK, "[zero_check]\npj = -0.05", "zero_check.pj: found -0.05; give an energy in pJ, 0 or more"),
    "nan": (ZERO_CHECK, "[zero_check]\npj = nan", "zero_check.pj: found nan; give an energy in pJ, 0 or more"),
    "infinite": (ZERO_CHECK, "[zero_check]\npj = inf", "zero_check.pj: found inf; give an energy in pJ, 0 or more"),
    "text": (ZERO_CHECK, '[zero_check]\npj = "1"', "zero_check.pj: found '1'; give an energy in pJ, 0 or more"),
    "bool": (ZERO_CHECK, "[zero_check]\npj = true", "zero_check.pj: found True; give an energy in pJ, 0 or more"),
    "missing number": (ZERO_CHECK, "[zero_check]", f"zero_check.pj: is missing; every entry has {FIELDS}"),
    "unknown field": (
        ZERO_CHECK, f"{ZERO_CHECK}\nnj = 1.0",
        f"zero_check.nj: is no field of this entry; remove it, or use one of: {FIELDS}, note",
    ),
    "unknown entry": (
        "[zero_check]", "[divide]\npj = 1.0\n[zero_check]",
        ("divide: is no entry of a technology table; remove it, or use one of: name, description, node_nm, "
        "voltage_v, scaled, accumulate, gated_accumulate, zero_check, lif_update, accumulator_read, accumulator_write, "
        "sram_access, dram, sram_leakage, register_leakage, lane_leakage, device_leakage, multiply, float_multiply, "
        "float_accumulate"),
    ),
    "node": ("node_nm = 45", "node_nm = -45", "node_nm: found -45; give a number above 0"),
    "no anchors": (
        "anchors = [{ bits = 8, pj = 0.03 }, { bits = 16, pj = 0.05 }, { bits = 32, pj = 0.1 }]", "anchors = []",
        "accumulate.anchors: found []; give a list such as [{ bits = 16, pj = 1.0 }]",
    ),
    "anchor of the wrong kind": (
        "{ bytes = 8192, pj = 10.0 }", "{ bits = 8192, pj = 10.0 }",
        "sram_access.anchors[0]: found {'bits': 8192, 'pj': 10.0}; give a list such as [{ bytes = 8192, pj = 1.0 }]",
    ),
    "anchors out of order": (
        "{ bytes = 8192, pj = 10.0 }", "{ bytes = 65536, pj = 10.0 }",
        "sram_access.anchors: found 32768 after 65536; list them with ascending bytes",
    ),
    "memory for nothing": (
        "{ bytes = 8192, pj = 10.0 }", "{ bytes = 8192, pj = 0.0 }",
        "sram_access.anchors[0].pj: found 0.0; give an energy in pJ, above 0",
    ),
    "leakage as text": (
        "[device_leakage]\nuw = 0.0", "[device_leakage]\nuw = '0'",
        "device_leakage.uw: found '0'; give a power in µW, 0 or more",
    ),
    "leakage in pJ": (
        "[device_leakage]\nuw = 0.0", "[device_leakage]\npj = 0.0",
        ("device_leakage.pj: is no field of this entry; remove it, or use one of: "
        "uw, per, source, confidence, note"),
    ),
    "multiplication for nothing": (
        "{ bits = 32, pj = 3.1 }", "{ bits = 32, pj = 0.0 }",
        "multiply.anchors[1].pj: found 0.0; give an energy in pJ, above 0",
    ),
    "confidence": (
        'confidence = "derived"', 'confidence = "sure"',
        ("is not a technology table: Invalid enum value 'sure' - at `$.accumulate.confidence`; "
        "compare it with a shipped table: 28nm-asic, 28nm-fpga, 45nm"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_TABLES)
def test_a_wrong_table_is_told_which_entry(case: str, tmp_path: Path) -> None:
    old, new, message = WRONG_TABLES[case]
    path = edited(tmp_path, old, new)
    with pytest.raises(BadInputError) as error:
        load_technology(str(path))
    assert str(error.value) == f"{path}: {message}"


@pytest.mark.parametrize("name", ENTRIES)
def test_a_missing_entry_is_named(name: str, tmp_path: Path) -> None:
    text = shipped_tables()["45nm"].read_text(encoding="utf-8")
    before, _, rest = text.partition(f"[{name}]\n")
    _, _, after = rest.partition("\n[")
    path = tmp_path / "mine.toml"
    path.write_text(before + (f"[{after}" if after else ""), encoding="utf-8")
    with pytest.raises(BadInputError) as error:
        load_technology(str(path))
    hint = f"add a table [{name}] with {ENTRIES[name]}, per, source and confidence"
    assert str(error.value) == f"{path}: {name}: is missing; {hint}"


def test_an_entry_that_is_only_a_number(tmp_path: Path) -> None:
    text = shipped_tables()["45nm"].read_text(encoding="utf-8")
    path = tmp_path / "mine.toml"
    before, _, rest = text.partition("[dram]\n")
    path.write_text(f"dram = 1.0\n{before}[{rest.partition('[')[2]}", encoding="utf-8")
    with pytest.raises(BadInputError) as error:
        load_technology(str(path))
    assert str(error.value) == f"{path}: dram: found 1.0; make it a table [dram] with pj, per, source and confidence"


def test_a_table_that_is_not_there() -> None:
    with pytest.raises(BadInputError) as error:
        load_technology("7nm")
    assert str(error.value) == (
        "7nm: cannot be read as a technology table (No such file or directory); "
        "give one of: 28nm-asic, 28nm-fpga, 45nm; or the path of a TOML file"
    )


def test_a_file_that_is_not_toml(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe{")
    with pytest.raises(BadInputError, match="is not TOML"):
        load_technology(str(path))
