"""NIR graphs (neuroir.org), written by snnTorch, Norse, Sinabs, Rockpool, SpikingJelly or Lava.

NIR states neurons as differential equations; a step of dt is one forward Euler step, as in SpikingJelly, snnTorch and
Norse. `docs/front-ends.md` has the equation of every node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import networkx as nx
import nir
import numpy as np
from numpy.typing import NDArray

from dtss.compiler.errors import CompileError
from dtss.compiler.frontend.layers import Floats, Layers, Pair, Signal, refuse_not_finite
from dtss.compiler.graph.ir import FloatNeuron, Graph
from dtss.compiler.schedule.errors import BadInputError
from dtss.compiler.schedule.format import Preprocess

Comparison = Literal[">", ">="]
LARGEST_FILE_VALUES = 1 << 28  # numbers in all arrays of a file together: two gigabytes of doubles
LARGEST_DEPTH = 32


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
    nodes, edges = _inline(read_file(path))
    return _GraphReader(str(path), nodes, edges, steps).read(path.stem, preprocess)


# The file


def read_file(path: Path) -> nir.NIRGraph:
    """The graph as NIR's own package reads it, after a look at what the file claims to hold."""
    hint = "give a graph that nir.write wrote"
    try:
        with h5py.File(path, "r") as file:
            if "node" not in file:
                raise BadInputError(str(path), "is an HDF5 file without a NIR graph", hint)
            _refuse_hostile(str(path), file)
        graph = nir.read(path, type_check=False)
    except FileNotFoundError:
        raise BadInputError(str(path), "cannot be read (No such file or directory)", "check the path") from None
    except OSError:
        raise BadInputError(str(path), "is no HDF5 file, or a truncated one", hint) from None
    except (KeyError, ValueError, TypeError, AttributeError, AssertionError, RecursionError,
            IndexError, RuntimeError, MemoryError) as error:  # fmt: skip
        raise BadInputError(str(path), f"is no readable NIR graph ({_reason(error)})", hint) from None
    if not isinstance(graph, nir.NIRGraph):
        raise BadInputError(str(path), f"holds a single {type(graph).__name__}", hint)
    return graph


def _refuse_hostile(where: str, file: h5py.File) -> None:
    """Before anything is loaded: links that leave the file, types that NIR does not have, and absurd sizes."""
    values = 0
    for name, item in _items(where, file, "", 0):
        if isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual:
                raise BadInputError(f"{where}: {name}", "keeps its numbers in another file", "give one whole file")
            values += int(np.prod(item.shape, dtype=object))
            if values > LARGEST_FILE_VALUES:
                found = f"claims {values} numbers"
                raise BadInputError(f"{where}: {name}", found, f"a graph has at most {LARGEST_FILE_VALUES}")
            if name.endswith("/type"):
                _refuse_unknown(where, name, item)


def _items(where: str, group: h5py.Group, name: str, depth: int) -> Iterator[tuple[str, Any]]:
    if depth > LARGEST_DEPTH:
        raise BadInputError(
            f"{where}: {name}", "is nested too deeply for a NIR graph", "give a graph that nir.write wrote"
        )
    for key in group:
        full = f"{name}/{key}".lstrip("/")
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            raise BadInputError(f"{where}: {full}", "is a link", "give one whole file")
        yield full, group[key]
        if isinstance(group[key], h5py.Group):
            yield from _items(where, group[key], full, depth + 1)


def _refuse_unknown(where: str, name: str, item: h5py.Dataset) -> None:
    kind = item[()]
    text = kind.decode(errors="replace") if isinstance(kind, bytes) else str(kind)
    if not (text in nir.ir.__all__ and text != "NIRNode" and isinstance(getattr(nir, text), type)):
        node = "/".join(part for part in name.split("/")[:-1] if part not in ("node", "nodes")) or "the graph"
        raise BadInputError(f"{where}: {node}", f"is a {text}, which NIR does not have", "export it with nir 1.0")


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:120]}" if text else type(error).__name__


def _inline(graph: nir.NIRGraph, prefix: str = "") -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Nodes and edges with every subgraph's own put in its place; its input and output pass values on."""
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []
    ports: dict[str, tuple[str, str]] = {}
    for key, node in graph.nodes.items():
        name = prefix + key
        if isinstance(node, nir.NIRGraph):
            inner_nodes, inner_edges = _inline(node, f"{name}.")
            entry, leave = (_only_port(name, inner_nodes, kind, f"{name}.") for kind in (nir.Input, nir.Output))
            ports[key] = (entry, leave)
            nodes |= inner_nodes
            edges += inner_edges
        else:
            nodes[name] = node
            ports[key] = (name, name)
    for source, target in graph.edges:
        for end in (source, target):
            if end not in ports:
                found = f"an edge names {end}, and no node has that name"
                raise BadInputError(prefix.rstrip(".") or "edges", found, "repair the graph")
        edges.append((ports[source][1], ports[target][0]))
    return nodes, edges


def _only_port(where: str, nodes: dict[str, Any], kind: type, prefix: str) -> str:
    """The one input or output of a graph itself, not of the graphs in it."""
    names = [name for name, node in nodes.items()
             if isinstance(node, kind) and "." not in name.removeprefix(prefix)]  # fmt: skip
    if len(names) != 1:
        found = f"has {len(names)} {kind.__name__} nodes"
        raise CompileError(where, found, "give a graph with one input and one output")
    return names[0]


# The graph


class _GraphReader:
    """Lowers the nodes in the order of their edges. Edges that meet in a node are added."""

    def __init__(self, where: str, nodes: dict[str, Any], edges: list[tuple[str, str]], steps: Discretisation) -> None:
        self.where, self.nodes, self.steps = where, nodes, steps
        self.sources = {name: [source for source, target in edges if target == name] for name in nodes}
        self.digraph = nx.DiGraph(edges)
        self.digraph.add_nodes_from(nodes)

    def read(self, network: str, preprocess: Callable[[int], Preprocess]) -> tuple[Graph, tuple[str, ...]]:
        entry, leave = (_only_port(self.where, self.nodes, kind, "") for kind in (nir.Input, nir.Output))
        order = self._order(entry, leave)
        shape = _shape_of(entry, self.nodes[entry].input_type)
        channels = shape[0] if len(shape) == 3 else 1
        self.layers = Layers(network, self.steps.time_steps, preprocess(channels))
        signals = {entry: self.layers.image(entry, shape)}
        for name in order:
            if name != entry:
                signals[name] = self._lower(name, self.nodes[name], self._input(name, signals))
        return self.layers.finish(leave, signals[leave]), tuple(self.layers.notes)

    def _order(self, entry: str, leave: str) -> list[str]:
        """The nodes between input and output; what leads to neither is left out."""
        needed = {leave, *nx.ancestors(self.digraph, leave)}
        if entry not in needed:
            raise BadInputError(self.where, f"no edges lead from {entry} to {leave}", "repair the graph")
        for name in needed:
            if name != entry and not self.sources[name]:
                raise BadInputError(name, "nothing leads to it", "connect it, or leave it out")
        part = self.digraph.subgraph(needed)
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
                return layers.linear(fresh, self._vector(source), _floats(node.weight), None)
            case nir.Affine():
                return layers.linear(fresh, self._vector(source), _floats(node.weight), _floats(node.bias))
            case nir.Scale():
                return layers.scale(fresh, self._as(node.scale, source), _floats(node.scale))
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
        weight = _floats(node.weight)
        stride, dilation = (_pair(name, what, getattr(node, what)) for what in ("stride", "dilation"))
        if min(*stride, *dilation) < 1:
            raise BadInputError(name, f"its stride is {stride} and its dilation {dilation}", "give positive numbers")
        if weight.ndim != 4:
            raise BadInputError(name, f"its weight has {weight.ndim} axes", "give [O, C, rows, columns]")
        sizes = [gap * (taps - 1) for gap, taps in zip(dilation, weight.shape[2:], strict=True)]
        if _text(node.padding) == "same":
            first, last = ((size // 2, size - size // 2) for size in sizes)
        else:
            rows, columns = (0, 0) if _text(node.padding) == "valid" else _pair(name, "padding", node.padding)
            first, last = (rows, rows), (columns, columns)
        return self.layers.convolution(
            name, source, weight, None if node.bias is None else _floats(node.bias), stride=stride,
            padding=(first, last), dilation=dilation, groups=int(node.groups),
        )  # fmt: skip

    def _flatten(self, name: str, node: Any, source: Signal) -> Signal:
        """Of [C, H, W]; exporters that count the batch as an axis of their own start at 1."""
        axes = len(self.layers.shape(source))
        start, end = int(node.start_dim), int(node.end_dim)
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
    values = np.atleast_1d(_floats(getattr(node, field)))
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
    return tuple(int(size) for size in np.atleast_1d(sizes))


def _pair(name: str, what: str, value: Any) -> Pair:
    numbers = np.atleast_1d(np.asarray(value))
    if numbers.dtype.kind not in "iu" or numbers.size not in (1, 2):
        raise BadInputError(name, f"its {what} is {value}", "give one or two whole numbers")
    if numbers.min() < 0:
        raise BadInputError(name, f"its {what} is {numbers.tolist()}", "give no negative numbers")
    return int(numbers.flat[0]), int(numbers.flat[-1])


def _floats(values: Any) -> Floats:
    return np.asarray(values, np.float64)


def _text(value: Any) -> str | None:
    return value.decode() if isinstance(value, bytes) else value if isinstance(value, str) else None


def _hint(node: Any) -> str:
    match node:
        case nir.Conv1d():
            return "use a Conv2d of one row"
        case _:
            return "docs/front-ends.md lists what can be compiled"
