"""The result as a whole: logits, accuracy, chunks, memory."""

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numba
import numpy as np
import pytest

from dtss.compiler.schedule import kernel
from dtss.compiler.schedule.interpret import interpret
from dtss.compiler.schedule.io import LoadedSchedule
from dtss.compiler.schedule.kernel import threads_for
from dtss.hwsim import memory_use
from dtss.hwsim.images import load_samples
from dtss.hwsim.report.result_json import encode
from dtss.hwsim.simulate import Simulator, simulate
from dtss.hwsim.technology import load_technology

TABLE = load_technology("45nm")


def test_logits_are_the_integers_times_the_scale(small: LoadedSchedule) -> None:
    """By hand: image 0 gives sums 2, 6 and 11, 49, so three of four neurons stay quiet."""
    result = simulate(small, load_samples(small, "small.json", None, None), TABLE)
    spikes = [[1 * 1 + 2 * 2 - 3 >= 20, 3 * 1 + 3 >= 20], [15 - 4 >= 20, 45 + 4 >= 20]]
    counts = np.sum(spikes, axis=0)
    expected = [counts @ [1, -1] + 5, counts @ [0, 2]]
    assert result.logits_per_step[0, 0].tolist() == [0.5 * value for value in expected]
    assert result.logits_per_step[1].tolist() == [[2.5, 0.0], [2.5, 0.0]]
    np.testing.assert_array_equal(result.logits, result.logits_per_step.mean(axis=0))


def test_digits_logits(digits: LoadedSchedule) -> None:
    samples = load_samples(digits, "digits", None, 20)
    expected = interpret(digits.schedule, digits.tensors, samples.pixels.astype(np.int64)).logits
    result = simulate(digits, samples, TABLE)
    np.testing.assert_array_equal(result.logits_per_step, expected * digits.schedule.output.scale)


def test_accuracy_and_agreement(small: LoadedSchedule) -> None:
    """Labels 0 and 1; the float network says 0 twice; the machine says 0 for the first and second image."""
    result = simulate(small, load_samples(small, "small.json", None, None), TABLE)
    chosen = result.logits.argmax(axis=1)
    accuracy = result.accuracy
    assert accuracy.integer_top1 is not None
    assert accuracy.integer_top1 == np.mean(chosen == [0, 1])
    assert accuracy.float_top1 == 0.5
    assert accuracy.agreement == np.mean(chosen == 0)
    assert accuracy.change == accuracy.integer_top1 - 0.5


def test_digits_keep_their_accuracy(digits: LoadedSchedule) -> None:
    accuracy = simulate(digits, load_samples(digits, "digits", None, None), TABLE).accuracy
    assert accuracy.integer_top1 is not None
    assert accuracy.agreement is not None
    assert accuracy.integer_top1 > 0.9
    assert accuracy.agreement > 0.95


@pytest.mark.parametrize("size", [1, 3])
def test_chunks_change_nothing(size: int, digits: LoadedSchedule, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = load_samples(digits, "digits", None, 10)
    whole = encode(simulate(digits, samples, TABLE))
    monkeypatch.setattr(memory_use, "CHUNK_BYTES", size * memory_use.bytes_per_image(digits.schedule))
    assert memory_use.images_per_chunk(digits.schedule) == size
    assert encode(simulate(digits, samples, TABLE)) == whole


@pytest.mark.parametrize("threads", [1, 3, 16])
def test_threads_change_nothing(threads: int, digits: LoadedSchedule) -> None:
    samples = load_samples(digits, "digits", None, 10)
    simulator = Simulator.of(digits)
    assert encode(simulator.run(samples, TABLE, threads=threads)) == encode(simulate(digits, samples, TABLE))


def test_threads_that_share_one_image_change_nothing(digits: LoadedSchedule) -> None:
    samples = load_samples(digits, "digits", None, 1)
    simulator = Simulator.of(digits)
    alone, shared = (encode(simulator.run(samples, TABLE, threads=threads)) for threads in (1, 3))
    assert alone == shared


def test_threads_are_not_shared_where_that_stops_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """numba's own threads, where there is neither OpenMP nor TBB."""
    before = numba.get_num_threads()
    with threads_for(3) as parts:
        assert parts == 3
    monkeypatch.setattr(numba, "threading_layer", lambda: "workqueue")
    with threads_for(3) as parts:
        assert parts == 1
    assert numba.get_num_threads() == before


@pytest.mark.parametrize(("running", "free"), [("1/500", 2), ("3/500", 1), ("99/500", 1), (None, 2)])
def test_threads_keep_off_processors_that_others_use(
    running: str | None, free: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if running is not None:
        (tmp_path / "loadavg").write_text(f"0.00 0.00 0.00 {running} 4321")
    monkeypatch.setattr(kernel, "RUNNING", tmp_path / "loadavg")
    monkeypatch.setattr(kernel, "_runs", lambda stat: stat.parent.name == str(os.getpid()))
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 2})
    assert kernel.free_processors() == free


FORKED = """
import os, sys
from dtss.compiler.schedule.kernel import threads_for
with threads_for(2) as parts:
    assert parts == 2
child = os.fork()
if child == 0:
    with threads_for(2) as parts:
        os._exit(parts)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_fork_leaves_the_threads_behind() -> None:
    """The child goes on with one; calling for the others would end it."""
    assert subprocess.run([sys.executable, "-c", FORKED], check=False).returncode == 1


def test_memory_estimate_is_an_upper_one(digits: LoadedSchedule) -> None:
    samples = load_samples(digits, "digits", None, 64)
    simulate(digits, samples, TABLE)
    tracemalloc.start()
    simulate(digits, samples, TABLE)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.2 * 64 * memory_use.bytes_per_image(digits.schedule) + (4 << 20)


def test_progress_reaches_the_end(digits: LoadedSchedule) -> None:
    told: list[tuple[int, int]] = []
    simulate(digits, load_samples(digits, "digits", None, 2), TABLE, lambda done, whole: told.append((done, whole)))
    ((whole, *others),) = [sorted({whole for _, whole in told})]
    assert not others
    assert whole % len(digits.schedule.nodes) == 0
    assert [done for done, _ in told] == list(range(1, whole + 1))


def test_time_order_changes_the_cost_and_not_the_answer(digits: LoadedSchedule, digits_outer: LoadedSchedule) -> None:
    inner, outer = (
        simulate(loaded, load_samples(loaded, "digits", None, 20), TABLE) for loaded in (digits, digits_outer)
    )
    np.testing.assert_array_equal(inner.logits_per_step, outer.logits_per_step)
    assert not inner.kind_pj("membrane_memory").any()
    assert outer.kind_pj("membrane_memory").all()
    np.testing.assert_array_equal(inner.sum_of("accumulates"), outer.sum_of("accumulates"))
