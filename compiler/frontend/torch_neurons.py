"""The neurons that a torch module may hold: SpikingJelly's, snnTorch's and ours, as the compiler's own.

Nothing of SpikingJelly or snnTorch is imported: a module is known by the name of its class.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dtss.compiler.errors import CompileError
from dtss.compiler.frontend.dtss import neuron_of
from dtss.compiler.graph.ir import FloatNeuron
from dtss.compiler.schedule.errors import BadInputError
from dtss.compiler.schedule.format import Group
from dtss.models.neurons import Lif
from dtss.models.time_step_mask import MaskedLif

SPIKING_JELLY = "spikingjelly.activation_based."
SNN_TORCH = "snntorch."


@dataclass(frozen=True)
class ReadNeuron:
    """A neuron, whether one call runs all steps, and its trained mask and layer group if it has them.

    height: of a spike, which the next product absorbs.
    """

    neuron: FloatNeuron
    multi_step: bool
    mask: tuple[int, ...] | None = None
    group: Group | None = None
    height: float = 1.0


def is_neuron(module: nn.Module) -> bool:
    """Whether a module keeps a state over time, so that only its kind says what it computes."""
    if isinstance(module, Lif) or _from(module, f"{SPIKING_JELLY}neuron") or _from(module, f"{SNN_TORCH}_neurons"):
        return True
    dropout = type(module).__name__.startswith("Dropout")  # its state is a mask that evaluation does not use
    return _from(module, SPIKING_JELLY) and bool(getattr(module, "_memories", None)) and not dropout


def read_neuron(name: str, module: nn.Module) -> ReadNeuron:
    """The equations of a module for which `is_neuron` holds, or a refusal."""
    if isinstance(module, MaskedLif):
        mask = None if module.mask is None else module.mask.frozen()
        return ReadNeuron(neuron_of(module), multi_step=True, mask=mask, group=module.group)
    if type(module) is Lif:
        return ReadNeuron(neuron_of(module), multi_step=True)
    kind = type(module)
    for origin, kinds in KINDS.items():
        if kind.__module__.startswith(origin) and kind.__name__ in kinds:
            return kinds[kind.__name__](name, module)
    supported = ", ".join([*KINDS[SPIKING_JELLY], *KINDS[SNN_TORCH]])
    raise CompileError(name, f"is a {kind.__name__}, whose equations are unknown here", f"use one of {supported}")


def refuse_unreadable_neurons(module: nn.Module, time_steps: int) -> None:
    """Before the module runs: parts without numbers, and masks that are damaged or of another T."""
    for name, tensor in itertools.chain(module.named_parameters(), module.named_buffers()):
        if tensor.is_meta:
            raise BadInputError(name, "is on the meta device, without numbers", "load the weights first")
    for name, part in module.named_modules():
        if not isinstance(part, MaskedLif) or part.mask is None:
            continue
        score = part.mask.score
        broken = int((~torch.isfinite(score)).sum())
        if broken:
            found = f"{broken} of the {len(score)} numbers of its mask are NaN or infinite"
            raise BadInputError(name, found, "repair or retrain the model")
        if len(score) != time_steps:
            found = f"its mask was trained for {len(score)} time steps, and the example runs {time_steps}"
            raise BadInputError(name, found, f"give {len(score)}")


def reset_states(module: nn.Module) -> None:
    """Every known neuron back to its initial state."""
    for part in module.modules():
        if _from(part, SPIKING_JELLY) and hasattr(part, "_memories"):
            part.reset()  # type: ignore[operator]  # torch types an unknown attribute as Tensor | Module
        elif _from(part, SNN_TORCH) and hasattr(part, "reset_mem"):
            part.reset_mem()  # type: ignore[operator]  # as above


def _from(module: nn.Module, origin: str) -> bool:
    return any(kind.__module__.startswith(origin) for kind in type(module).__mro__)


def _integrate_and_fire(name: str, module: Any) -> ReadNeuron:
    """H = V + X."""
    return _spiking_jelly(name, module, leak=1.0, gain=1.0)


def _leaky(name: str, module: Any) -> ReadNeuron:
    """H = V + (X − (V − V_reset))/τ, or with decay_input=False  V − (V − V_reset)/τ + X."""
    return _spiking_jelly(name, module, 1 - 1 / module.tau, 1 / module.tau if module.decay_input else 1.0)


def _parametric_leaky(name: str, module: Any) -> ReadNeuron:
    """As `_leaky` with 1/τ = sigmoid(w)."""
    share = float(torch.sigmoid(module.w.detach().double()))
    return _spiking_jelly(name, module, 1 - share, share if module.decay_input else 1.0)


def _spiking_jelly(name: str, module: Any, leak: float, gain: float) -> ReadNeuron:
    """Fires if H ≥ V_threshold; V = V_reset, or H − V_threshold if V_reset is None. In the units of V − V_reset."""
    if not getattr(module.surrogate_function, "spiking", True):
        raise CompileError(name, "its surrogate function does not spike", "set surrogate_function.spiking = True")
    rest = 0.0 if module.v_reset is None else float(module.v_reset)
    neuron = FloatNeuron(
        leak=leak,
        gain=gain,
        threshold=float(module.v_threshold) - rest,
        comparison=">=",
        reset="soft" if module.v_reset is None else "hard",
        reset_value=0.0,
        initial=0.0,
    )
    return ReadNeuron(neuron, multi_step=module.step_mode == "m")


def _snn_torch_leaky(name: str, module: Any) -> ReadNeuron:
    """mem = β·mem + x − θ·[mem before > θ], fires if mem > θ.

    The late reset is not decayed: in U = mem − (θ/β)·[mem > θ] it is a soft reset by θ/β in the same step.
    "zero" forgets mem before it leaks, which is a hard reset to 0 in the same step.
    """
    leak, threshold = (_one_value(name, what, getattr(module, what)) for what in ("beta", "threshold"))
    leak = min(max(leak, 0.0), 1.0)
    mechanism = module.reset_mechanism
    for wrong, found, hint in (
        (mechanism == "none", "has no reset", "use reset_mechanism='subtract' or 'zero'"),
        (bool(module.state_quant), "quantises its state", "leave out state_quant"),
        (module.inhibition, "inhibits its neighbours", "leave out inhibition"),
        (mechanism == "subtract" and leak == 0, "subtracts from a state that it forgets", "use a beta above 0"),
        (mechanism == "subtract" and not module.reset_delay,
         "takes a pending reset back where it does not fire (reset_delay=False)", "use reset_delay=True"),
        (mechanism == "zero" and threshold < 0, "resets to 0, which fires", "use a threshold of 0 or more"),
    ):  # fmt: skip
        if wrong:
            raise CompileError(name, found, hint)
    soft = mechanism == "subtract"
    neuron = FloatNeuron(leak, 1.0, threshold, ">", "soft" if soft else "hard", 0.0, 0.0,
                         reset_amount=threshold / leak if soft else None)  # fmt: skip
    height = _one_value(name, "graded_spikes_factor", module.graded_spikes_factor)
    return ReadNeuron(neuron, multi_step=False, height=height)


def _one_value(name: str, what: str, value: Tensor | float) -> float:
    numbers = torch.as_tensor(value).detach().double().flatten()
    if not (numbers == numbers[0]).all():
        found = f"its {what} runs from {numbers.min():g} to {numbers.max():g}"
        raise CompileError(name, found, "give all its neurons the same")
    if not math.isfinite(numbers[0]):
        raise CompileError(name, f"its {what} is {numbers[0]:g}", "repair the model")
    return float(numbers[0])


KINDS: dict[str, dict[str, Callable[[str, Any], ReadNeuron]]] = {
    SPIKING_JELLY: {"IFNode": _integrate_and_fire, "LIFNode": _leaky, "ParametricLIFNode": _parametric_leaky},
    SNN_TORCH: {"Leaky": _snn_torch_leaky},
}
