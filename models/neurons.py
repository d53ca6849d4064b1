"""Leaky integrate-and-fire neurons: what one is, the named families, and the layer that runs one over time.

Shape letters of this package: T time steps, B images, C channels, H×W pixels, N tokens, D features,
K classes.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dtss.models.fused_lif import Rules, can_fuse, fused_lif

Comparison = Literal[">", ">="]
Reset = Literal["soft", "hard"]


@dataclasses.dataclass(frozen=True)
class NeuronSpec:
    """H[t] = leak·U[t−1] + gain·I[t];  Y[t] = H[t] ⋛ threshold;  U[t] = reset(H[t], Y[t]);  U[−1] = initial.

    leak         λ, multiplier of the membrane U, in [0, 1].
    gain         g, multiplier of the input current I.
    threshold    V_th, in the units of H; the spike itself is the bit 1, never V_th high.
    comparison   ">" or ">=": what happens on a tie, and ties are common.
    reset        "soft": U = H − threshold·Y.  "hard": U = reset_value where Y, else H.
    reset_value  target of the hard reset.
    initial      U[−1].
    """

    leak: float
    gain: float
    threshold: float = 1.0
    comparison: Comparison = ">"
    reset: Reset = "soft"
    reset_value: float = 0.0
    initial: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.leak <= 1.0:
            raise ValueError(f"neuron: leak is {self.leak}, but a membrane keeps a share between 0 and 1")
        if not (math.isfinite(self.threshold) and self.threshold > 0.0):
            raise ValueError(f"neuron: threshold is {self.threshold}; give a positive finite number")
        for name in ("gain", "reset_value", "initial"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"neuron: {name} is {getattr(self, name)}; give a finite number")
        if self.comparison not in (">", ">="):
            raise ValueError(f"neuron: comparison is {self.comparison!r}; choose '>' or '>='")
        if self.reset not in ("soft", "hard"):
            raise ValueError(f"neuron: reset is {self.reset!r}; choose 'soft' or 'hard'")


NEURON_FAMILIES: Mapping[str, NeuronSpec] = {
    # DTSS paper, Eq. 1-2
    "dtss": NeuronSpec(leak=0.5, gain=1.0, comparison=">", reset="soft"),
    # SpikingJelly LIFNode(tau=2, decay_input=True, v_reset=0): the official Spikformer
    "spikingjelly-tau2": NeuronSpec(leak=0.5, gain=0.5, comparison=">=", reset="hard"),
    # the same with v_reset=None
    "spikingjelly-tau2-soft": NeuronSpec(leak=0.5, gain=0.5, comparison=">=", reset="soft"),
    # SpikingJelly LIFNode(tau=2, decay_input=False, v_reset=0)
    "spikingjelly-no-decay-input": NeuronSpec(leak=0.5, gain=1.0, comparison=">=", reset="hard"),
    # official DT-SNN code
    "dt-snn": NeuronSpec(leak=0.5, gain=1.0, comparison=">", reset="hard"),
}


def fires(membrane: Tensor, threshold: float, comparison: Comparison) -> Tensor:
    """Y = H > threshold or H >= threshold, as a tensor of bool."""
    return membrane > threshold if comparison == ">" else membrane >= threshold


def surrogate_gradient(membrane: Tensor, threshold: float, peak: float) -> Tensor:
    """dY/dH ≈ (γ / V_th) · max(0, 1 − |H / V_th − 1|), γ = peak, V_th = threshold (DTSS paper, II-A).

    H · (1 / V_th) for the quotient, since CUDA divides by a number so and a CPU does not: one rule for both.
    """
    return (peak / threshold) * torch.clamp(1.0 - torch.abs(membrane * (1.0 / threshold) - 1.0), min=0.0)


class _Fire(torch.autograd.Function):
    """Forward `fires` as {0, 1} in the dtype of H; backward `surrogate_gradient`."""

    @staticmethod
    def forward(ctx: Any, membrane: Tensor, threshold: float, comparison: Comparison, peak: float) -> Tensor:
        ctx.save_for_backward(membrane)
        ctx.threshold, ctx.peak = threshold, peak
        return fires(membrane, threshold, comparison).to(membrane.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None, None]:
        membrane: Tensor = ctx.saved_tensors[0]
        return grad_outputs[0] * surrogate_gradient(membrane, ctx.threshold, ctx.peak), None, None, None


class Lif(nn.Module):
    """Runs a `NeuronSpec` over all time steps: currents I [T, B, ...] -> spikes Y [T, B, ...] of {0, 1}.

    No membrane outlives a call, so a traced or exported network never carries one.

    The gradient of Y is the paper's surrogate. The reset is not differentiated: U[t] sees Y[t] as a constant,
    as in the official Spikformer (detach_reset); the paper does not say.

    surrogate_peak  γ of the surrogate gradient.
    train_leak      λ becomes the scalar parameter `leak`; `spec` reports its present value.
    """

    def __init__(self, spec: NeuronSpec, *, surrogate_peak: float = 1.0, train_leak: bool = False) -> None:
        super().__init__()
        self._spec = spec
        self.surrogate_peak = surrogate_peak
        self.leak: nn.Parameter | None = nn.Parameter(torch.tensor(spec.leak)) if train_leak else None

    @property
    def spec(self) -> NeuronSpec:
        return self._spec if self.leak is None else dataclasses.replace(self._spec, leak=self.leak.item())

    def project(self) -> None:
        """Puts a trained λ back into [0, 1]; call after an optimiser step."""
        if self.leak is not None:
            self.leak.data.clamp_(0.0, 1.0)

    def forward(self, current: Tensor) -> Tensor:
        return self.gated(current, None)

    def gated(self, current: Tensor, mask: Tensor | None) -> Tensor:
        """O[t] = Y[t] · mask[t] in the type of the currents; mask [T] of {0, 1}, None for all ones.

        A membrane is float32 at least, a spike in mixed precision as exact as in float32 and half as large: a rounded
        membrane misses its threshold, and a bit is a bit.
        """
        if self._can_fuse(current):
            return fused_lif(current, mask, self._rules())
        spikes = self.run_steps(current.float() if current.dtype in (torch.bfloat16, torch.float16) else current)
        if mask is not None:
            spikes = spikes * mask.view(-1, *[1] * (spikes.dim() - 1))
        return spikes.to(current.dtype)

    def run_steps(self, current: Tensor) -> Tensor:
        """The equations of `NeuronSpec` as tensor operations, which any device and any exporter can run."""
        leak = self._spec.leak if self.leak is None else self.leak
        membrane = torch.full_like(current[0], self._spec.initial)
        spikes = []
        for step_current in current.unbind(0):
            membrane = leak * membrane + self._spec.gain * step_current
            spike = self._fire(membrane)
            membrane = self._reset(membrane, spike.detach())
            spikes.append(spike)
        return torch.stack(spikes)

    def extra_repr(self) -> str:
        return repr(self.spec)

    def _can_fuse(self, current: Tensor) -> bool:
        """In training; on CUDA also elsewhere. A trained leak has a gradient and an exporter an eye of its own."""
        traced: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]  # torch types it in part
        if self.leak is not None or traced or torch.compiler.is_exporting():
            return False
        trains = self.training and torch.is_grad_enabled()
        return (trains or current.device.type == "cuda") and can_fuse(current)

    def _rules(self) -> Rules:
        spec = self._spec
        return Rules(
            leak=spec.leak,
            gain=spec.gain,
            threshold=spec.threshold,
            inverse_threshold=1.0 / spec.threshold,
            ties_fire=spec.comparison == ">=",
            soft=spec.reset == "soft",
            reset_value=spec.reset_value,
            initial=spec.initial,
            peak=self.surrogate_peak / spec.threshold,
        )

    def _fire(self, membrane: Tensor) -> Tensor:
        spec = self._spec
        # torch types Function.apply as untyped
        spike: Tensor = _Fire.apply(membrane, spec.threshold, spec.comparison, self.surrogate_peak)  # type: ignore[no-untyped-call]
        return spike

    def _reset(self, membrane: Tensor, spike: Tensor) -> Tensor:
        if self._spec.reset == "soft":
            return membrane - self._spec.threshold * spike
        return torch.where(spike > 0, self._spec.reset_value, membrane)
