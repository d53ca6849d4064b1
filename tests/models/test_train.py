"""Training: repeatable, masks that learn and then freeze, and the schedule of the learning rate."""

import copy
import dataclasses
import io
from functools import partial

import pytest
import torch

from dtss.models import train as train_module
from dtss.models.data import LabelledImages, Split
from dtss.models.data_sets import DATA_SETS
from dtss.models.network import Network
from dtss.models.recipes import RECIPES, Recipe
from dtss.models.spikformer import CONFIGS, Spikformer
from dtss.models.train import (
    EpochReport,
    Trainer,
    build_optimizer,
    evaluate,
    learning_rate_factor,
    predict,
    repeatable,
    train,
)
from dtss.models.training_state import TrainingState

DIGITS = DATA_SETS["digits"]
CONFIG = dataclasses.replace(CONFIGS["digits"], depth=1, dim=16, heads=2, stem_channels=(8, 16))
RECIPE = dataclasses.replace(RECIPES["digits"], epochs=4, batch_size=50, threads=1)


def small_split(images: int = 100) -> Split:
    part = DIGITS.load(None, (8, 8)).train.select(torch.arange(images))
    return Split(train=part, test=part, classes=tuple("0123456789"))


def run(recipe: Recipe) -> tuple[Network, list[EpochReport]]:
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
    model, images = Spikformer(CONFIG), small_split(40).test.select(torch.arange(40))
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
        ({"accumulate": 3}, "accumulate is 3; give a divisor of batch_size 50 that leaves each part 2 images or more"),
        (
            {"accumulate": 50},
            "accumulate is 50; give a divisor of batch_size 50 that leaves each part 2 images or more",
        ),
        ({"minutes": 0.0}, "minutes is 0.0; give a positive finite number"),
        ({"amp": "fp8"}, "amp is 'fp8'; choose one of off, bf16, fp16"),
        ({"temporal_loss": "last"}, "temporal_loss is 'last'; choose one of mean, tet"),
        ({"seed": -1}, "seed is -1; give a whole number from 0 to 2**63 - 1"),
    ],
)
def test_impossible_recipes_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011  (the whole text is compared)
        dataclasses.replace(RECIPE, **changes)  # type: ignore[arg-type]
    assert str(error.value) == message


def gradients(trainer: Trainer) -> dict[str, torch.Tensor]:
    """Of one update with a rate of 0, so that the weights stay."""
    trainer.optimizer.zero_grad()
    next(trainer.epochs())
    return {name: p.grad.clone() for name, p in trainer.model.named_parameters() if p.grad is not None}


def twice(count: int) -> Split:
    """Images that come in the same order twice in one batch, so that BatchNorm sees the same in each half."""
    part = DIGITS.load(None, (8, 8)).train.select(torch.arange(count).repeat(2))
    return Split(part, part, tuple("0123456789"))


def test_accumulated_parts_give_the_gradients_of_the_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "randperm", lambda count, generator: torch.arange(count))
    still = dataclasses.replace(DIGITS, augmentation=lambda inputs, _generator: inputs)
    grads = []
    for accumulate in (1, 2):
        recipe = dataclasses.replace(
            RECIPE,
            epochs=1,
            batch_size=40,
            accumulate=accumulate,
            learning_rate=0.0,
            mask_warmup_share=0.0,
            mask_freeze_share=0.0,
        )
        with repeatable(0, 1):
            grads.append(gradients(Trainer(CONFIG, recipe, still, twice(20))))
    whole, parts = grads
    assert whole.keys() == parts.keys()
    assert sum(float(grad.abs().sum()) for grad in whole.values()) > 0.1
    for name, grad in whole.items():
        # the sums of 40 and of 2 × 20 float32 terms differ in their last bits
        assert torch.allclose(grad, parts[name], rtol=1e-4, atol=1e-6), name


def test_the_reported_loss_does_not_depend_on_the_parts() -> None:
    reports = [run(dataclasses.replace(RECIPE, epochs=1, accumulate=n, learning_rate=0.0))[1][0] for n in (1, 5)]
    assert reports[0].mask_loss == pytest.approx(reports[1].mask_loss)
    assert reports[0].loss == pytest.approx(reports[1].loss, rel=0.1)  # BatchNorm sees 10 images, not 50


@pytest.mark.parametrize("changes", [{"temporal_loss": "tet"}, {"amp": "bf16"}, {"amp": "fp16"}, {"accumulate": 5}])
def test_it_learns_each_way(changes: dict[str, str]) -> None:
    recipe = dataclasses.replace(RECIPE, epochs=6, batch_size=10, learning_rate=0.01, mask_weight=0.0, **changes)  # type: ignore[arg-type]
    model, reports = run(recipe)
    assert reports[-1].loss < 0.97 * reports[0].loss
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


def test_membranes_keep_float32_under_mixed_precision() -> None:
    model, seen = Spikformer(CONFIG).train(), []
    lif = model.lif_layers()["rpe.lif"]
    lif.register_forward_hook(lambda _module, inputs, spikes: seen.append((*inputs, spikes)))
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(torch.rand(8, 1, 8, 8))
    ((current, spikes),) = seen
    assert (current.dtype, spikes.dtype, logits.dtype) == (torch.bfloat16,) * 3
    assert 0.01 < float(spikes.detach().float().mean()) < 0.99
    assert torch.equal(spikes.float(), lif.run_steps(current.float()))


@pytest.mark.parametrize("changes", [{"masked": False}, {"masked": False, "spiking": False}])
def test_the_baselines_train_for_two_epochs(changes: dict[str, bool]) -> None:
    reports: list[EpochReport] = []
    recipe = dataclasses.replace(RECIPE, epochs=2, batch_size=10)
    model = train(dataclasses.replace(CONFIG, **changes), recipe, DIGITS, small_split(), reports.append)  # type: ignore[arg-type]
    assert [report.mask_loss for report in reports] == [0.0, 0.0]
    assert reports[1].loss < reports[0].loss
    assert not any(name.endswith("mask.score") for name, _ in model.named_parameters())


def test_free_scores_may_turn_negative() -> None:
    free = dataclasses.replace(CONFIG, non_negative_scores=False)
    recipe = dataclasses.replace(RECIPE, learning_rate=0.02, score_rate_share=1.0, batch_size=10, mask_weight=100.0)
    lowest = []
    for config in (CONFIG, free):
        model = train(config, dataclasses.replace(recipe, mask_groups=("qkv",), epochs=8), DIGITS, small_split())
        lowest.append(min(float(lif.mask.score.min()) for lif in model.lif_layers().values() if lif.mask))
    assert lowest[0] >= 0.0 > lowest[1]


class Clock:
    """A clock that each look moves on by `step` seconds."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def monotonic(self) -> float:
        self.now += self.step
        return self.now


def test_a_budget_of_minutes_ends_near_it_with_the_rate_at_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(step=1.0)
    monkeypatch.setattr(train_module, "time", clock)
    recipe = dataclasses.replace(RECIPE, epochs=1000, batch_size=10, minutes=3.0)
    _, reports = run(recipe)
    assert 2 <= len(reports) <= 20
    epoch_s = reports[-1].elapsed_s - reports[-2].elapsed_s
    assert abs(reports[-1].elapsed_s - 180.0) <= 0.75 * epoch_s
    rates = [report.learning_rate for report in reports]
    assert rates[-1] < 0.05 * max(rates)
    assert max(rates) <= recipe.learning_rate


def test_a_run_goes_on_from_any_update_as_if_never_stopped() -> None:
    recipe = dataclasses.replace(RECIPE, epochs=3, batch_size=25, mask_warmup_share=0.34, mask_freeze_share=0.34)
    states: list[bytes] = []

    def trainer() -> Trainer:
        return Trainer(CONFIG, recipe, DIGITS, small_split())

    def stored(running: Trainer) -> bytes:
        file = io.BytesIO()
        torch.save(dataclasses.asdict(running.state({}, [])), file)
        return file.getvalue()

    with repeatable(5, 1):
        whole = trainer()
        reports = list(whole.epochs(lambda: states.append(stored(whole))))
    assert len(states) == 12
    for place in (0, 3, 4, 6, 10, 11):  # within epochs, and at their ends, before and after masks freeze
        with repeatable(99, 1):  # another seed: all that counts is in the state
            again = trainer()
            again.restore(TrainingState(**torch.load(io.BytesIO(states[place]), weights_only=True)))
            rest = list(again.epochs())
        for name, tensor in whole.model.state_dict().items():
            assert torch.equal(tensor, again.model.state_dict()[name]), (place, name)
        assert rest[-1].loss == reports[-1].loss


@pytest.mark.slow  # tracing alone takes most of a minute
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's tracer does so
def test_a_compiled_run_keeps_the_names_and_goes_on_bit_for_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    traced = partial(torch.compile, backend="aot_eager")  # all of torch.compile but the C++ compiler
    monkeypatch.setattr(torch, "compile", traced)
    recipe = dataclasses.replace(RECIPE, epochs=2, batch_size=50)
    states: list[TrainingState] = []

    def trainer() -> Trainer:
        return Trainer(CONFIG, recipe, DIGITS, small_split(), compiled=True)

    with repeatable(5, 1):
        whole = trainer()
        reports = list(whole.epochs(lambda: states.append(copy.deepcopy(whole.state({}, [])))))
        again = trainer()
        again.restore(states[1])
        rest = list(again.epochs())
    assert set(whole.model.state_dict()) == set(Spikformer(CONFIG).state_dict())
    assert rest[-1].loss == reports[-1].loss
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name]), name


def test_cudnn_times_nothing_during_a_run_and_may_again_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    with repeatable(0, 1):
        assert (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic) == (False, True)
    assert (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic) == (True, False)
