"""The fused LIF against the loop over time, bit for bit: numba, and Triton on CUDA or in its interpreter."""

import dataclasses
import importlib.util
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest
import torch
from hypothesis import strategies
from torch import Tensor

from dtss.models import fused_lif
from dtss.models.fused_lif import Rules, dense_steps
from dtss.models.neurons import Lif, NeuronSpec

ON_CUDA = torch.cuda.is_available()
needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="no Triton for this machine")
needs_cuda = pytest.mark.skipif(not ON_CUDA, reason="no CUDA device")

Run = Callable[[Lif, Tensor, Tensor | None], Tensor]


@dataclasses.dataclass(frozen=True)
class Case:
    """A layer, its currents I [T, B, C, H, W] in some layout, its mask, and ∂L/∂O."""

    spec: NeuronSpec
    peak: float
    current: Tensor
    mask: Tensor | None
    gradient: Tensor


def laid_out(dense: Tensor, layout: str) -> Tensor:
    match layout:
        case "channels last":
            return dense.movedim(2, -1).contiguous().movedim(-1, 2)
        case "tokens":
            return dense.flatten(3).transpose(2, 3)
        case "one current for all steps":
            return dense[:1].expand_as(dense)
        case "every other column":
            return torch.stack([dense, dense], dim=-1).flatten(-2)[..., ::2]
        case _:
            return dense


@strategies.composite
def cases(draw: strategies.DrawFn) -> Case:
    spec = NeuronSpec(
        leak=draw(strategies.sampled_from([0.0, 0.3, 0.5, 1.0])),
        gain=draw(strategies.sampled_from([0.5, 0.7, 1.0])),
        threshold=draw(strategies.sampled_from([0.5, 0.9, 1.0])),
        comparison=draw(strategies.sampled_from([">", ">="])),
        reset=draw(strategies.sampled_from(["soft", "hard"])),
        reset_value=draw(strategies.sampled_from([0.0, -0.1])),
        initial=draw(strategies.sampled_from([0.0, 0.2])),
    )
    steps, images, channels = draw(strategies.tuples(*(strategies.integers(1, most) for most in (8, 3, 9))))
    height, width = draw(strategies.sampled_from([(1, 1), (3, 5), (8, 8), (16, 8)]))
    dtype = draw(strategies.sampled_from([torch.float32, torch.bfloat16, torch.float16]))
    layouts = ["contiguous", "channels last", "tokens", "one current for all steps", "every other column"]
    generator = torch.Generator().manual_seed(draw(strategies.integers(0, 2**32)))
    shape = (steps, images, channels, height, width)
    tied = torch.randint(-8, 17, shape, generator=generator) / 8
    mixed = torch.where(torch.rand(shape, generator=generator) < 0.5, tied, torch.randn(shape, generator=generator))
    current = laid_out(mixed.to(dtype), draw(strategies.sampled_from(layouts)))
    gradient = torch.randn(current.shape, generator=generator).to(dtype)
    if draw(strategies.booleans()):
        gradient = laid_out(gradient, "one current for all steps")
    mask = torch.randint(0, 2, (steps,), generator=generator).float() if draw(strategies.booleans()) else None
    return Case(spec, draw(strategies.sampled_from([1.0, 1.3])), current, mask, gradient)


def loop(lif: Lif, current: Tensor, mask: Tensor | None) -> Tensor:
    """What `Lif.gated` does where nothing is fused."""
    spikes = lif.run_steps(current.float())
    if mask is not None:
        spikes = spikes * mask.view(-1, *[1] * (spikes.dim() - 1))
    return spikes.to(current.dtype)


def rules_of(lif: Lif) -> Rules:
    return lif._rules()


class _TritonHere(torch.autograd.Function):
    """The CUDA implementation of the operators, called on whatever device the tensors are on."""

    @staticmethod
    def forward(ctx: object, current: Tensor, mask: Tensor | None, rules: Rules) -> Tensor:
        ctx.kept, ctx.rules = (current, mask), rules  # type: ignore[attr-defined]
        spikes: Tensor = fused_lif.lif_on_cuda(current, mask, *rules)
        return spikes

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> tuple[Tensor, Tensor | None, None]:
        current, mask = ctx.kept  # type: ignore[attr-defined]
        of_current, of_mask = fused_lif.lif_backward_on_cuda(gradients[0], current, mask, *ctx.rules)  # type: ignore[attr-defined]
        return of_current, None if mask is None else of_mask, None


def numba(lif: Lif, current: Tensor, mask: Tensor | None) -> Tensor:
    return fused_lif.fused_lif(current, mask, rules_of(lif))


def triton(lif: Lif, current: Tensor, mask: Tensor | None) -> Tensor:
    spikes: Tensor = _TritonHere.apply(current, mask, rules_of(lif))  # type: ignore[no-untyped-call]  # torch's
    return spikes


def spikes_and_gradients(run: Run, case: Case, device: str) -> tuple[Tensor, Tensor, Tensor | None]:
    lif = Lif(case.spec, surrogate_peak=case.peak).train()
    current = case.current.to(device).detach().requires_grad_()
    mask = None if case.mask is None else case.mask.to(device).detach().requires_grad_()
    spikes = run(lif, current, mask)
    spikes.backward(case.gradient.to(device))
    assert current.grad is not None
    return spikes.detach(), current.grad, None if mask is None else mask.grad


def compare(run: Run, case: Case, device: str) -> None:
    dtype = case.current.dtype
    spikes, gradient, of_mask = spikes_and_gradients(run, case, device)
    wide = dataclasses.replace(case, current=case.current.float(), gradient=case.gradient.float())
    expected_spikes, expected_gradient, expected_of_mask = spikes_and_gradients(loop, wide, device)
    assert spikes.dtype == gradient.dtype == dtype
    assert torch.equal(spikes.float(), expected_spikes)
    if run is triton and dtype == torch.bfloat16 and device == "cpu":
        assert torch.equal(gradient, cut_off(expected_gradient))
    else:
        assert torch.equal(gradient, expected_gradient.to(dtype))
    if of_mask is not None:
        assert expected_of_mask is not None
        magnitude = float(case.gradient.float().abs().sum())  # the order of the sum is another
        assert torch.allclose(of_mask, expected_of_mask, rtol=0.0, atol=1e-6 * magnitude)
    if dense_steps(case.current) is case.current and case.current.stride(0) == case.current[0].numel():
        assert spikes.stride() == case.current.stride()


def cut_off(gradient: Tensor) -> Tensor:
    """float32 -> bfloat16 as Triton's interpreter has it; a GPU rounds."""
    return (gradient.view(torch.int32) & -(2**16)).view(torch.float32).bfloat16()


@hypothesis.given(case=cases())
@hypothesis.settings(deadline=None, max_examples=150)
def test_numba_is_the_loop_bit_for_bit(case: Case) -> None:
    compare(numba, case, "cpu")


@needs_triton
@hypothesis.given(case=cases())
@hypothesis.settings(deadline=None, max_examples=100)
def test_triton_is_the_loop_bit_for_bit(case: Case) -> None:
    compare(triton, case, "cuda" if ON_CUDA else "cpu")


@pytest.mark.parametrize("masked", [False, True])
def test_torch_compile_may_take_the_operators_as_they_are(masked: bool) -> None:
    lif = Lif(NeuronSpec(leak=0.5, gain=1.0))
    current = torch.randn(4, 2, 5, 6, 3).movedim(-1, 2).requires_grad_()
    mask = torch.ones(4, requires_grad=True) if masked else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch itself
        torch.library.opcheck(torch.ops.dtss.lif.default, (current, mask, *rules_of(lif)))


COMPILE = """
import triton
from dtss.models import lif_triton
POINTERS = {"current", "mask", "spikes", "gradient", "grad_current", "grad_mask"}
for kernel, dtype, masked in ((lif_triton.forward_kernel, "bf16", 1), (lif_triton.backward_kernel, "fp32", 1)):
    constants = {"steps": 4, "ties_fire": True, "soft": False, "masked": masked, "block": lif_triton.block_of(4)}
    kinds = {"neurons": "i32", "current_stride": "i32", "mask": "*fp32", "grad_mask": "*fp32"}
    kinds |= dict.fromkeys(POINTERS - set(kinds), "*" + dtype) | dict.fromkeys(constants, "constexpr")
    signature = {name: kinds.get(name, "fp32") for name in kernel.arg_names}
    aligned = {(i,): [["tt.divisibility", 16]] for i, name in enumerate(signature) if name in POINTERS | {"neurons"}}
    source = triton.compiler.ASTSource(kernel, signature, constants, aligned)
    hopper = triton.backends.compiler.GPUTarget("cuda", 90, 32)
    print(triton.compile(source, target=hopper, options=lif_triton.OPTIONS).asm["ptx"])
"""


@needs_triton
def test_the_kernels_compile_for_a_gpu_and_round_every_product(tmp_path: Path) -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    found = subprocess.run(
        [sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.count("mul.rn.f32") > 32
    assert "fma" not in found.stdout
    assert "ld.global.v4" in found.stdout
    assert ".local" not in found.stdout


@needs_cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("training", [True, False])
def test_a_layer_on_cuda_is_the_layer_on_the_cpu(dtype: torch.dtype, training: bool) -> None:
    lif = Lif(NeuronSpec(leak=0.5, gain=0.5, comparison=">=", reset="hard")).train(training)
    current = torch.randn(4, 16, 32, 32, 48).to(dtype).movedim(-1, 2)
    results = []
    for device in ("cpu", "cuda"):
        there = current.to(device).requires_grad_()
        spikes = lif(there)
        spikes.sum().backward()
        assert there.grad is not None
        results.append((spikes.cpu(), there.grad.cpu()))
    assert all(torch.equal(*pair) for pair in zip(*results, strict=True))
