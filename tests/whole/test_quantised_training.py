"""Networks fine-tuned by dtss-train --quantise 4, compiled without calibration: at most 2 points below float."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dtss.compiler.frontend.dtss import read
from dtss.compiler.passes.base import Target
from dtss.compiler.pipeline import compile_graph
from dtss.compiler.schedule.hardware import load_hardware
from dtss.models.checkpoint import load
from dtss.models.cli import main
from dtss.models.data_sets import DATA_SETS
from dtss.models.train import predict
from tests.whole.test_cifar import integer_classes

HELD_OUT = 2000


def right_answers(path: Path, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> tuple[float, float]:
    """Shares of right answers of the checkpoint's integers, and of answers that its network gives, too."""
    source, checkpoint = read(path), load(path)
    compiled = compile_graph(source.graph, Target(load_hardware("edge-16x16"), weight_bits=source.weight_bits))
    answers = integer_classes(compiled, pixels)
    own = predict(checkpoint.build_model(), checkpoint.preprocess, torch.from_numpy(pixels)).numpy()
    return float((answers == labels).mean()), float((answers == own).mean())


@pytest.mark.slow
def test_digits_keep_their_accuracy(repository: Path, tmp_path: Path) -> None:
    """On all 364 held-out images; there are no more."""
    trained, output = repository / "models" / "zoo" / "digits.pt", tmp_path / "digits4.pt"
    assert main(["--init", str(trained), "--quantise", "4", "-o", str(output), "--quiet"]) == 0
    samples = load(trained).samples
    right, same = right_answers(output, samples.images.numpy(), samples.labels.numpy())
    assert right >= load(trained).training["test_accuracy"] - 0.02
    assert same >= 0.98


@pytest.mark.slow
@pytest.mark.data
def test_cifar_keeps_its_accuracy(repository: Path, data_folder: Path, tmp_path: Path) -> None:
    """One epoch on a tenth of the training images; on 2000 test images rounding to nearest loses 5 points."""
    trained, output = repository / "models" / "zoo" / "cifar10-small.pt", tmp_path / "cifar4.pt"
    options = ["--data", str(data_folder), "--limit-images", "5000", "--epochs", "1", "--quiet"]
    assert main(["--init", str(trained), "--quantise", "4", "-o", str(output), *options]) == 0
    test = DATA_SETS["cifar10"].load(data_folder, (32, 32)).test.select(torch.arange(HELD_OUT))
    checkpoint = load(trained)
    floating = predict(checkpoint.build_model(), checkpoint.preprocess, test.images)
    right, same = right_answers(output, test.images.numpy(), test.labels.numpy())
    assert right >= float((floating == test.labels).double().mean()) - 0.02
    assert same >= 0.90
