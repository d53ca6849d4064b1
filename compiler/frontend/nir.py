"""NIR graphs (neuroir.org), written by snnTorch, Norse, Sinabs, Rockpool, SpikingJelly or Lava.

NIR states neurons as differential equations; a step of dt is one forward Euler step, as in SpikingJelly, snnTorch and
Norse. `docs/front-ends.md` has the equation of every node.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import networkx as nx
import nir
import numpy as np
import torch
from numpy.typing import NDArray

from dtss.compiler.errors import CompileError
from dtss.compiler.frontend.layers import Floats, Layers, Pair, Signal, refuse_image_shape, refuse_not_finite
from dtss.compiler.frontend.nir_file import NirGraph, read_file
from dtss.compiler.graph.float_module import FloatModule
from dtss.compiler.graph.ir import FloatNeuron, Graph
from dtss.compiler.schedule.errors import BadInputError
from dtss.compiler.schedule.format import Preprocess
from dtss.compiler.schedule.images import network_inputs

Comparison = Literal[">", ">="]


@dataclass(frozen=True)
class Discretisation:
    """What NIR leaves to the reader: T, the step in seconds, and whether v = threshold fires (NIR says it does not)."""

    time_steps: int
    dt: float
    fires: Comparison


def read_graph(
    path: Path, steps: Discretisation, preprocess: Callable[[int], Preprocess]
) -> tuple[Graph, tuple[str, ...]]:
    """The float graph, its input preprocessed as for so many channels, and notes on how it was lowered."""
    return _GraphReader(str(path), read_file(path), steps).read(path.stem, preprocess)


def logits(graph: Graph, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean logits [B, K] in doubles. A NIR graph has no framework of its own, so its equations stand for it."""
    inputs = torch.from_numpy(network_inputs(graph.preprocess, pixels))
    with torch.inference_mode():
        mean, _ = FloatModule(graph, np.float64)(inputs)
    found: NDArray[np.float64] = mean.numpy()
    return found.reshape(len(pixels), len(graph.classes))


class _GraphReader:
    """Lowers the nodes in the order of their edges. Edges that meet in a node are added."""

    def __init__(self, where: str, graph: NirGraph, steps: Discretisation) -> None:
        self.where, self.nodes, self.steps = where, graph.nodes, steps
        self.entry, self.leave = graph.entry, graph.leave
        self.sources = {name: [source for source, target in graph.edges if target == name] for name in graph.nodes}
        self.digraph = nx.DiGraph(graph.edges)
        self.digraph.add_nodes_from(graph.nodes)

    def read(self, network: str, preprocess: Callable[[int], Preprocess]) -> tuple[Graph, tuple[str, ...]]:
        entry, leave = self.entry, self.leave
        shape = _shape_of(entry, self.nodes[entry].input_type)
        refuse_image_shape(entry, shape)
        channels = shape[0] if len(shape) == 3 else 1
        self.layers = Layers(network, self.steps.time_steps, preprocess(channels))
        signals = {entry: self.layers.image(entry, shape)}
        for name in self._order():
            if name != entry:
                signals[name] = self._lower(name, self.nodes[name], self._input(name, signals))
        run = f"NIR in steps of {self.steps.dt:g} s, with a spike where v {self.steps.fires} threshold"
        return self.layers.finish(leave, signals[leave]), (run, *self.layers.notes)

    def _order(self) -> list[str]:
        """The nodes between input and output; what leads to neither is left out."""
        entry, leave = self.entry, self.leave
        needed = {leave, *nx.ancestors(self.digraph, leave)}
        if entry not in needed:
            raise BadInputError(self.where, f"no edges lead from {entry} to {leave}", "repair the graph")
        for name in needed:
            if name != entry and not self.sources[name]:
                raise BadInputError(name, "nothing leads to it", "connect it, or leave it out")
        part = nx.DiGraph(sorted(self.digraph.subgraph(needed).edges))
        part.add_node(leave)
        try:
            return list(nx.lexicographical_topological_sort(part))
        except nx.NetworkXUnfeasible:
            cycle = " → ".join(source for source, _ in nx.find_cycle(part))
            raise CompileError(cycle, "the graph is recurrent", "only neurons may feed back in time") from None

    def _input(self, name: str, signals: dict[str, Signal]) -> Signal:
        sources = [signals[source] for source in self.sources[name]]
        return sources[0] if len(sources) == 1 else self.layers.add(self.layers.fresh(f"{name}.sum"), *sources)

    def _lower(self, name: str, node: Any, source: Signal) -> Signal:
        layers, fresh = self.layers, self.layers.fresh(name)
        match node:
            case nir.Input() | nir.Output():
                return source
            case nir.Conv2d():
                return self._convolution(fresh, node, source)
            case nir.Linear():
                return layers.linear(fresh, self._vector(source), _floats(name, "weight", node.weight), None)
            case nir.Affine():
                weight, bias = (_floats(name, what, getattr(node, what)) for what in ("weight", "bias"))
                return layers.linear(fresh, self._vector(source), weight, bias)
            case nir.Scale():
                factors = _floats(name, "scale", node.scale)
                return layers.scale(fresh, self._as(factors, source), factors)
            case nir.Flatten():
                return self._flatten(fresh, node, source)
            case nir.SumPool2d() | nir.AvgPool2d():
                kernel, stride, padding = (
                    _pair(name, what, getattr(node, what)) for what in ("kernel_size", "stride", "padding")
                )
                divisor = kernel[0] * kernel[1] if isinstance(node, nir.AvgPool2d) else 1
                return layers.sum_pool(fresh, source, kernel, stride, padding, divisor)
            case nir.Threshold() | nir.IF() | nir.LIF() | nir.CubaLIF():
                return self._neuron(fresh, node, source)
            case nir.I() | nir.LI() | nir.CubaLI():
                return self._integrator(fresh, node, source)
            case _:
                raise CompileError(name, f"is a {type(node).__name__} node", _hint(node))

    def _convolution(self, name: str, node: Any, source: Signal) -> Signal:
        weight = _floats(name, "weight", node.weight)
        stride, dilation = (_pair(name, what, getattr(node, what)) for what in ("stride", "dilation"))
        if weight.ndim != 4:
            raise BadInputError(name, f"its weight has {weight.ndim} axes", "give [O, C, rows, columns]")
        sizes = [gap * (taps - 1) for gap, taps in zip(dilation, weight.shape[2:], strict=True)]
        if _text(node.padding) == "same":
            first, last = ((size // 2, size - size // 2) for size in sizes)
        else:
            rows, columns = (0, 0) if _text(node.padding) == "valid" else _pair(name, "padding", node.padding)
            first, last = (rows, rows), (columns, columns)
        return self.layers.convolution(
            name, source, weight, None if node.bias is None else _floats(name, "bias", node.bias), stride=stride,
            padding=(first, last), dilation=dilation, groups=_whole(name, "groups", node.groups),
        )  # fmt: skip

    def _flatten(self, name: str, node: Any, source: Signal) -> Signal:
        """Of [C, H, W]; exporters that count the batch as an axis of their own start at 1."""
        axes = len(self.layers.shape(source))
        start, end = (_whole(name, what, getattr(node, what), -1) for what in ("start_dim", "end_dim"))
        if start > 1 or (end % (axes + 1) if end < 0 else end) < axes - 1:
            raise CompileError(name, f"flattens axes {start} to {end}", "flatten the whole image")
        return self.layers.flatten(source)

    def _vector(self, source: Signal) -> Signal:
        """A signal of one position as the vector of its channels: NIR's linear layers read either."""
        return self.layers.flatten(source) if self.layers.build.shape(source.node)[:2] == (1, 1) else source

    def _as(self, parameter: NDArray[Any], source: Signal) -> Signal:
        """[C, 1, 1] and [C] are the same values: take the shape that the parameter has."""
        one_position = self.layers.build.shape(source.node)[:2] == (1, 1)
        return self.layers.flatten(source, np.ndim(parameter) < 2) if one_position else source

    # Neurons

    def _integrator(self, name: str, node: Any, source: Signal) -> Signal:
        """v' = leak·v + gain·I as gain·(an integrator of I)."""
        dt = self.steps.dt
        if isinstance(node, nir.CubaLI):
            source = self._synapse(name, node, source)
        if isinstance(node, nir.I):
            leak, gain = 1.0, _gain(dt * _uniform(name, "r", _parameter(name, node, "r")))
        else:
            decays = _decay(name, node, "tau" if isinstance(node, nir.LI) else "tau_mem", dt)
            decay = _uniform(name, "time constant", decays)
            leak, gain = 1 - decay, _gain(decay * _uniform(name, "r", _parameter(name, node, "r")))
            if _parameter(name, node, "v_leak").any():
                raise CompileError(name, "it rests at a v_leak other than 0", "move it into the bias before it")
        self._refuse_fast(name, leak)
        return self.layers.scale(name, self.layers.integrator(name, source, leak), gain)

    def _synapse(self, name: str, node: Any, source: Signal) -> Signal:
        """I' = I + dt/τ_syn·(w_in·S − I); the neuron reads I'. With τ_syn = dt that is w_in·S."""
        decay = _uniform(name, "tau_syn", _decay(name, node, "tau_syn", self.steps.dt))
        gain = _gain(decay * _uniform(name, "w_in", _parameter(name, node, "w_in")))
        self._refuse_fast(name, 1 - decay)
        if decay != 1:
            source = self.layers.integrator(self.layers.fresh(f"{name}.synapse"), source, 1 - decay)
        elif not source.current:
            source = self.layers.as_current(self.layers.fresh(f"{name}.input"), source)
        return self.layers.scale(name, source, gain)

    def _refuse_fast(self, name: str, leak: float) -> None:
        if not 0 <= leak <= 1:
            found = f"in steps of {self.steps.dt:g} s its state keeps {leak:g} of itself"
            raise CompileError(name, found, "give a --dt that is at most its time constants")

    def _neuron(self, name: str, node: Any, source: Signal) -> Signal:
        """The difference equation of one step, scaled to one threshold where channels differ."""
        if isinstance(node, nir.CubaLIF):
            source = self._synapse(name, node, source)
        equation = _difference_equation(name, node, self.steps.dt)
        shape = self.layers.shape(source)
        parameters = {field: _broadcast(name, field, value, shape) for field, value in equation.items()}
        uniform = {field: float(value.flat[0]) for field, value in parameters.items() if (value == value.flat[0]).all()}
        if len(uniform) < len(parameters):
            source, uniform = self._normalised(name, source, parameters, uniform)
        leak, gain, threshold = uniform["leak"], uniform["gain"], uniform["threshold"]
        self._refuse_fast(name, leak)
        if gain <= 0:
            raise CompileError(name, f"its resistance makes a gain of {gain:g}", "use a positive one")
        return self.layers.neuron(
            name, source, FloatNeuron(leak, gain, threshold, self.steps.fires, "hard", uniform["reset"], 0.0)
        )

    def _normalised(
        self, name: str, source: Signal, parameters: dict[str, Floats], uniform: dict[str, float]
    ) -> tuple[Signal, dict[str, float]]:
        """Channels with gains and thresholds of their own: I·g/θ against 1, exact if the reset is to rest."""
        varying = " and ".join(sorted(set(parameters) - set(uniform)))
        if "leak" not in uniform or uniform.get("reset") != 0 or (parameters["threshold"] <= 0).any():
            found = f"its {varying} differs between neurons"
            raise CompileError(name, found, "give all neurons of a layer one leak, and a reset to rest")
        if not source.current:
            source = self.layers.as_current(f"{name}.input", source)
        factors = parameters["gain"] / parameters["threshold"]
        height, width, channels = self.layers.build.shape(source.node)
        by_position = factors.reshape(channels, height * width)
        if (by_position != by_position[:, :1]).any():
            found = f"its {varying} differs between neurons of one channel"
            raise CompileError(name, found, "give all neurons of a channel the same")
        source = self.layers.scale_channels(self.layers.fresh(f"{name}.scale"), source, by_position[:, 0])
        return source, {"leak": uniform["leak"], "gain": 1.0, "threshold": 1.0, "reset": 0.0}


def _difference_equation(name: str, node: Any, dt: float) -> dict[str, Floats]:
    """u' = leak·u + gain·I, fires above threshold, then u = reset; u is the voltage above rest, 0 at the start.

    LIF: rest is v_leak.  IF: there is no leak, so the start is the rest: v_reset.
    """
    match node:
        case nir.Threshold():
            zero = np.zeros(1)
            return {"leak": zero, "gain": zero + 1, "threshold": _parameter(name, node, "threshold"), "reset": zero}
        case nir.IF():
            rest, decay = _parameter(name, node, "v_reset"), np.zeros(1)
            gain = _gain(dt * _parameter(name, node, "r"))
        case nir.LIF():
            rest, decay = _parameter(name, node, "v_leak"), _decay(name, node, "tau", dt)
            gain = _gain(decay * _parameter(name, node, "r"))
        case _:
            rest, decay = _parameter(name, node, "v_leak"), _decay(name, node, "tau_mem", dt)
            gain = _gain(decay * _parameter(name, node, "r"))
    threshold, reset = (_parameter(name, node, field) - rest for field in ("v_threshold", "v_reset"))
    return {"leak": 1 - decay, "gain": gain, "threshold": threshold, "reset": reset}


def _parameter(name: str, node: Any, field: str) -> Floats:
    values = np.atleast_1d(_floats(name, field, getattr(node, field)))
    refuse_not_finite(name, field, values)
    return values


def _decay(name: str, node: Any, field: str, dt: float) -> Floats:
    """dt/τ, as precise as τ is stored: the float32 nearest to 2e-4 is no power of two times dt, yet stands for one."""
    values = _parameter(name, node, field)
    if (values <= 0).any():
        raise BadInputError(name, f"its {field} is {float(values.min()):g}", "time constants are positive")
    stored = np.asarray(getattr(node, field)).dtype
    return (dt / values).astype(np.float32).astype(np.float64) if stored == np.float32 else dt / values


def _gain(value: float | Floats) -> Floats:
    """dt/τ·R with R = τ/dt is meant to be 1, and no rounding may turn a tie at the threshold."""
    return np.where(np.isclose(value, 1.0, rtol=1e-6, atol=0.0), 1.0, value)


def _uniform(name: str, what: str, values: Floats) -> float:
    if (values != values.flat[0]).any():
        raise CompileError(name, f"its {what} differs between neurons", "give all neurons of a layer the same")
    return float(values.flat[0])


def _broadcast(name: str, field: str, values: Floats, shape: tuple[int, ...]) -> Floats:
    """A parameter for every neuron of `shape`; one number stands for all."""
    if values.size == 1:
        return values
    if values.shape == shape or (values.size == np.prod(shape) and values.ndim in (1, len(shape))):
        return values.reshape(shape)
    if values.ndim == 1 and len(shape) == 3 and values.size == shape[0]:
        return np.broadcast_to(values[:, None, None], shape)
    found = f"its {field} has shape {values.shape} for {'×'.join(map(str, shape))} neurons"
    raise BadInputError(name, found, "give one number, or one for each neuron")


def _shape_of(name: str, types: Any) -> tuple[int, ...]:
    sizes = None if types is None else next(iter(types.values()))
    if sizes is None:
        raise BadInputError(name, "has no shape", "export the graph with the shape of its input")
    numbers = np.atleast_1d(np.asarray(sizes))
    if numbers.dtype.kind not in "iu" or numbers.ndim != 1:
        raise BadInputError(name, f"its shape is {sizes}", "give whole numbers")
    return tuple(int(size) for size in numbers)


def _pair(name: str, what: str, value: Any) -> Pair:
    numbers = np.atleast_1d(np.asarray(value))
    if numbers.dtype.kind not in "iu" or numbers.size not in (1, 2):
        raise BadInputError(name, f"its {what} is {value}", "give one or two whole numbers")
    lowest = 0 if what == "padding" else 1
    if numbers.min() < lowest:
        raise BadInputError(name, f"its {what} is {numbers.tolist()}", f"give {lowest} or more")
    return int(numbers.flat[0]), int(numbers.flat[-1])


def _whole(name: str, what: str, value: Any, lowest: int = 1) -> int:
    number = np.asarray(value)
    if number.dtype.kind not in "iu" or number.size != 1 or number.flat[0] < lowest:
        raise BadInputError(name, f"its {what} is {value}", f"give a whole number, {lowest} or more")
    return int(number.flat[0])


def _floats(name: str, what: str, values: Any) -> Floats:
    numbers = np.asarray(values)
    if numbers.dtype.kind not in "iuf" or numbers.size == 0:
        found = f"its {what} is {numbers.dtype} of shape {numbers.shape}"
        raise BadInputError(name, found, "give numbers")
    return numbers.astype(np.float64)


def _text(value: Any) -> str | None:
    return value.decode() if isinstance(value, bytes) else value if isinstance(value, str) else None


def _hint(node: Any) -> str:
    match node:
        case nir.Conv1d():
            return "use a Conv2d of one row"
        case _:
            return "docs/front-ends.md lists what can be compiled"
