"""Training: repeatable, masks that learn and then freeze, and the schedule of the learning rate."""

import dataclasses

import pytest
import torch

from dtss.models.data import DATA_SETS, LabelledImages, Split
from dtss.models.recipes import RECIPES, Recipe
from dtss.models.spikformer import CONFIGS, Spikformer
from dtss.models.train import EpochReport, build_optimizer, evaluate, learning_rate_factor, predict, train

DIGITS = DATA_SETS["digits"]
CONFIG = dataclasses.replace(CONFIGS["digits"], depth=1, dim=16, heads=2, stem_channels=(8, 16))
RECIPE = dataclasses.replace(RECIPES["digits"], epochs=4, batch_size=50, threads=1)


def small_split(images: int = 100) -> Split:
    train_images = DIGITS.load().train
    part = LabelledImages(train_images.images[:images], train_images.labels[:images])
    return Split(train=part, test=part)


def run(recipe: Recipe) -> tuple[Spikformer, list[EpochReport]]:
    reports: list[EpochReport] = []
    return train(CONFIG, recipe, DIGITS, small_split(), reports.append), reports


def test_one_seed_gives_one_network_and_another_gives_another() -> None:
    first, again, other = (run(dataclasses.replace(RECIPE, seed=seed))[0].state_dict() for seed in (3, 3, 4))
    for name, tensor in first.items():
        assert torch.equal(tensor, again[name]), name
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_training_leaves_the_callers_seed_and_threads_alone() -> None:
    torch.manual_seed(11)
    expected, threads = torch.rand(3), torch.get_num_threads()
    torch.manual_seed(11)
    run(dataclasses.replace(RECIPE, epochs=1, threads=threads + 1))
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


def test_training_reports_every_epoch_and_learns() -> None:
    recipe = dataclasses.replace(
        RECIPE, epochs=12, batch_size=10, learning_rate=0.01, mask_weight=0.0, label_smoothing=0.0
    )
    model, reports = run(recipe)
    assert [report.epoch for report in reports] == list(range(1, 13))
    assert reports[-1].loss < 0.9 * reports[0].loss
    assert reports[-1].average_time_steps == model.average_time_steps
    assert not model.training


def test_a_heavy_mask_loss_drops_every_step_that_it_may() -> None:
    recipe = dataclasses.replace(
        RECIPE,
        learning_rate=0.02,
        score_rate_share=1.0,
        batch_size=10,
        mask_weight=100.0,
        mask_groups=("qkv",),
        epochs=8,
    )
    model, reports = run(recipe)
    steps = {name: sum(mask) for name, mask in model.masks.items()}
    assert {steps[f"blocks.0.attn.{name}.lif"] for name in "qkv"} == {1}
    assert reports[1].average_time_steps > 3.8  # mask_warmup_share = 1/4: two epochs without mask loss
    for name, lif in model.lif_layers().items():
        assert lif.mask is not None, name
        assert bool((lif.mask.score >= 0).all()), name


def test_frozen_masks_do_not_move() -> None:
    all_frozen = dataclasses.replace(RECIPE, mask_freeze_share=1.0, mask_weight=100.0)
    model, _ = run(all_frozen)
    fresh = Spikformer(CONFIG).lif_layers()
    for name, lif in model.lif_layers().items():
        assert torch.equal(lif.state_dict()["mask.score"], fresh[name].state_dict()["mask.score"]), name


def test_learning_rate_rises_then_falls_to_zero() -> None:
    factors = [learning_rate_factor(update, 4, 20) for update in range(21)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[4] == 1.0
    assert factors[12] == pytest.approx(0.5)
    assert factors[20] == 0.0
    assert factors[4:] == sorted(factors[4:], reverse=True)


def test_only_products_decay() -> None:
    model = Spikformer(CONFIG)
    scores, products, rest = build_optimizer(model, RECIPE).param_groups
    assert [group["weight_decay"] for group in (scores, products, rest)] == [0.0, RECIPE.weight_decay, 0.0]
    assert scores["lr"] == RECIPE.score_rate_share * products["lr"]
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert {names[id(p)].split(".")[-2] for p in products["params"]} == {"conv", "linear", "head"}
    assert {names[id(p)].split(".")[-2] for p in scores["params"]} == {"mask"}
    assert {names[id(p)].split(".")[-2] for p in rest["params"]} == {"norm", "head"}


def test_a_batch_larger_than_the_set_takes_all_of_it() -> None:
    _, reports = run(dataclasses.replace(RECIPE, epochs=1, batch_size=1000))
    assert len(reports) == 1


def test_evaluate_counts_what_predict_gets_right() -> None:
    torch.manual_seed(0)
    model, images = Spikformer(CONFIG), small_split(40).test
    predicted = predict(model, DIGITS.preprocess, images.images, batch_size=7)
    assert torch.equal(predicted, predict(model, DIGITS.preprocess, images.images))
    right = LabelledImages(images.images, predicted)
    assert evaluate(model, DIGITS.preprocess, right) == 1.0
    wrong = torch.where(torch.arange(40) < 10, predicted, (predicted + 1) % 10)
    assert evaluate(model, DIGITS.preprocess, LabelledImages(images.images, wrong)) == 0.25


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs is 0; give 1 or more"),
        ({"batch_size": 1}, "batch_size is 1, but BatchNorm needs 2 images or more to train"),
        ({"learning_rate": float("nan")}, "learning_rate is nan; give a finite number, 0 or more"),
        ({"mask_freeze_share": 1.5}, "mask_freeze_share is 1.5; give a share from 0 to 1"),
        ({"seed": -1}, "seed is -1; give a whole number from 0 to 2**63 - 1"),
    ],
)
def test_impossible_recipes_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011  (the whole text is compared)
        dataclasses.replace(RECIPE, **changes)  # type: ignore[arg-type]
    assert str(error.value) == message
