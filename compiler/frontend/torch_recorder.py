"""Follows the values through one call of a torch module.

Every torch function that sees a value computed from the input is written down, and neurons are known as a whole, so any
Python may stand around the layers. What cannot be lowered is an error that its results carry: it is raised only if
the output depends on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from dtss.compiler.errors import CompileError
from dtss.compiler.frontend.layers import Layers
from dtss.compiler.frontend.torch_functions import HANDLERS, Call, Value, refuse_averaged
from dtss.compiler.frontend.torch_neurons import ReadNeuron, is_neuron, read_neuron
from dtss.compiler.schedule.errors import UnsupportedError


class Recorder(TorchFunctionMode):
    """Runs a module and follows the values through it, by the identity of their tensors."""

    def __init__(self, module: nn.Module, layers: Layers) -> None:
        super().__init__()
        self.module, self.layers = module, layers
        self.names = {part: name for name, part in module.named_modules()}
        self.values: dict[int, Value] = {}
        self.kept: list[Tensor] = []  # so that no other tensor gets the identity of a known one
        self.running: list[nn.Module] = []
        self.called: set[nn.Module] = set()
        self.inside_neuron = False

    def record(self, example: Tensor, timed: bool) -> Value:
        """The module's output."""
        lead = tuple(example.shape[: 2 if timed else 1])
        image = self.layers.image("example_input", tuple(example.shape[len(lead) :]))
        self._know(example, Value(image, lead))
        hooks = [part.register_forward_pre_hook(self._enter, with_kwargs=True) for part in self.module.modules()]
        hooks += [part.register_forward_hook(self._leave) for part in self.module.modules()]
        try:
            with self:
                output = first_tensor(self.module(example))
        finally:
            for hook in hooks:
                hook.remove()
        return self._output(output)

    def _output(self, output: Tensor) -> Value:
        value = self.values.get(id(output))
        if value is None:
            found = "its output does not depend on the input through torch functions"
            raise CompileError(self.layers.network, found, "use torch functions and known neurons")
        if value.error is not None:
            raise value.error
        if value.lead not in (self._batch(), (self.layers.time_steps, *self._batch())):
            found = f"returns {axes_of(value.lead)} for {self.layers.time_steps} steps"
            raise CompileError(self.layers.network, found, "return [B, K], or [T, B, K]")
        return value

    def _value(self, argument: Any) -> Value | None:
        return self.values.get(id(argument)) if isinstance(argument, Tensor) else None

    def _know(self, tensor: Tensor, value: Value) -> None:
        self.values[id(tensor)] = value
        self.kept.append(tensor)

    # Modules

    def _enter(self, part: nn.Module, positional: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        self.running.append(part)
        if not self.inside_neuron and is_neuron(part):
            self.inside_neuron = True
            self.arguments = (*positional, *named.values())

    def _leave(self, part: nn.Module, _: tuple[Any, ...], output: Any) -> None:
        assert self.running.pop() is part
        if self.inside_neuron and not any(is_neuron(outer) for outer in self.running):
            self.inside_neuron = False
            self._neuron(part, output)

    def _neuron(self, part: nn.Module, output: Any) -> None:
        name = self.names[part] or self.layers.network
        outputs = output if isinstance(output, tuple) else (output,)
        current = self._value(self.arguments[0]) if self.arguments else None
        if current is None:
            return  # its input does not come from the image, and so neither does its output
        try:
            if current.error is not None:
                raise current.error
            value = self._spikes(name, part, current)
        except UnsupportedError as error:
            value = replace(current, error=error)
        self._know(outputs[0], value)
        for other in outputs[1:]:
            if isinstance(other, Tensor):
                hint = "use its spikes, the first of what it returns"
                self._know(other, replace(value, error=CompileError(name, "its membrane is read", hint)))

    def _spikes(self, name: str, part: nn.Module, current: Value) -> Value:
        read = read_neuron(name, part)
        if part in self.called:
            hint = f"give a module that computes one time step, and time_steps={self.layers.time_steps}"
            raise CompileError(name, "is called more than once, and it has one state", f"{hint}; or use two neurons")
        self.called.add(part)
        if len(self.arguments) > 1 and self.arguments[1] is not None:
            raise CompileError(name, "gets its state as an argument", "build it with init_hidden=True")
        self._check_time(name, read, current)
        signal = self.layers.neuron(self.layers.fresh(name), current.signal, read.neuron, read.mask, read.group)
        if read.height != 1:
            signal = self.layers.scale(name, signal, np.array(read.height))
        return replace(current, signal=signal)

    def _check_time(self, name: str, read: ReadNeuron, current: Value) -> None:
        steps = self.layers.time_steps
        refuse_averaged(name, current)
        if read.multi_step and (len(current.lead) != 2 or current.lead[0] != steps):
            found = f"runs all time steps in one call, but gets {axes_of(current.lead)} for {steps} steps"
            raise CompileError(name, found, "give an example [T, B, …], or set step_mode='s'")
        if not read.multi_step and (len(current.lead) != 1 or current.lead != self._batch()):
            found = f"runs one time step a call, but gets {axes_of(current.lead)}"
            raise CompileError(name, found, "set step_mode='m', or give a module that computes one step")

    def _batch(self) -> tuple[int, ...]:
        return self.values[id(self.kept[0])].lead[-1:]

    # Functions

    def __torch_function__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = dict(kwargs or {})
        known = None if self.inside_neuron else self._known((*args, *named.values()))
        result = func(*args, **named)
        if known and isinstance(result, Tensor | tuple | list):
            tensors = [result] if isinstance(result, Tensor) else [part for part in result if isinstance(part, Tensor)]
            for tensor in tensors:
                self._know(tensor, self._follow(func, args, named, known, tensor, alone=isinstance(result, Tensor)))
        return result

    def _known(self, arguments: Iterable[Any]) -> list[Value]:
        """The values among the arguments, those in lists too."""
        found = []
        for argument in arguments:
            if isinstance(argument, list | tuple):
                found += self._known(argument)
            elif (value := self._value(argument)) is not None:
                found.append(value)
        return found

    def _follow(
        self, func: Any, args: tuple[Any, ...], named: dict[str, Any], known: list[Value], result: Tensor, alone: bool
    ) -> Value:
        """The value of a function's result."""
        failed = next((value for value in known if value.error is not None), None)
        if failed is not None:
            return failed
        layer, kind = self._layer(func)
        first = args[0] if args else named.pop("input", None)
        value = self._value(first)
        handler = HANDLERS.get(function_name(func))
        try:
            if value is None or handler is None or not alone:
                raise CompileError(
                    layer, f"{kind} has no counterpart in spikes and integers", _hint(function_name(func))
                )
            lowered = handler(Call(self.layers, layer, value, result, self._value), *args[1:], **named)
            return self._checked(layer, lowered, result)
        except UnsupportedError as error:
            return replace(known[0], error=error)

    def _layer(self, func: Any) -> tuple[str, str]:
        """The name of the innermost module that runs, and what it is or calls."""
        part = self.running[-1] if self.running else self.module
        name = self.names[part]
        if next(part.children(), None) is None and name:
            return name, type(part).__name__
        return f"{name}.{function_name(func)}".lstrip("."), function_name(func)

    def _checked(self, layer: str, value: Value, result: Tensor) -> Value:
        """The value, its leading axes as the result has them; refused if the result has another shape."""
        shape = self.layers.shape(value.signal)
        lead = tuple(result.shape[: result.ndim - len(shape)])
        if tuple(result.shape[len(lead) :]) != shape:
            found = f"gives {tuple(result.shape)} where {' × '.join(map(str, shape))} a step were expected"
            raise CompileError(layer, found, "leave out ceil_mode and reshapes other than flattening")
        return replace(value, lead=lead)


def first_tensor(output: Any) -> Tensor:
    """Of a module that returns (spikes, membrane): the spikes."""
    while isinstance(output, tuple | list):
        output = output[0]
    if not isinstance(output, Tensor):
        raise CompileError("the module", f"returns a {type(output).__name__}", "return one tensor")
    return output


def axes_of(lead: tuple[int, ...]) -> str:
    return "leading axes " + " × ".join(map(str, lead))


def function_name(func: Any) -> str:
    """Its name; of an attribute, the attribute's."""
    name = str(getattr(func, "__name__", func))
    return str(func.__self__.__name__) if name == "__get__" else name.strip("_")


def _hint(function: str) -> str:
    if function in ("relu", "gelu", "sigmoid", "tanh", "silu", "leaky_relu", "hardtanh", "elu"):
        return "replace it by a LIF or IF neuron"
    return "docs/front-ends.md lists what can be compiled"
