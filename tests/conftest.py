"""Options and habits that all tests share."""

import os
from ctypes.util import find_library
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--data", type=Path, metavar="DIR", help="data sets for the tests marked `data`")
    parser.addoption("--update-golden", action="store_true", help="rewrite golden files instead of checking them")


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        # One thread in each xdist worker: several workers with a thread for each core slow one another down.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        # And threads that have nothing to do sleep: looking for work, they would take the cores of other workers.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if find_library("cuda") is None:
        # Read when triton is first imported: without a GPU its kernels run in its interpreter.
        os.environ.setdefault("TRITON_INTERPRET", "1")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--data") is not None:
        return
    for item in items:
        if "data" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="needs a data set: pass --data DIR"))


@pytest.fixture(scope="session")
def data_folder(request: pytest.FixtureRequest) -> Path:
    """The folder given as --data, for tests marked `data`."""
    folder: Path | None = request.config.getoption("--data")
    if folder is None or not folder.is_dir():
        pytest.fail(f"--data {folder} is not a folder; a test that uses it is marked `data`")
    return folder


@pytest.fixture(scope="session")
def repository() -> Path:
    return Path(__file__).parents[1]
