"""The project names no folder of the machine it was written on and no host of a package registry."""

import re
from pathlib import Path

import pytest

# Written in parts, so that this file does not hold what it looks for.
TRACES = [
    r"(?<![\w.~-])/" + "work/",
    r"(?<![\w.~-])/" + "root/",
    r"/opt/" + "(wheels|pypi)",
    "shared/" + "(design|data|papers|hooks)",
    "pypi" + r"\.org",
    "python" + r"hosted\.org",
    r"pytorch\.org/" + "whl",
    r"(deb|security)\.debian" + r"\.org",
    r"npmjs\.(org|com)",
]


@pytest.mark.parametrize("trace", TRACES)
def test_no_trace_in_any_file(trace: str, repository: Path, project_files: list[Path]) -> None:
    pattern = re.compile(trace.encode())
    found = [str(path.relative_to(repository)) for path in project_files if pattern.search(path.read_bytes())]
    assert found == []


def test_traces_are_recognised() -> None:
    folder = "/" + "work/main"
    assert any(re.search(trace, f"reads {folder}/x.json") for trace in TRACES)
    assert not any(re.search(trace, f"reads http://example.com{folder}/x.json") for trace in TRACES[:1])
