"""Trained time-step masks (DTSS paper, Eq. 4-7) and the LIF layer that they gate."""

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from dtss.models.neurons import Lif, NeuronSpec

LayerGroup = Literal["sps", "qkv", "attn", "mlp"]
LAYER_GROUPS: tuple[LayerGroup, ...] = get_args(LayerGroup)


class _StepThreshold(torch.autograd.Function):
    """TM = 1 if TS >= 1 else 0 (Eq. 5);  dTM/dTS = 1 for 0 < TS < 2, else 0 (Eq. 6)."""

    @staticmethod
    def forward(ctx: Any, total_score: Tensor) -> Tensor:
        ctx.save_for_backward(total_score)
        return (total_score >= 1.0).to(total_score.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        total_score: Tensor = ctx.saved_tensors[0]
        inside = (total_score > 0.0) & (total_score < 2.0)
        return grad_outputs[0] * inside.to(total_score.dtype)


class TimeStepMask(nn.Module):
    """TS[t] = Σ_{i>=t} TP[i];  TM[t] = 1 if TS[t] >= 1 else 0 (Eq. 4-5).

    TP  `score`, the trained tensor [T].
    TS  `total_scores()`, [T]; non-increasing while TP >= 0, and then the mask is a prefix 1…10…0.
    TM  what calling the module returns: [T] of {0, 1}, differentiable through Eq. 6.

    initial_steps  TS starts at 1 + (initial_steps − t − ½)/T: TM = 1 exactly for t < initial_steps, every TS
                   lies in the (0, 2) where Eq. 6 lets gradients pass, and TP > 0.
    minimum_steps  The first steps that TM never drops, whatever TS says; no gradient passes there. The paper
                   is silent on layers masked at every step; one such layer would cut the network in two.
    non_negative   `project`, called after each optimiser step, keeps TP >= 0. The paper only starts there.
    """

    def __init__(
        self, time_steps: int, initial_steps: int, *, minimum_steps: int = 1, non_negative: bool = True
    ) -> None:
        super().__init__()
        if not 1 <= initial_steps <= time_steps:
            raise ValueError(f"mask: initial_steps is {initial_steps}, but the network has {time_steps} time steps")
        if not 0 <= minimum_steps <= initial_steps:
            raise ValueError(f"mask: minimum_steps is {minimum_steps}; choose 0..{initial_steps} (initial_steps)")
        self.minimum_steps = minimum_steps
        self.non_negative = non_negative
        score = torch.full((time_steps,), 1.0 / time_steps)
        score[-1] = (initial_steps + 0.5) / time_steps
        self.score = nn.Parameter(score)

    def total_scores(self) -> Tensor:
        """TS = TP · coeff, coeff the lower-triangular ones matrix [T, T].

        In float64, where these few sums of float32 are exact: training leaves scores within 1e-6 of the
        threshold, and no other machine's order of summation may flip a trained mask.
        """
        steps = len(self.score)
        coefficients = torch.ones(steps, steps, dtype=torch.float64, device=self.score.device).tril()
        return self.score.to(torch.float64) @ coefficients

    def forward(self) -> Tensor:
        # torch types Function.apply as untyped
        mask: Tensor = _StepThreshold.apply(self.total_scores()).to(self.score.dtype)  # type: ignore[no-untyped-call]
        return torch.cat([torch.ones_like(mask[: self.minimum_steps]), mask[self.minimum_steps :]])

    def frozen(self) -> tuple[int, ...]:
        """TM as it is deployed: one 0 or 1 for each time step."""
        return tuple(int(bit) for bit in self().tolist())

    def project(self) -> None:
        if self.non_negative:
            self.score.data.clamp_(min=0.0)

    def extra_repr(self) -> str:
        steps = len(self.score)
        return f"time_steps={steps}, minimum_steps={self.minimum_steps}, non_negative={self.non_negative}"


class MaskedLif(Lif):
    """O[t] = Y[t] · TM[t] (Eq. 7): the mask gates what leaves the layer, never the membrane.

    mask   None for a plain Spikformer layer, which is active at every step.
    group  The part of the network that the mask loss counts this layer in.
    """

    def __init__(
        self,
        spec: NeuronSpec,
        group: LayerGroup,
        mask: TimeStepMask | None,
        *,
        surrogate_peak: float = 1.0,
        train_leak: bool = False,
    ) -> None:
        super().__init__(spec, surrogate_peak=surrogate_peak, train_leak=train_leak)
        self.group = group
        self.mask = mask

    def forward(self, current: Tensor) -> Tensor:
        return self.gated(current, None if self.mask is None else self.mask())

    def project(self) -> None:
        super().project()
        if self.mask is not None:
            self.mask.project()
