"""The scaling method against what its authors published."""

import pytest

from dtss.hwsim.scaling import FINFET, PLANAR, covers, energy_factor, energy_ratio


def test_the_example_of_the_authors_corrigendum() -> None:
    """1 pJ at 65 nm and 1.3 V is 0.1755 pJ at 32 nm and 0.9 V."""
    assert energy_factor(32, 0.9) == pytest.approx(0.4571, abs=1e-4)
    assert energy_factor(65, 1.3) == pytest.approx(2.604, abs=1e-3)
    assert energy_ratio(65, 1.3, 32, 0.9) == pytest.approx(0.1755, abs=1e-4)


def test_28nm_lies_on_the_line_through_45_and_32() -> None:
    step = (28 / 32) ** (energy_exponent(45, 32))
    assert energy_factor(28, 0.9) == pytest.approx(energy_factor(32, 0.9) * step)
    assert energy_ratio(45, 0.9, 28, 0.9) == pytest.approx(0.5539, abs=1e-4)


def energy_exponent(larger: int, smaller: int) -> float:
    from math import log

    return log(energy_factor(larger, 0.9) / energy_factor(smaller, 0.9)) / log(larger / smaller)


def test_a_node_between_two_lies_between_them() -> None:
    for larger, smaller in ((130, 90), (65, 45), (45, 32), (20, 16), (10, 7)):
        middle = energy_factor((larger * smaller) ** 0.5, 0.9)
        assert middle == pytest.approx((energy_factor(larger, 0.9) * energy_factor(smaller, 0.9)) ** 0.5)


def test_there_and_back_is_no_change() -> None:
    assert energy_ratio(45, 0.9, 28, 1.0) * energy_ratio(28, 1.0, 45, 0.9) == pytest.approx(1)


@pytest.mark.parametrize("node", [*PLANAR, *FINFET])
@pytest.mark.parametrize("voltage", [0.7, 0.9, 1.1, 1.3])
def test_energies_are_positive_and_grow_with_the_supply(node: int, voltage: float) -> None:
    assert 0 < energy_factor(node, voltage - 0.01) < energy_factor(node, voltage)


def test_what_the_method_covers() -> None:
    assert [node for node in (180, 130, 28, 22, 21, 20, 7, 5) if covers(node)] == [130, 28, 22, 20, 7]
