"""Weights rounded in the forward pass as the compiler will round them, and trained as if they were not.

    ŵ = s·q,   q = round(w/s)        ∂L/∂w := ∂L/∂ŵ

The straight-through estimator (Bengio, Léonard, Courville, arXiv:1308.3432) on weights that stay float for the update
(Jacob et al., CVPR 2018). s is what one integer means, its LSB: the largest weight of an output channel becomes the
largest integer, 2^(bits−1) − 1, so nothing is clipped. Folding BatchNorm multiplies a channel's weights and its s by
the same factor: the integers stay, but for their sign.

The rules of s are those of `compiler/passes/quantise.py`; tests/compiler/test_quantised_training.py compares the
integers. Computed in float64, whatever the network computes in, so that every reader finds the same integers.
"""

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

SMALLEST_BITS, LARGEST_BITS = 2, 8


class Grid(Protocol):
    """Which multiples a product's weight [O, …] is rounded to, in float64."""

    def lsb(self, weight: Tensor) -> Tensor:
        """s, in a shape that broadcasts to the weight's."""
        ...

    def channel_lsb(self, weight: Tensor) -> Tensor:
        """[O]: s, or s times the step of a pixel where the weight reads pixels, which is the same for all of them."""
        ...


class RoundedConv2d(nn.Conv2d):
    """A convolution with ŵ in place of w, where it has a grid."""

    grid: Grid | None = None

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # torch's name
        weight = straight_through(self.weight, self.grid)
        return functional.conv2d(input, weight, self.bias, self.stride, self.padding)


class RoundedLinear(nn.Linear):
    """x·ŵᵀ + b in place of x·wᵀ + b, where it has a grid."""

    grid: Grid | None = None

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # torch's name
        return functional.linear(input, straight_through(self.weight, self.grid), self.bias)


def straight_through(weight: Tensor, grid: Grid | None) -> Tensor:
    """ŵ, exactly; its gradient is w's."""
    if grid is None:
        return weight
    rounded = on_grid(weight.detach(), grid.lsb(weight.detach())).to(weight.dtype)
    return rounded + (weight - weight.detach())


def on_grid(weight: Tensor, lsb: Tensor) -> Tensor:
    """s·round(w/s) in float64."""
    return integers(weight, lsb) * lsb


def integers(weight: Tensor, lsb: Tensor) -> Tensor:
    """q, ties to even, in float64."""
    return torch.round(weight.double() / lsb)


@dataclasses.dataclass(frozen=True)
class ChannelGrid:
    """s of each output channel o: max|w[o]| / (2^(bits−1) − 1); a power of two below a channel's only weight.

    input_lsb  where the weight reads pixels: what one step of a pixel means in each input channel [C]. Pixels enter
               as they are, so it is w·input_lsb that is rounded.
    """

    bits: int
    input_lsb: tuple[float, ...] | None = None

    def lsb(self, weight: Tensor) -> Tensor:
        return _spread(self.channel_lsb(weight), weight) / self.steps(weight)

    def channel_lsb(self, weight: Tensor) -> Tensor:
        return self.folded_lsb(weight, torch.ones((), dtype=torch.float64))

    def folded_lsb(self, weight: Tensor, factor: Tensor) -> Tensor:
        """[O], of the weight after folding: times `factor` [O] or one number, and times the step of a pixel."""
        magnitudes = (weight.double() * self.steps(weight)).abs().flatten(1)
        largest = magnitudes.amax(1) * factor.to(weight.device)
        only_one = (magnitudes.count_nonzero(1) == 1) & (largest > 0)
        levels = largest_integer(self.bits)
        return torch.where(largest > 0, largest, 1.0) / torch.where(only_one, (levels + 1) // 2, levels)

    def steps(self, weight: Tensor) -> Tensor:
        """`input_lsb`, or 1, in a shape that broadcasts to the weight's."""
        steps = torch.ones((), dtype=torch.float64) if self.input_lsb is None else torch.tensor(self.input_lsb).double()
        return steps.to(weight.device).view(-1, *(1,) * (weight.dim() - 2))


@dataclasses.dataclass(frozen=True)
class LayerGrid:
    """One s for all channels, as logits are compared with each other: max|w| / (2^(bits−1) − 1)."""

    bits: int

    def lsb(self, weight: Tensor) -> Tensor:
        return _spread(self.channel_lsb(weight), weight)

    def channel_lsb(self, weight: Tensor) -> Tensor:
        largest = weight.abs().amax().double()
        return (torch.where(largest > 0, largest, 1.0) / largest_integer(self.bits)).expand(len(weight))


@dataclasses.dataclass(frozen=True, eq=False)
class Summand:
    """A product and its BatchNorm, whose currents are added to others'."""

    product: RoundedConv2d | RoundedLinear
    norm: nn.BatchNorm1d | nn.BatchNorm2d
    grid: ChannelGrid

    def factor(self) -> Tensor:
        """|γ|/√(variance + ε) [O], by which folding multiplies the weights."""
        assert self.norm.running_var is not None
        return self.norm.weight.detach().double().abs() / torch.sqrt(self.norm.running_var.double() + self.norm.eps)

    def folded_lsb(self) -> Tensor:
        return self.grid.folded_lsb(self.product.weight.detach(), self.factor())


@dataclasses.dataclass(frozen=True, eq=False)
class SharedGrid:
    """Added currents have one LSB for each channel, up to a shift k_j of the whole product j:

        S = max_j (S_j / 2^k_j),   k_j = round(log2(median(S_j) / min_i median(S_i))),   s_j = S·2^k_j / factor_j

    with S_j [O] the LSB that the folded product would have alone. The factor is that of BatchNorm's running statistics.
    j is `place`.
    """

    summands: Sequence[Summand]
    place: int

    @property
    def own(self) -> Summand:
        return self.summands[self.place]

    def lsb(self, weight: Tensor) -> Tensor:
        return _spread(self.channel_lsb(weight), weight) / self.own.grid.steps(weight)

    def channel_lsb(self, weight: Tensor) -> Tensor:
        alone = torch.stack([summand.folded_lsb() for summand in self.summands])
        typical = alone.quantile(0.5, dim=1, keepdim=True)
        steps = torch.exp2(torch.round(torch.log2(typical / typical.amin())))
        factor = self.own.factor()
        shared = (alone / steps).amax(0) * steps[self.place]
        return shared / torch.where(factor > 0, factor, 1.0)


def share_grid(summands: Sequence[Summand]) -> None:
    """Gives each product the grid that its sum with the others asks for."""
    for place, summand in enumerate(summands):
        summand.product.grid = SharedGrid(summands, place)


def largest_integer(bits: int) -> int:
    """Integers are −largest … largest, so that a weight and its negative are alike."""
    return (1 << (bits - 1)) - 1


def _spread(lsb: Tensor, weight: Tensor) -> Tensor:
    """A number for each output channel, in a shape that broadcasts to the weight's."""
    return lsb.view(-1, *(1,) * (weight.dim() - 1))
