"""Random networks on random machines through generate and verify: any time order, any passes, weights in blocks."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from dtss.compiler.schedule import io
from dtss.compiler.schedule.errors import UnsupportedError
from dtss.compiler.schedule.io import LoadedSchedule
from dtss.rtl.counts import counts_of_the_rules
from dtss.rtl.generate import SCHEDULE, generate
from dtss.rtl.verify import Job, all_mismatches, verify_network
from tests.rtl.random_networks import networks

pytestmark = [pytest.mark.rtl, pytest.mark.slow]


@settings(
    max_examples=20, deadline=None, database=None, phases=(Phase.explicit, Phase.generate),  # a build takes 10 s
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(networks())
def test_random_networks_equal_the_golden_model(
    tmp_path_factory: pytest.TempPathFactory, loaded: LoadedSchedule
) -> None:
    folder: Path = tmp_path_factory.mktemp("network")
    try:
        manifest = generate(loaded, folder / "out")
    except UnsupportedError:
        return  # of which tests/rtl/test_limits.py has the list
    job = Job(folder / "out", folder / "work", (), (0, 1), 0, counts_of_the_rules)
    _, layers, images = verify_network(job, manifest, io.load(folder / "out" / SCHEDULE), lambda message: None)
    assert [str(mismatch) for mismatch in all_mismatches(layers, images)] == []
