"""Threads that share work: every task is done once, by whoever gets to it."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from dtss.hwsim.team import Team


@pytest.mark.parametrize("helpers", [0, 1, 3])
def test_every_task_is_done_once(helpers: int) -> None:
    done: list[int] = []
    with ThreadPoolExecutor(max(1, helpers)) as executor:
        team = Team(executor, helpers)
        assert team.alone == (helpers == 0)
        for number in range(3):
            team.later(partial(done.append, number))
        team.share([partial(done.append, number) for number in range(3, 50)])
        assert sorted(done) == list(range(50))
        team.share()
    assert len(done) == 50


def test_what_goes_wrong_in_a_task_is_told() -> None:
    def fail() -> None:
        raise ValueError("told")

    with ThreadPoolExecutor(1) as executor:
        team = Team(executor, 1)
        team.later(fail)
        with pytest.raises(ValueError, match="told"):
            team.share([lambda: None] * 9)
