"""The shipped checkpoints do what is written of them."""

import csv
import statistics
from collections import Counter
from pathlib import Path

import pytest
import torch

from dtss.models.checkpoint import Checkpoint, load
from dtss.models.data_sets import DATA_SETS
from dtss.models.spikformer import CONFIGS, record_spikes
from dtss.models.train import evaluate, spike_rates

ZOO = Path(__file__).parents[2] / "models" / "zoo"


@pytest.fixture(scope="module")
def digits() -> Checkpoint:
    return load(ZOO / "digits.pt")


def test_it_is_the_named_configuration_with_every_held_out_digit(digits: Checkpoint) -> None:
    assert digits.config == CONFIGS["digits"]
    assert digits.preprocess == DATA_SETS["digits"].preprocess
    held_out = DATA_SETS["digits"].load(None, (8, 8)).test.select(torch.arange(364))
    assert torch.equal(digits.samples.images, held_out.images)
    assert torch.equal(digits.samples.labels, held_out.labels)
    assert (ZOO / "digits.pt").stat().st_size < 1_000_000


def test_accuracy_is_the_recorded_one(digits: Checkpoint) -> None:
    accuracy = evaluate(digits.build_model(), digits.preprocess, digits.samples)
    assert accuracy == digits.training["test_accuracy"]
    assert accuracy >= 0.96


def test_training_dropped_steps_in_several_layers_of_several_groups(digits: Checkpoint) -> None:
    model = digits.build_model()
    assert {name: list(mask) for name, mask in model.masks.items()} == digits.training["masks"]
    assert model.average_time_steps == digits.training["average_time_steps"] <= 3.25
    layers = model.lif_layers()
    shortened = Counter(layers[name].group for name, mask in model.masks.items() if sum(mask) < len(mask))
    assert len(shortened) >= 2
    assert sum(shortened.values()) >= 5
    assert len({sum(mask) for mask in model.masks.values()}) >= 3


def test_masks_are_what_their_scores_say(digits: Checkpoint) -> None:
    for name, mask in digits.training["masks"].items():
        score = digits.state_dict[f"{name}.mask.score"].tolist()
        assert [1, *(int(sum(score[t:]) >= 1.0) for t in range(1, len(score)))] == mask, name
        assert mask == sorted(mask, reverse=True), name


def test_no_layer_is_silent(digits: Checkpoint) -> None:
    spikes = record_spikes(digits.build_model(), digits.preprocess(digits.samples.images))
    for name, layer in spikes.items():
        rate = float(layer[0].mean())
        assert 0.001 < rate < 0.9, f"{name} spikes at rate {rate} at step 0"


def test_spike_rates_are_the_recorded_ones(digits: Checkpoint) -> None:
    rates = spike_rates(digits.build_model(), digits.preprocess(digits.samples.images))
    for name, recorded in digits.training["spike_rates"].items():
        assert rates[name] == pytest.approx(recorded, abs=1e-3), name
    assert 0.01 < statistics.fmean(rate[0] for rate in rates.values()) < 0.5


# CIFAR-10 and MNIST come without --data here: only the samples in the file are looked at
TRAINED = sorted(path for path in ZOO.glob("*.pt") if path.stem != "digits")


@pytest.mark.parametrize("path", TRAINED, ids=lambda path: path.stem)
def test_a_checkpoint_gives_its_recorded_results_on_its_samples(path: Path) -> None:
    checkpoint = load(path)
    training = checkpoint.training
    assert checkpoint.config == CONFIGS[path.stem]
    assert checkpoint.preprocess == DATA_SETS[training["recipe"]["data_set"]].preprocess
    assert path.stat().st_size <= 2_000_000
    labels = checkpoint.samples.labels
    assert len(labels) >= 256
    assert len(set(torch.bincount(labels).tolist())) == 1
    model = checkpoint.build_model()
    # another processor may round a membrane to the other side of its threshold: one image may turn
    accuracy = evaluate(model, checkpoint.preprocess, checkpoint.samples)
    assert accuracy == pytest.approx(training["sample_accuracy"], abs=1.5 / len(labels))
    assert {name: list(mask) for name, mask in model.masks.items()} == training["masks"]
    assert model.average_time_steps == training["average_time_steps"]
    rates = spike_rates(model, checkpoint.preprocess(checkpoint.samples.images))
    for name, recorded in training["spike_rates"].items():
        assert rates[name] == pytest.approx(recorded, abs=1e-3), name
    assert training["finished"]


@pytest.mark.parametrize("path", TRAINED, ids=lambda path: path.stem)
def test_its_curve_and_its_page_say_the_same(path: Path) -> None:
    training = load(path).training
    with path.with_suffix(".csv").open() as file:
        *_, last = csv.DictReader(file)
    assert int(last["epoch"]) == training["epochs"]
    assert float(last["test_accuracy"]) == pytest.approx(training["test_accuracy"], abs=1e-5)
    assert float(last["average_time_steps"]) == pytest.approx(training["average_time_steps"], abs=1e-4)
    page = path.with_suffix(".md").read_text()
    assert training["command"] in page
    assert f"{100 * training['test_accuracy']:.2f} %" in page
    for name in training["masks"]:
        assert f"| {name} |" in page
