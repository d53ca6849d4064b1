"""The fast execution gives the interpreter's integers, every one of them."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings

from dtss.compiler.schedule.errors import BadInputError
from dtss.compiler.schedule.format import Linear, Schedule, Value
from dtss.compiler.schedule.hardware import Widths
from dtss.compiler.schedule.interpret import interpret
from dtss.compiler.schedule.io import LoadedSchedule
from dtss.hwsim import execute as execute_module
from dtss.hwsim.execute import execute, sum_bound
from tests.hwsim.random_networks import Case, cases, many


def assert_same_integers(schedule: Schedule, tensors: dict[str, np.ndarray], pixels: np.ndarray) -> None:
    expected = interpret(schedule, tensors, pixels.astype(np.int64))
    for run in execute(schedule, tensors, pixels):
        name = run.node.name
        assert set(run.values) == set(expected.values[name])
        for step, value in expected.values[name].items():
            np.testing.assert_array_equal(run.value_at(step), value, f"{name} at {step}")
        assert set(run.membranes) == set(expected.membranes.get(name, {}))
        for step, membrane in run.membranes.items():
            np.testing.assert_array_equal(membrane, expected.membranes[name][step], f"{name} membrane at {step}")
        assert set(run.accumulators) == set(expected.accumulators.get(name, {}))
        for step, sums in run.accumulators.items():
            np.testing.assert_array_equal(sums, expected.accumulators[name][step], f"{name} sums at {step}")
        if name == schedule.output.node:
            logits = [run.value_at(step).reshape(len(pixels), -1) for step in range(schedule.time_steps)]
            np.testing.assert_array_equal(np.stack(logits), expected.logits)


def test_digits_innermost(digits: LoadedSchedule) -> None:
    assert_same_integers(digits.schedule, dict(digits.tensors), digits.tensors["samples.images"])


def test_digits_outermost(digits_outer: LoadedSchedule) -> None:
    assert_same_integers(digits_outer.schedule, dict(digits_outer.tensors), digits_outer.tensors["samples.images"][:64])


@settings(parent=many, max_examples=150)
@given(cases())
def test_random_networks(case: Case) -> None:
    assert_same_integers(case.schedule, case.tensors, case.pixels)


@pytest.mark.parametrize("limits", [{"FLOAT32_EXACT": 0}, {"FLOAT32_EXACT": 0, "FLOAT64_EXACT": 0}, {"INT32_LIMIT": 0}])
def test_wider_arithmetic_gives_the_same(
    limits: dict[str, int], digits: LoadedSchedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, limit in limits.items():
        monkeypatch.setattr(execute_module, name, limit)
    assert_same_integers(digits.schedule, dict(digits.tensors), digits.tensors["samples.images"][:8])


def test_sums_that_float32_cannot_hold(small: LoadedSchedule) -> None:
    """3 · 32767 · 255 is beyond 2^24 and odd, so a float32 product would be wrong."""
    weight = np.full((2, 3), 32767, np.int16)
    tensors = dict(small.tensors) | {"hidden.weight": weight}
    wide = Value(0, 3 * 32767 * 255)
    hidden = msgspec.structs.replace(small.schedule.node("hidden"), value=wide)
    lif = msgspec.structs.replace(small.schedule.node("lif"), membrane=wide)
    image = msgspec.structs.replace(small.schedule.node("image"), value=Value(0, 255))
    schedule = msgspec.structs.replace(
        small.schedule,
        nodes=(image, hidden, lif, *small.schedule.nodes[3:]),
        hardware=msgspec.structs.replace(
            small.schedule.hardware, widths=Widths(weight=16, accumulator=32, membrane=32)
        ),
    )
    assert isinstance(hidden, Linear)
    assert sum_bound(schedule, tensors, hidden) == 3 * 32767 * 255 >= execute_module.FLOAT32_EXACT
    pixels = np.full((1, 1, 2, 3), 255, np.uint8)
    assert_same_integers(schedule, tensors, pixels)
    assert int(np.float32(3 * 32767 * 255)) != 3 * 32767 * 255


def test_a_value_outside_its_proved_bounds_is_refused(small: LoadedSchedule) -> None:
    narrow = msgspec.structs.replace(small.schedule.node("hidden"), value=Value(0, 18))
    schedule = msgspec.structs.replace(
        small.schedule, nodes=tuple(narrow if n.name == "hidden" else n for n in small.schedule.nodes)
    )
    with pytest.raises(BadInputError) as error:
        list(execute(schedule, small.tensors, small.tensors["samples.images"]))
    assert str(error.value) == (
        "hidden.value: step 0 holds 0 … 49, the schedule proves 0 … 18; "
        "recompile; if the file was not edited, report it as a bug of the compiler"
    )


def test_a_membrane_outside_its_proved_bounds_is_refused(small: LoadedSchedule) -> None:
    narrow = msgspec.structs.replace(small.schedule.node("lif"), membrane=Value(0, 18))
    schedule = msgspec.structs.replace(
        small.schedule, nodes=tuple(narrow if n.name == "lif" else n for n in small.schedule.nodes)
    )
    with pytest.raises(BadInputError, match=r"^lif.membrane: step 0 holds 0 … 29, the schedule proves 0 … 18; "):
        list(execute(schedule, small.tensors, small.tensors["samples.images"]))
