"""Eq. 4-7 of the DTSS paper: scores, masks, their gradients, and the gate."""

import hypothesis
import pytest
import torch
from hypothesis import strategies
from torch import Tensor

from dtss.models.neurons import NEURON_FAMILIES, Lif
from dtss.models.time_step_mask import MaskedLif, TimeStepMask

SCORES = strategies.lists(strategies.floats(-1.0, 2.0, width=32), min_size=1, max_size=8)


def mask_with(score: list[float], minimum_steps: int = 0) -> TimeStepMask:
    mask = TimeStepMask(len(score), len(score), minimum_steps=minimum_steps)
    mask.score.data = torch.tensor(score)
    return mask


def gradient(mask: TimeStepMask, weights: list[float]) -> list[float]:
    (mask() * torch.tensor(weights)).sum().backward()
    assert mask.score.grad is not None
    return [float(value) for value in mask.score.grad]


@pytest.mark.parametrize("time_steps", [1, 2, 4, 6, 10])
def test_initial_steps_are_exact_and_every_score_can_learn(time_steps: int) -> None:
    for initial_steps in range(1, time_steps + 1):
        mask = TimeStepMask(time_steps, initial_steps)
        expected = [1 + (initial_steps - t - 0.5) / time_steps for t in range(time_steps)]
        assert mask.total_scores().tolist() == pytest.approx(expected, abs=1e-6)
        assert mask.frozen() == (1,) * initial_steps + (0,) * (time_steps - initial_steps)
        assert all(0.0 < score < 2.0 for score in mask.total_scores().tolist())
        assert bool((mask.score >= 0).all())


@hypothesis.given(score=SCORES)
@hypothesis.settings(deadline=None, max_examples=100)
def test_mask_is_the_threshold_of_the_suffix_sums(score: list[float]) -> None:
    suffix_sums = [sum(score[t:]) for t in range(len(score))]  # exact: few float32 values in float64
    assert mask_with(score).frozen() == tuple(int(total >= 1.0) for total in suffix_sums)


def test_a_score_of_exactly_one_keeps_the_step() -> None:
    assert mask_with([0.0, 0.5, 0.5]).frozen() == (1, 1, 0)


@hypothesis.given(score=SCORES, minimum_steps=strategies.integers(0, 3))
@hypothesis.settings(deadline=None, max_examples=100)
def test_after_projection_every_mask_is_a_prefix(score: list[float], minimum_steps: int) -> None:
    mask = mask_with(score, min(minimum_steps, len(score)))
    mask.project()
    frozen = mask.frozen()
    assert list(frozen) == sorted(frozen, reverse=True)
    assert all(frozen[: mask.minimum_steps])


def test_without_non_negative_the_scores_are_left_alone() -> None:
    mask = TimeStepMask(2, 2, non_negative=False)
    mask.score.data = torch.tensor([-0.5, 1.25])
    mask.project()
    assert mask.score.tolist() == [-0.5, 1.25]
    assert mask.frozen() == (1, 1)  # step 0 by minimum_steps: its own total is 0.75


def test_gradient_of_the_mask_passes_between_zero_and_two() -> None:
    # TS = 2.5, 1.5, 0.5, -0.25: Eq. 6 lets steps 1 and 2 through; TP[i] reaches every TS[t] with t <= i
    mask = mask_with([1.0, 1.0, 0.75, -0.25])
    assert mask.total_scores().tolist() == [2.5, 1.5, 0.5, -0.25]
    assert gradient(mask, [1.0, 10.0, 100.0, 1000.0]) == [0.0, 10.0, 110.0, 110.0]


def test_gradient_ends_at_both_edges() -> None:
    mask = mask_with([2.0, 0.0])  # TS = 2, 0
    assert gradient(mask, [1.0, 1.0]) == [0.0, 0.0]


def test_minimum_steps_hold_without_a_gradient() -> None:
    mask = mask_with([0.25, 0.25, 0.25], minimum_steps=2)  # TS = 0.75, 0.5, 0.25
    assert mask.frozen() == (1, 1, 0)
    assert gradient(mask, [1.0, 1.0, 1.0]) == [0.0, 0.0, 1.0]


def test_the_mask_gates_the_output_and_never_the_membrane() -> None:
    spec = NEURON_FAMILIES["dtss"]
    currents = torch.tensor([0.75, 0.75, 0.75, 1.0]).view(4, 1, 1)
    gated = MaskedLif(spec, "qkv", mask_with([0.0, 0.0, -1.0, 1.0]))
    assert gated.mask is not None
    assert gated.mask.frozen() == (0, 0, 0, 1)
    spikes = Lif(spec)(currents)
    expected = spikes * torch.tensor([0.0, 0.0, 0.0, 1.0]).view(4, 1, 1)
    assert torch.equal(gated(currents), expected)
    assert spikes.flatten().tolist() == [0, 1, 0, 1]


def test_without_a_mask_the_layer_is_a_plain_lif() -> None:
    currents = torch.linspace(-1, 3, 12).view(4, 3)
    spec = NEURON_FAMILIES["spikingjelly-tau2"]
    assert torch.equal(MaskedLif(spec, "sps", None)(currents), Lif(spec)(currents))


def test_cross_entropy_gradient_of_a_score_is_the_spikes_that_it_gates() -> None:
    lif = MaskedLif(NEURON_FAMILIES["dtss"], "mlp", TimeStepMask(2, 2, minimum_steps=0))
    currents = torch.tensor([[2.0, 2.0, 0.0], [2.0, 0.0, 0.0]])
    lif(currents).sum().backward()
    assert lif.mask is not None
    score_gradient: Tensor | None = lif.mask.score.grad
    assert score_gradient is not None
    # spikes a step: 2 and 1 (U[0] = 1 leaves H[1] = 2.5, 0.5, 0); TP[0] reaches TS[0], TP[1] both (Eq. 10)
    assert score_gradient.tolist() == [2.0, 3.0]


@pytest.mark.parametrize(
    ("initial_steps", "minimum_steps", "message"),
    [
        (5, 1, "mask: initial_steps is 5, but the network has 4 time steps"),
        (0, 0, "mask: initial_steps is 0, but the network has 4 time steps"),
        (2, 3, "mask: minimum_steps is 3; choose 0..2 (initial_steps)"),
    ],
)
def test_impossible_masks_are_refused(initial_steps: int, minimum_steps: int, message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011  (the whole text is compared)
        TimeStepMask(4, initial_steps, minimum_steps=minimum_steps)
    assert str(error.value) == message
