"""Counts of events: against a machine that takes one cycle at a time, and against themselves."""

import numpy as np
import pytest
from hypothesis import Phase, given, settings

from dtss.compiler.schedule import cycles, words
from dtss.compiler.schedule.cycles import CYCLE_KINDS, Counts, gather_cycles
from dtss.compiler.schedule.format import AttentionProduct, Lif, Product
from dtss.compiler.schedule.geometry import geometry
from dtss.compiler.schedule.interpret import interpret
from dtss.compiler.schedule.io import LoadedSchedule
from dtss.compiler.schedule.skipper import Words, pass_sums
from dtss.hwsim.activity import ProductCounter, counter_of
from dtss.hwsim.execute import execute
from tests.hwsim.random_networks import Case, cases, many
from tests.hwsim.slow_machine import SlowMachine


def compare_with_the_slow_machine(case: Case) -> None:
    schedule, tensors = case.schedule, case.tensors
    execution = interpret(schedule, tensors, case.pixels.astype(np.int64))
    for run in execute(schedule, tensors, case.pixels):
        counts = counter_of(schedule, tensors, run.node).activity(run).counts
        for image in range(len(case.pixels)):
            slow = SlowMachine(schedule, tensors, execution, image)
            expected = slow.run(run.node)
            found = {name: int(getattr(counts, name)[image]) for name in Counts.__struct_fields__}
            assert {name: count for name, count in found.items() if count} == +expected, run.node.name
            if isinstance(run.node, Product):
                check_sums(slow, run.node, execution.accumulators[run.node.name], image)


def check_sums(slow: SlowMachine, node: Product, accumulators: dict[int, np.ndarray], image: int) -> None:
    """The slow machine's words and weights give the interpreter's sums, so it streams the right bits."""
    for (group, position, step, channel), total in slow.sums.items():
        sums = accumulators[step][image]
        if isinstance(node, AttentionProduct) and node.stage in ("key_value", "query_key"):
            assert sums[group, position, channel] == total
        else:
            inner = node.channels // node.heads if isinstance(node, AttentionProduct) else 0
            assert sums.reshape(node.positions, -1)[position, group * inner + channel] == total


@settings(parent=many, max_examples=150)
@given(cases(largest_steps=3, images=1))
def test_every_count_equals_the_machine_that_takes_one_cycle_at_a_time(case: Case) -> None:
    compare_with_the_slow_machine(case)


@pytest.mark.parametrize("function", ["pass_sums", "load_cycles", "gather_cycles"])
def test_the_slow_machine_goes_red_when_a_rule_is_wrong(function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A skipper that sees one word at a time, a load that rounds down, or a gatherer of twice the speed is noticed."""
    wrong = {
        "pass_sums": lambda words, cut, skip_group: pass_sums(words, cut, 1),
        "load_cycles": lambda rows, rows_per_cycle: rows // rows_per_cycle,
        "gather_cycles": lambda *arguments: (gather_cycles(*arguments)[0] // 2, gather_cycles(*arguments)[1]),
    }
    monkeypatch.setattr(cycles, function, wrong[function])

    @settings(parent=many, max_examples=60, database=None, phases=[Phase.generate])
    @given(cases(largest_steps=2, images=1))
    def check(case: Case) -> None:
        compare_with_the_slow_machine(case)

    with pytest.raises(AssertionError):
        check()


@settings(parent=many, max_examples=80)
@given(cases())
def test_ones_gathered_by_pixel_equal_ones_counted_in_the_words(case: Case) -> None:
    schedule, tensors = case.schedule, case.tensors
    for run in execute(schedule, tensors, case.pixels):
        if not isinstance(run.node, Product) or not run.node.steps.active:
            continue
        cut = geometry(schedule, run.node)
        expected = [
            words.word_popcounts(
                words.reduction_operand(run.node, tensors, run.inputs[0][step].astype(np.int64)), cut.planes, cut.rows
            )
            for step in run.node.steps.active
        ]
        found = ProductCounter.of(schedule, tensors, run.node).words(run)
        np.testing.assert_array_equal(gathered(found, len(cut.rows)), np.stack(expected, axis=3))


def gathered(words: Words, tiles: int) -> np.ndarray:
    """Ones of every word: [B, groups, positions, slot steps, planes, reduction tiles]."""
    batch, groups, _, slices, steps, planes = words.ones.shape
    found = np.zeros((batch, groups, len(words.taps), steps, planes, tiles), np.int64)
    for (position, offset), row in np.ndenumerate(words.taps):
        first = offset * slices
        found[:, :, position, ..., first : first + slices] += np.moveaxis(words.ones[:, :, row], 2, 4)
    return found


@settings(parent=many, max_examples=60)
@given(cases())
def test_nothing_is_lost(case: Case) -> None:
    """Every offered word is issued or skipped; every lane of an issued word adds or is gated; cycles have an owner."""
    schedule, tensors = case.schedule, case.tensors
    for run in execute(schedule, tensors, case.pixels):
        counts = counter_of(schedule, tensors, run.node).activity(run).counts
        if isinstance(run.node, Product):
            cut = geometry(schedule, run.node)
            assert (counts.words_issued <= counts.words_offered).all()
            assert (counts.active_bits <= counts.words_issued * schedule.hardware.array.rows).all()
            assert (counts.active_bits >= counts.words_issued).all()
            if len(set(cut.rows)) == 1 and len(set(cut.columns)) == 1:
                lanes = counts.accumulates + counts.gated_accumulates
                np.testing.assert_array_equal(lanes, counts.words_issued * cut.rows[0] * cut.columns[0])
        np.testing.assert_array_equal(counts.cycles, np.sum([getattr(counts, kind) for kind in CYCLE_KINDS], axis=0))


def test_spikes_are_counted_where_they_are_emitted(digits: LoadedSchedule) -> None:
    pixels = digits.tensors["samples.images"][:5]
    execution = interpret(digits.schedule, digits.tensors, pixels.astype(np.int64))
    for run in execute(digits.schedule, digits.tensors, pixels):
        spikes = counter_of(digits.schedule, digits.tensors, run.node).activity(run).spikes
        if not isinstance(run.node, Lif):
            assert spikes is None
            continue
        assert spikes is not None
        for step in range(digits.schedule.time_steps):
            value = execution.values[run.node.name].get(step)
            expected = 0 if value is None else value.sum(axis=(1, 2, 3))
            np.testing.assert_array_equal(spikes[:, step], expected)
