"""The shipped digits network, read, compiled and saved once; and a small untrained checkpoint."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dtss.compiler.frontend.source import Source, read_source
from dtss.compiler.passes.base import Target
from dtss.compiler.pipeline import Compiled, compile_graph
from dtss.compiler.schedule import io
from dtss.compiler.schedule.hardware import load_hardware
from dtss.compiler.schedule.interpret import Execution, interpret


@pytest.fixture(scope="session", autouse=True)
def _one_torch_thread() -> Iterator[None]:
    """These networks are small: a thread for each core only waits for the others."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def zoo(repository: Path) -> Path:
    return repository / "models" / "zoo" / "digits.pt"


@pytest.fixture(scope="session")
def digits(zoo: Path) -> Source:
    return read_source(zoo)


@pytest.fixture(scope="session")
def compiled(digits: Source) -> Compiled:
    return compile_graph(digits.graph, Target(load_hardware("edge-16x16")), reference=digits.reference())


@pytest.fixture(scope="session")
def execution(digits: Source, compiled: Compiled) -> Execution:
    """All held-out digits through the golden model."""
    return interpret(compiled.schedule, compiled.tensors, digits.images.astype(np.int64))


@pytest.fixture
def saved(digits: Source, compiled: Compiled, tmp_path: Path) -> Path:
    path = tmp_path / "digits.json"
    io.save(path, compiled.schedule, compiled.tensors | digits.sample_tensors())
    return path


@pytest.fixture(scope="session")
def small_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A one-block network of 8 channels, as dtss-train would write it."""
    import torch

    from dtss.models.checkpoint import Checkpoint, save
    from dtss.models.data import LabelledImages, Preprocess
    from dtss.models.spikformer import CONFIGS, Spikformer

    config = dataclasses.replace(CONFIGS["digits"], depth=1, dim=8, heads=2, stem_channels=(4, 8), initial_steps=3)
    torch.manual_seed(0)
    state = Spikformer(config).state_dict()
    state["stem.0.conv.weight"].fill_(1.0)  # integers 127, whatever torch's generator gives the others
    path = tmp_path_factory.mktemp("checkpoint") / "small.pt"
    save(
        Checkpoint(
            config=config,
            state_dict=state,
            preprocess=Preprocess(pixel_scale=1 / 16, mean=(0.25,), std=(0.5,)),
            samples=LabelledImages(torch.randint(0, 17, (5, 8, 8, 1), dtype=torch.uint8), torch.arange(5)),
            classes=tuple("0123456789"),
            training={"test_accuracy": 0.5},
        ),
        path,
    )
    return path
