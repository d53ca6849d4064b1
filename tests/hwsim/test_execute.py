"""The fast execution gives the interpreter's integers, every one of them."""

from collections.abc import Iterable

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dtss.compiler.schedule.errors import BadInputError
from dtss.compiler.schedule.format import Linear, Schedule, Value
from dtss.compiler.schedule.hardware import Widths
from dtss.compiler.schedule.interpret import Execution, interpret
from dtss.compiler.schedule.io import LoadedSchedule
from dtss.hwsim import products
from dtss.hwsim.execute import Program, execute, run_program
from dtss.hwsim.kernels import add_weight_multiples, add_weight_rows
from dtss.hwsim.products import sum_bound
from dtss.hwsim.values import NodeRun
from dtss.hwsim.workspace import Workspace
from tests.hwsim.random_networks import Case, cases, many

ALL_DENSE = {"products.DENSE_FROM": 0, "products.DENSE_FROM_WITHOUT_BYTES": 0}
ALL_EVENTS = dict.fromkeys(ALL_DENSE, 2)


def assert_same_integers(schedule: Schedule, tensors: dict[str, np.ndarray], pixels: np.ndarray) -> None:
    """On one thread in new memory, and twice on three in memory that serves again."""
    expected = interpret(schedule, tensors, pixels.astype(np.int64))
    compare(schedule, execute(schedule, tensors, pixels), expected)
    program, space = Program.of(schedule, tensors), Workspace(3, again=True)
    for _ in range(2):
        compare(schedule, run_program(program, pixels, space, record=True), expected)


def compare(schedule: Schedule, runs: Iterable[NodeRun], expected: Execution) -> None:
    for run in runs:
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
            logits = [run.value_at(step).reshape(run.batch, -1) for step in range(schedule.time_steps)]
            np.testing.assert_array_equal(np.stack(logits), expected.logits)


def test_digits_innermost(digits: LoadedSchedule) -> None:
    assert_same_integers(digits.schedule, dict(digits.tensors), digits.tensors["samples.images"])


def test_digits_outermost(digits_outer: LoadedSchedule) -> None:
    assert_same_integers(digits_outer.schedule, dict(digits_outer.tensors), digits_outer.tensors["samples.images"][:64])


@settings(parent=many, max_examples=150)
@given(cases())
def test_random_networks(case: Case) -> None:
    assert_same_integers(case.schedule, case.tensors, case.pixels)


@pytest.mark.parametrize(
    "limits",
    [
        ALL_DENSE,
        ALL_EVENTS,
        ALL_EVENTS | {"products.PARTIAL_LIMIT": 0},
        ALL_EVENTS | {"values.INT32_LIMIT": 0},
        {"values.INT32_LIMIT": 0},
    ],
)
def test_every_way_to_multiply_gives_the_same(
    limits: dict[str, int], digits: LoadedSchedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, limit in limits.items():
        monkeypatch.setattr(f"dtss.hwsim.{name}", limit)
    assert_same_integers(digits.schedule, dict(digits.tensors), digits.tensors["samples.images"][:8])


@pytest.mark.parametrize("limits", [ALL_DENSE, ALL_EVENTS])
def test_random_networks_by_events_alone_and_dense_alone(
    limits: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, limit in limits.items():
        monkeypatch.setattr(f"dtss.hwsim.{name}", limit)

    @settings(parent=many, max_examples=60)
    @given(cases())
    def check(case: Case) -> None:
        assert_same_integers(case.schedule, case.tensors, case.pixels)

    check()


@example(1, 300, 5, 1, 127, 1.0, 1, 1)  # 264 rows of 127, eight at a time, where 258 fit
@settings(parent=many, max_examples=150)
@given(
    st.integers(1, 3), st.sampled_from([1, 7, 40, 300]), st.integers(1, 70), st.sampled_from([1, 2, 9, 31, 32, 200]),
    st.sampled_from([1, 100, 127, 128]), st.sampled_from([0.0, 0.1, 1.0]), st.sampled_from([1, 3]),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_events_at_the_limits_of_narrow_sums(
    offsets: int, channels: int, outputs: int, highest: int, heaviest: int, share: float, parts: int, seed: int
) -> None:
    """All weights as large as they get, all of one sign or mixed: sums reach what `partial` can hold, and pass it."""
    random = np.random.default_rng(seed)
    signs = random.choice([-1, 1], (1, outputs)) if seed % 2 else random.choice([-1, 1], (offsets * channels, outputs))
    rows = np.zeros((offsets * channels + 1, outputs), np.int8)
    rows[:-1] = np.clip(heaviest * signs, -128, 127)
    values = (random.random((2, 5, channels)) < share) * random.integers(1, highest + 1, (2, 5, channels))
    taps = random.integers(-1, 5, (7, offsets)).astype(np.int32)
    padded = np.concatenate([values, np.zeros((2, 1, channels), np.int64)], axis=1)
    expected = padded[:, taps].reshape(2, 7, -1) @ rows[:-1].astype(np.int64)
    partial, budget = products.partial_sums(rows, highest, np.int32)
    streamed = values.astype(np.uint8).reshape(-1, channels)
    looked_at = products.Streamed(streamed.reshape(2, 5, channels), 2, highest > 1, parts)
    found, amounts = looked_at.events
    sums = np.full((2, 7, outputs), 99, np.int32)
    cut = (taps, 5, channels, rows, budget, np.empty(0, partial), sums)
    if highest == 1:
        add_weight_rows(parts, looked_at.starts, found, *cut)
    else:
        add_weight_multiples(looked_at.starts, found, amounts, *cut)
    np.testing.assert_array_equal(sums, expected)


def test_membranes_are_recorded_only_when_asked_for(digits: LoadedSchedule) -> None:
    pixels = digits.tensors["samples.images"][:2]
    recorded = list(execute(digits.schedule, digits.tensors, pixels))
    plain = list(run_program(Program.of(digits.schedule, digits.tensors), pixels))
    for left, right in zip(recorded, plain, strict=True):
        assert not right.membranes
        for step, value in left.values.items():
            np.testing.assert_array_equal(value, right.values[step])


def test_sums_of_wide_weights(small: LoadedSchedule) -> None:
    """Weights of 16 bits, values of 8, and sums that fit no float32."""
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
    assert sum_bound(schedule, tensors, hidden) == 3 * 32767 * 255
    pixels = np.full((1, 1, 2, 3), 255, np.uint8)
    assert_same_integers(schedule, tensors, pixels)


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
