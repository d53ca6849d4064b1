"""The table and the page: what they say, and that every network gets one."""

import io
import json
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from dtss.compiler.schedule.cycles import CYCLE_KINDS
from dtss.compiler.schedule.io import LoadedSchedule
from dtss.hwsim.images import Samples, load_samples
from dtss.hwsim.report import quantities
from dtss.hwsim.report.html import UNITS, page
from dtss.hwsim.report.layers import layers
from dtss.hwsim.report.quantities import NO_BREAK
from dtss.hwsim.report.result_json import encode
from dtss.hwsim.report.steps_text import print_steps
from dtss.hwsim.report.text import print_result
from dtss.hwsim.result import Result
from dtss.hwsim.simulate import simulate
from dtss.hwsim.technology import load_technology
from tests.hwsim.random_networks import Case, cases, many

TABLE = load_technology("45nm")

SMALL_TABLE = """\
small on bench-16x16 (16 × 16 array, 200 MHz), 45nm energies, 2 images (stored)

layer     group  steps  spikes  cycles  accumulates     rate  compute nJ  memory nJ  leakage nJ
image     mlp    ▮=                  3                             0.000      3.903       0.067
hidden    mlp    ▮·     ▮0          28           15  12.50 %       0.002      0.551       0.638
sum              ▮0                  8                             0.000      0.020       0.179
head             ▮▯                 17            2              < 0.001      8.462       0.381
an image                            56           17                0.003      12.94       1.265
▮ computed   ▯ bias only: the input is zero   = reused: the same as before   0 known to be zero   · not needed
"""
"""Cycles. image: 2 pixels, and 1.  hidden: 30 (test_energy) and 27, whose words are 1 + 2 cycles instead of 6.
sum: 2 operands, 2 planes and 2, 2 of control.  head: 3 of control − 1, its words ready at 2 + 5, one cycle of words,
3 to drain, 2 steps walked, and 2 to end the program."""


def printed(result: Result, width: int = 140) -> str:
    file = io.StringIO()
    print_result(result, Console(file=file, width=width))
    return file.getvalue().replace(NO_BREAK, " ")


def test_the_table_of_the_small_network(small: LoadedSchedule) -> None:
    text = printed(simulate(small, load_samples(small, "small.json", None, None), TABLE))
    lines = [line.rstrip() for line in text.splitlines()]
    assert lines[:9] == SMALL_TABLE.splitlines(), "\n".join(lines)


def test_a_narrow_terminal_keeps_one_line_a_layer(digits: LoadedSchedule) -> None:
    result = simulate(digits, load_samples(digits, "digits", None, 4), TABLE)
    lines = printed(result, width=80).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("layer"))
    rows = layers(result)
    for line, row in zip(lines[start + 1 :], rows, strict=False):
        shown = line.split()[0]
        assert row.name.endswith(shown.removeprefix("…"))
        assert len(line) <= 80
    assert lines[start + 1 + len(rows)].startswith("an image")


def test_no_number_of_the_steps_is_cut_in_a_narrow_terminal(digits: LoadedSchedule) -> None:
    result = simulate(digits, load_samples(digits, "digits", None, 2), TABLE, by_step=True)
    names = [row.name for row in layers(result)]
    numbers = []
    for width in (60, 200):
        file = io.StringIO()
        print_steps(result, Console(file=file, width=width))
        rows = [line.split() for line in file.getvalue().splitlines() if line]
        numbers.append(
            [cells for name, *cells in rows if any(known.endswith(name.removeprefix("…")) for known in names)]
        )
    assert numbers[0] == numbers[1]
    assert len(numbers[0]) > 60


def test_the_facts_under_the_table(digits: LoadedSchedule) -> None:
    result = simulate(digits, load_samples(digits, "digits", None, 8), TABLE)
    text = printed(result)
    average = digits.schedule.average_time_steps
    assert f"T = 4; T_avg {average.masks:.2f} of the masks, {average.pruned:.2f} after pruning" in text
    assert "no published figure for gated_accumulate, zero_check, accumulator_read, accumulator_write" in text
    assert "of 8 images right in integers" in text


def test_a_product_and_its_neurons_are_one_layer(digits: LoadedSchedule) -> None:
    result = simulate(digits, load_samples(digits, "digits", None, 4), TABLE)
    rows = layers(result)
    assert len({row.name for row in rows} | {row.neuron for row in rows if row.neuron}) == len(result.nodes)
    assert sum(row.cycles for row in rows) == pytest.approx(result.cycles.mean())
    assert sum(row.compute_pj + row.memory_pj + row.leakage_pj for row in rows) == pytest.approx(
        result.energy_pj.mean()
    )
    for row in rows:
        parts = [getattr(row, kind) for kind in (*CYCLE_KINDS, "memory_stall_cycles")]
        assert min(parts) >= 0
        assert sum(parts) == pytest.approx(row.cycles)
        assert sum(getattr(row, field) for field, *_ in UNITS) == pytest.approx(row.cycles)


@settings(parent=many, max_examples=50)
@given(cases())
def test_every_network_gets_every_report(case: Case) -> None:
    """Also one that is pruned to nothing."""
    result = simulate(LoadedSchedule(case.schedule, case.tensors), Samples(pixels=case.pixels), TABLE)
    assert printed(result)
    json.loads(encode(result), parse_constant=pytest.fail)
    HTMLParser().feed(page(result).decode())


def test_names_are_escaped(small: LoadedSchedule) -> None:
    import msgspec

    hostile = msgspec.structs.replace(small.schedule, network="<script>alert(1)</script> [red]x[/red]")
    result = simulate(LoadedSchedule(hostile, small.tensors), load_samples(small, "s", None, None), TABLE)
    assert b"<script" not in page(result)
    assert "<script>alert(1)</script> [red]x[/red] on" in printed(result)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0 pJ"), (0.00123, "0.00123 pJ"), (999.0, "999 pJ"), (999.6, "1.00 nJ"), (1000.0, "1.00 nJ"),
     (1513272.0, "1.51 µJ"), (3.42e9, "3.42 mJ"), (2.5e15, "2,500 J")],
)  # fmt: skip
def test_energies_as_people_read_them(value: float, text: str) -> None:
    assert quantities.energy(value) == text.replace(" ", NO_BREAK)


def test_a_column_lines_up() -> None:
    assert quantities.nanojoules([12345.6, 7.0, 0.0]) == ["12.35", "0.01", "0.00"]
    assert quantities.nanojoules([288000.0, 7.0]) == ["288.0", "< 0.1"]
    assert quantities.nanojoules([0.0]) == ["0"]


@given(st.floats(1e-6, 1e18))
def test_a_rounded_number_is_near(value: float) -> None:
    text = quantities.significant(value, 3)
    assert float(text.replace(",", "")) == pytest.approx(value, rel=0.006)


def test_spread() -> None:
    assert quantities.spread(np.array([1.0])) == 0.0
    assert quantities.spread(np.array([1.0, 3.0])) == pytest.approx(np.sqrt(2))
