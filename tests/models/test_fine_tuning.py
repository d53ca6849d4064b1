"""dtss-train --init and --quantise: what goes on, what is refused, and that a killed run ends the same."""

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch

from dtss.models import run as run_module
from dtss.models.checkpoint import Checkpoint, load, save
from dtss.models.cli import main
from dtss.models.recipes import RECIPES, fine_tuning
from dtss.models.training_state import TrainingState, save_state, state_path

OPTIONS = ["--limit-images", "200", "--quiet"]


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network after two epochs."""
    folder = tmp_path_factory.mktemp("trained")
    settings, output = folder / "tiny.toml", folder / "trained.pt"
    network = 'name = "tiny"\ndepth = 1\ndim = 16\nheads = 2\nstem_channels = [8, 16]\n'
    settings.write_text(f'base = "digits"\n[network]\n{network}[recipe]\nepochs = 21\nbatch_size = 20\n')
    assert main(["--config", str(settings), "-o", str(output), "--epochs", "2", *OPTIONS]) == 0
    checkpoint = load(output)
    recipe = {**checkpoint.training["recipe"], "epochs": 21}  # as if it had been trained to its end
    save(dataclasses.replace(checkpoint, training={**checkpoint.training, "recipe": recipe}), output)
    return output


@pytest.fixture
def trained(once: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copy(once, tmp_path))


def fine_tuned(trained: Path, output: Path, *more: str) -> Checkpoint:
    assert main(["--init", str(trained), "-o", str(output), *OPTIONS, *more]) == 0
    return load(output)


def test_the_recipe_for_a_trained_network() -> None:
    for recipe in RECIPES.values():
        tuned = fine_tuning(recipe, masks_train=False)
        assert tuned.learning_rate == pytest.approx(recipe.learning_rate / 10)
        assert recipe.epochs <= 10 * tuned.epochs < recipe.epochs + 10
        assert (tuned.mask_weight, tuned.mask_freeze_share) == (0.0, 1.0)
        masks = fine_tuning(recipe, masks_train=True)
        assert (masks.mask_weight, masks.mask_freeze_share) == (recipe.mask_weight, recipe.mask_freeze_share)
    assert fine_tuning(dataclasses.replace(RECIPES["digits"], minutes=9.0), masks_train=False).minutes is None


def test_the_network_of_the_file_goes_on_with_rounded_weights(trained: Path, tmp_path: Path) -> None:
    before, after = load(trained), fine_tuned(trained, tmp_path / "x.pt", "--quantise", "4")
    assert after.config == dataclasses.replace(before.config, weight_bits=4)
    assert after.training["recipe"]["epochs"] == after.training["epochs"] == 3
    assert after.training["recipe"]["learning_rate"] == pytest.approx(0.0004)
    assert after.training["masks"] == before.training["masks"]
    assert after.training["command"] == ("dtss-train --init trained.pt -o x.pt --limit-images 200 --quiet --quantise 4")
    assert not torch.equal(before.state_dict["head.weight"], after.state_dict["head.weight"])
    again = fine_tuned(tmp_path / "x.pt", tmp_path / "y.pt", "--epochs", "1")
    assert again.config.weight_bits == 4
    narrower = fine_tuned(tmp_path / "x.pt", tmp_path / "z.pt", "--epochs", "1", "--quantise", "2")
    assert narrower.config.weight_bits == 2


def test_it_starts_from_the_weights_of_the_file(trained: Path, tmp_path: Path) -> None:
    """At rate 0 only BatchNorm's statistics move."""
    before, after = load(trained), fine_tuned(trained, tmp_path / "x.pt", "--epochs", "1", "--lr", "0")
    for name, tensor in before.state_dict.items():
        if "running" not in name and "num_batches" not in name:
            assert torch.equal(tensor, after.state_dict[name]), name


def test_masks_train_where_their_loss_is_asked_for(trained: Path, tmp_path: Path) -> None:
    name = "blocks.0.mlp.fc1.lif.mask.score"
    still = fine_tuned(trained, tmp_path / "x.pt", "--epochs", "1")
    moved = fine_tuned(trained, tmp_path / "y.pt", "--epochs", "1", "--mask-weight", "0.5")
    assert torch.equal(still.state_dict[name], load(trained).state_dict[name])
    assert not torch.equal(moved.state_dict[name], load(trained).state_dict[name])


def test_from_scratch(tmp_path: Path) -> None:
    output = tmp_path / "x.pt"
    assert main(["--config", "digits", "--quantise", "3", "--epochs", "1", "-o", str(output), *OPTIONS]) == 0
    assert load(output).config.weight_bits == 3


def test_a_killed_run_ends_with_the_same_weights(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--quantise", "4", "--save-every-minutes", "0")
    whole, output = fine_tuned(trained, tmp_path / "whole.pt", *options), tmp_path / "broken.pt"
    saved = save_state

    def stop(state: TrainingState, path: Path) -> None:
        saved(state, path)
        if state.updates == 13:
            raise KeyboardInterrupt

    monkeypatch.setattr(run_module, "save_state", stop)
    assert main(["--init", str(trained), "-o", str(output), *OPTIONS, *options]) == 130
    monkeypatch.undo()
    assert torch.load(state_path(output), weights_only=True)["updates"] == 13
    resumed = fine_tuned(trained, output, *options, "--resume")
    for name, tensor in whole.state_dict.items():
        assert torch.equal(tensor, resumed.state_dict[name]), name
    written = output.stat().st_mtime_ns
    fine_tuned(trained, output, *options, "--resume")
    assert output.stat().st_mtime_ns == written


def test_resuming_from_other_weights_is_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "x.pt"
    fine_tuned(trained, output, "--epochs", "1")
    checkpoint = load(trained)
    state = {**checkpoint.state_dict, "head.bias": checkpoint.state_dict["head.bias"] + 1}
    save(dataclasses.replace(checkpoint, state_dict=state), trained)
    assert main(["--init", str(trained), "-o", str(output), *OPTIONS, "--epochs", "1", "--resume"]) == 3
    assert f"{output}: a finished run with another initial_weights: found " in capsys.readouterr().err


def refused(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    code: object
    try:
        code = main(list(options))
    except SystemExit as end:
        code = end.code
    return f"{code}: {capsys.readouterr().err.splitlines()[-1]}"


def test_what_does_not_fit_is_refused(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "x.pt"
    start = ("-o", str(output), "--init", str(trained))
    for option, value, found in (
        ("--time-steps", "2", "time_steps is 4"),
        ("--initial-steps", "2", "initial_steps is 4"),
        ("--residual", "membrane", "residual is spike"),
        ("--model", "plain", "masked is True"),
        ("--no-non-negative-scores", "", "non_negative_scores is True"),
    ):
        name = option.replace("--no-", "--")
        assert refused(capsys, *start, option, *([value] if value else [])) == (
            f"2: dtss-train: error: {name} asks for another network than --init {trained}, whose {found}; "
            f"leave {name} out, or train from --config"
        )
    assert refused(capsys, *start, "--neuron", "dtss").startswith("2: dtss-train: error: --neuron asks for another ")
    assert refused(capsys, *start, "--config", "digits") == (
        "2: dtss-train: error: argument --config: not allowed with argument --init"
    )
    assert refused(capsys, *start, "--quantise", "9") == (
        "2: dtss-train: error: tiny: weight_bits is 9; choose 2..8, or leave it out for float weights"
    )
    assert refused(capsys, "-o", str(output), "--config", "digits", "--model", "vit", "--quantise", "4") == (
        "2: dtss-train: error: digits: weight_bits is 4, but the non-spiking ViT is never compiled to integers; "
        "leave it out"
    )
    assert refused(capsys, "-o", str(output), "--init", f"{trained}.no") == (
        f"3: dtss-train: {trained}.no: no such file: found nothing; give the path of a checkpoint file"
    )
    checkpoint = load(trained)
    save(dataclasses.replace(checkpoint, training={}), trained)
    assert refused(capsys, *start) == (
        f"3: dtss-train: {trained}: no recipe to train it further by: found Expected `object`, got `null`; "
        "train from --config, or --init a checkpoint of dtss-train"
    )
    assert not output.exists()


def test_another_number_of_classes_is_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = load(trained)
    state = {**checkpoint.state_dict, "head.weight": torch.zeros(3, 16), "head.bias": torch.zeros(3)}
    three = dataclasses.replace(
        checkpoint,
        config=dataclasses.replace(checkpoint.config, classes=3),
        classes=("a", "b", "c"),
        samples=checkpoint.samples.select(torch.nonzero(checkpoint.samples.labels < 3).flatten()),
        state_dict=state,
    )
    save(three, trained)
    assert refused(capsys, "--init", str(trained), "-o", str(tmp_path / "x.pt"), *OPTIONS) == (
        "3: dtss-train: data set digits: another number of classes: found 10; the network to start from has 3 outputs; "
        "give the data set it was trained on"
    )
