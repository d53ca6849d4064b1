"""The LIF layer against a scalar loop written from the equations, and its surrogate gradient."""

import dataclasses

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies

from dtss.models.neurons import NEURON_FAMILIES, Lif, NeuronSpec, surrogate_gradient

# multiples of 1/8, so that membranes meet the threshold exactly, and arbitrary floats, so that rounding shows
TIED = strategies.integers(-24, 24).map(lambda eighths: eighths / 8)
ARBITRARY = strategies.floats(-3.0, 3.0, width=32)
CURRENTS = strategies.lists(TIED | ARBITRARY, min_size=1, max_size=8)


def scalar_spikes(spec: NeuronSpec, currents: list[float]) -> list[float]:
    """H = λU + gI, the comparison, the reset, one number at a time in float32."""
    membrane = np.float32(spec.initial)
    spikes = []
    for current in currents:
        charged = np.float32(spec.leak) * membrane + np.float32(spec.gain) * np.float32(current)
        fired = (
            charged > np.float32(spec.threshold) if spec.comparison == ">" else charged >= np.float32(spec.threshold)
        )
        if spec.reset == "soft":
            membrane = charged - np.float32(spec.threshold) * np.float32(fired)
        else:
            membrane = np.float32(spec.reset_value) if fired else charged
        spikes.append(float(fired))
    return spikes


@pytest.mark.parametrize("family", NEURON_FAMILIES)
@hypothesis.given(currents=CURRENTS, threshold=strategies.sampled_from([0.5, 1.0]))
@hypothesis.settings(deadline=None, max_examples=60)
def test_every_family_follows_its_equations(family: str, currents: list[float], threshold: float) -> None:
    spec = dataclasses.replace(NEURON_FAMILIES[family], threshold=threshold)
    assert Lif(spec)(torch.tensor(currents)).tolist() == scalar_spikes(spec, currents)


@hypothesis.given(
    currents=CURRENTS,
    leak=strategies.sampled_from([0.0, 0.25, 0.9, 1.0]),
    initial=TIED,
    reset_value=TIED,
    reset=strategies.sampled_from(["soft", "hard"]),
    comparison=strategies.sampled_from([">", ">="]),
)
@hypothesis.settings(deadline=None, max_examples=100)
def test_every_field_of_the_neuron_counts(
    currents: list[float], leak: float, initial: float, reset_value: float, reset: str, comparison: str
) -> None:
    spec = NeuronSpec(
        leak=leak,
        gain=1.0,
        comparison=comparison,  # type: ignore[arg-type]  # sampled from its two values
        reset=reset,  # type: ignore[arg-type]
        reset_value=reset_value,
        initial=initial,
    )
    assert Lif(spec)(torch.tensor(currents)).tolist() == scalar_spikes(spec, currents)


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("dtss", [0, 1, 1]),  # H = 1, 1.5, 1.25: the tie at step 0 does not fire
        ("dt-snn", [0, 1, 0]),  # H = 1, 1.5, 1
        ("spikingjelly-no-decay-input", [1, 1, 1]),
        ("spikingjelly-tau2", [0, 0, 0]),  # H = 0.5, 0.75, 0.875
    ],
)
def test_a_tie_at_the_threshold(family: str, expected: list[int]) -> None:
    assert Lif(NEURON_FAMILIES[family])(torch.ones(3)).tolist() == expected


def test_soft_reset_keeps_what_exceeds_the_threshold_and_hard_reset_forgets_it() -> None:
    currents = torch.tensor([3.5, 0.0, 0.0])
    assert Lif(NEURON_FAMILIES["dtss"])(currents).tolist() == [1, 1, 0]  # H = 3.5, 1.25, 0.125
    assert Lif(NEURON_FAMILIES["dt-snn"])(currents).tolist() == [1, 0, 0]


def test_no_state_survives_a_call() -> None:
    lif = Lif(NEURON_FAMILIES["dtss"])
    currents = torch.full((3, 2), 0.75)
    assert torch.equal(lif(currents), lif(currents))


def test_surrogate_gradient_is_a_triangle_around_the_threshold() -> None:
    membrane = torch.tensor([-0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 2.0])
    slope = surrogate_gradient(membrane, threshold=0.5, peak=0.25)
    assert slope.tolist() == [0.0, 0.0, 0.25, 0.5, 0.25, 0.0, 0.0]


def test_gradient_runs_through_the_leak_and_not_through_the_reset() -> None:
    currents = torch.tensor([1.25, 0.75], requires_grad=True)
    Lif(NEURON_FAMILIES["dtss"], surrogate_peak=2.0)(currents)[1].backward()
    # H[0] = 1.25 fires; U[0] = 0.25; H[1] = 0.875; slope 2·(1 − 0.125) = 1.75; dH[1]/dI[0] = λ = 0.5
    assert currents.grad is not None
    assert currents.grad.tolist() == [0.875, 1.75]


def test_hard_reset_stops_the_gradient_of_the_past() -> None:
    currents = torch.tensor([1.25, 0.75], requires_grad=True)
    Lif(NEURON_FAMILIES["dt-snn"])(currents)[1].backward()
    assert currents.grad is not None
    assert currents.grad.tolist() == [0.0, 0.75]


def test_a_trained_leak_has_a_gradient_and_stays_in_range() -> None:
    lif = Lif(NEURON_FAMILIES["dtss"], train_leak=True)
    lif(torch.tensor([0.5, 0.5])).sum().backward()
    assert lif.leak is not None
    assert lif.leak.grad is not None
    assert float(lif.leak.grad) == 0.375  # slope 0.75 at H[1] = 0.75, times U[0] = 0.5
    lif.leak.data.fill_(1.5)
    lif.project()
    assert lif.spec == dataclasses.replace(NEURON_FAMILIES["dtss"], leak=1.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"leak": 1.5}, "neuron: leak is 1.5, but a membrane keeps a share between 0 and 1"),
        ({"threshold": 0.0}, "neuron: threshold is 0.0; give a positive finite number"),
        ({"gain": float("nan")}, "neuron: gain is nan; give a finite number"),
        ({"comparison": "<"}, "neuron: comparison is '<'; choose '>' or '>='"),
        ({"reset": "none"}, "neuron: reset is 'none'; choose 'soft' or 'hard'"),
    ],
)
def test_impossible_neurons_are_refused(changes: dict[str, float | str], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011  (the whole text is compared)
        dataclasses.replace(NEURON_FAMILIES["dtss"], **changes)  # type: ignore[arg-type]
    assert str(error.value) == message


@pytest.mark.parametrize("family", list(NEURON_FAMILIES))
@pytest.mark.parametrize("odd", [False, True])
def test_the_kernel_of_training_is_the_equations_bit_for_bit(family: str, odd: bool) -> None:
    spec = NEURON_FAMILIES[family]
    if odd:
        reset_value = -0.1 if spec.reset == "hard" else 0.0
        spec = dataclasses.replace(spec, leak=0.3, gain=0.7, threshold=0.9, initial=0.2, reset_value=reset_value)
    generator = torch.Generator().manual_seed(0)
    tied = torch.randint(-24, 24, (5, 3, 40), generator=generator) / 8
    currents = torch.cat([tied, torch.randn(5, 3, 40, generator=generator)], dim=2).transpose(1, 2)
    weights = torch.randn(currents.shape, generator=generator)
    lif = Lif(spec, surrogate_peak=1.3).train()
    results = []
    for run in (lif, lif.run_steps):
        current = currents.clone().requires_grad_()
        spikes = run(current)
        (spikes * weights).sum().backward()
        assert current.grad is not None
        results.append((spikes.detach(), current.grad))
    (spikes, grad), (expected_spikes, expected_grad) = results
    assert 0.05 < float(spikes.mean()) < 0.95
    assert torch.equal(spikes, expected_spikes)
    assert torch.equal(grad, expected_grad)


def test_the_kernel_is_for_training_only() -> None:
    lif, current = Lif(NEURON_FAMILIES["dtss"]), torch.rand(3, 4, requires_grad=True)
    assert "dtss_lif" in type(lif.train()(current).grad_fn).__name__
    assert "dtss_lif" not in type(lif.eval()(current).grad_fn).__name__
    trained = Lif(NEURON_FAMILIES["dtss"], train_leak=True).train()
    assert "dtss_lif" not in type(trained(current).grad_fn).__name__
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        assert lif.train()(current.to(dtype)).dtype == lif.eval()(current.to(dtype)).dtype == dtype
