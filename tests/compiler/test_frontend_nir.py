"""NIR graphs become graphs with the difference equations of their nodes, and damaged or foreign files one sentence."""

from __future__ import annotations

import contextlib
import io as streams
import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from dtss.compiler.cli import main as compile_command
from dtss.compiler.frontend.options import ReadOptions
from dtss.compiler.frontend.source import read_source
from dtss.compiler.graph.ir import Add, Convolution, Integrator, Lif, Linear, SumPool
from dtss.compiler.schedule import io
from dtss.compiler.schedule.errors import EXIT_BAD_INPUT, EXIT_OK, EXIT_UNSUPPORTED, UserError
from dtss.compiler.schedule.interpret import interpret
from dtss.hwsim.cli import main as simulate
from tests.compiler.recording import RecordingModule
from tests.compiler.refusals import contents

nir = pytest.importorskip("nir", reason="make test installs it")
h5py = pytest.importorskip("h5py")

Floats = NDArray[np.float64]
Capture = pytest.CaptureFixture[str]
DT = 1e-4
STEPS = 6


def grid(*shape: int, low: int = -4, high: int = 5) -> Floats:
    """Multiples of 1/8, the same every time: with inputs of multiples of 1/4 every sum is exact."""
    return np.random.default_rng(sum(shape)).integers(low, high, shape) / 8.0


def images(*shape: int) -> Floats:
    return np.random.default_rng(9).integers(0, 8, shape) / 4.0


def full(value: float, *shape: int) -> Floats:
    return np.full(shape or (1,), value)


def chain(shape: tuple[int, ...], outputs: tuple[int, ...], *nodes: Any) -> Any:
    """input → nodes → output, the nodes named by their kind and number."""
    names = [f"{type(node).__name__.lower()}{index}" for index, node in enumerate(nodes)]
    every = {"input": nir.Input(np.array(shape)), **dict(zip(names, nodes, strict=True)),
             "output": nir.Output(np.array(outputs))}  # fmt: skip
    return nir.NIRGraph(every, list(itertools.pairwise(every)), type_check=False)


def read(graph: Any, folder: Path, **options: Any) -> Any:
    path = folder / "net.nir"
    nir.write(path, graph)
    return read_source(path, ReadOptions(**{"time_steps": STEPS, **options}))


def run(graph: Any, folder: Path, inputs: Floats, **options: Any) -> tuple[Floats, RecordingModule]:
    """Logits of each step [T, B, K] of the graph that was read, in doubles."""
    module = RecordingModule(read(graph, folder, **options).graph).double()
    first = module.graph.nodes[0].shape
    with torch.no_grad():
        _, per_step = module(torch.from_numpy(inputs).reshape(-1, first[2], first[0], first[1]))
    return per_step.numpy(), module


def convolve(inputs: Floats, weight: Floats, bias: Floats, padding: int = 0) -> Floats:
    image, kernel, shift = (torch.from_numpy(array) for array in (inputs, weight, bias))
    currents: Floats = nn.functional.conv2d(image, kernel, shift, padding=padding).numpy()
    return currents


# Every neuron against its equation, one Euler step of dt at a time


def neuron_steps(node: Any, currents: Floats, strict: bool = True) -> Floats:
    """What a NIR neuron emits [T, …] for the same current at every step: its docstring's equation, discretised."""
    kind = type(node).__name__
    rest = {"IF": "v_reset", "LIF": "v_leak", "CubaLIF": "v_leak"}.get(kind)
    voltage = np.zeros_like(currents) + (0 if rest is None else getattr(node, rest))
    synapse, spikes = np.zeros_like(currents), []
    for _ in range(STEPS):
        match kind:
            case "Threshold":
                voltage = currents
            case "IF":
                voltage = voltage + DT * node.r * currents
            case "LIF":
                voltage = voltage + DT / node.tau * (node.v_leak - voltage + node.r * currents)
            case _:
                synapse = synapse + DT / node.tau_syn * (node.w_in * currents - synapse)
                voltage = voltage + DT / node.tau_mem * (node.v_leak - voltage + node.r * synapse)
        threshold = node.threshold if kind == "Threshold" else node.v_threshold
        fired = voltage > threshold if strict else voltage >= threshold
        if kind != "Threshold":
            voltage = np.where(fired, node.v_reset, voltage)
        spikes.append(fired.astype(np.float64))
    return np.stack(spikes)


def of_channels(*values: float) -> Floats:
    """One number for each of four channels of 3×4 neurons."""
    return np.broadcast_to(np.array(values)[:, None, None], (4, 3, 4)).copy()


NEURONS: dict[str, Callable[[], Any]] = {
    "if": lambda: nir.IF(r=full(1 / DT), v_threshold=full(1), v_reset=full(0)),
    "if to 1/4": lambda: nir.IF(r=full(1 / DT), v_threshold=full(1.5), v_reset=full(0.25)),
    "lif": lambda: nir.LIF(tau=full(2 * DT), r=full(1), v_leak=full(0), v_threshold=full(0.5), v_reset=full(0)),
    "lif, whole input": lambda: nir.LIF(
        tau=full(4 * DT), r=full(4), v_leak=full(0), v_threshold=full(1), v_reset=full(0)
    ),
    "lif at rest elsewhere": lambda: nir.LIF(
        tau=full(2 * DT), r=full(2), v_leak=full(-0.5), v_threshold=full(0.75), v_reset=full(-0.25)
    ),
    "lif of one step": lambda: nir.LIF(tau=full(DT), r=full(1), v_leak=full(0), v_threshold=full(1), v_reset=full(0)),
    "cuba lif": lambda: nir.CubaLIF(
        tau_syn=full(2 * DT), tau_mem=full(2 * DT), r=full(2), v_leak=full(0), v_threshold=full(1), v_reset=full(0),
        w_in=full(2),
    ),
    "cuba lif at rest elsewhere": lambda: nir.CubaLIF(
        tau_syn=full(4 * DT), tau_mem=full(2 * DT), r=full(1), v_leak=full(0.25), v_threshold=full(0.5),
        v_reset=full(0.125), w_in=full(1),
    ),
    "cuba lif without memory in its synapse": lambda: nir.CubaLIF(
        tau_syn=full(DT), tau_mem=full(2 * DT), r=full(2), v_leak=full(0), v_threshold=full(1), v_reset=full(0),
        w_in=full(1),
    ),
    "threshold": lambda: nir.Threshold(full(0.5)),
    "threshold of each channel": lambda: nir.Threshold(of_channels(0.5, 1, 2, 4)),
    "if of each channel": lambda: nir.IF(
        r=of_channels(1, 2, 1, 0.5) / DT, v_threshold=of_channels(0.5, 1, 2, 4), v_reset=full(0, 4, 3, 4)
    ),
}  # fmt: skip


@pytest.mark.parametrize("fires", [">", ">="])
@pytest.mark.parametrize("kind", NEURONS)
def test_neuron_follows_its_equation_ties_included(kind: str, fires: str, tmp_path: Path) -> None:
    node, weight = NEURONS[kind](), grid(4, 2, 3, 3)
    graph = chain((2, 5, 6), (3,), nir.Conv2d((5, 6), weight, 1, 0, 1, 1, grid(4)), node, nir.Flatten((4, 3, 4), 0),
                  nir.Affine(grid(3, 48), grid(3)))  # fmt: skip
    inputs = images(8, 2, 5, 6)
    logits, module = run(graph, tmp_path, inputs, fires=fires)
    currents = convolve(inputs, weight, grid(4))
    expected = neuron_steps(node, currents, strict=fires == ">")
    assert 0 < expected.mean() < 1
    for step in range(STEPS):
        np.testing.assert_array_equal(module.spikes[f"{type(node).__name__.lower()}1"][step], expected[step])
    np.testing.assert_allclose(logits, expected.reshape(STEPS, 8, -1) @ grid(3, 48).T + grid(3), atol=1e-9)


INTEGRATORS: dict[str, tuple[Callable[[], Any], tuple[float, ...]]] = {
    "li": (lambda: nir.LI(tau=full(4 * DT), r=full(2), v_leak=full(0)), (0.75, 0.5)),
    "i": (lambda: nir.I(r=full(0.5 / DT)), (1.0, 0.5)),
    "cuba li": (
        lambda: nir.CubaLI(tau_syn=full(2 * DT), tau_mem=full(4 * DT), r=full(4), v_leak=full(0), w_in=full(1)),
        (0.75, 1.0, 0.5, 0.5),
    ),
}


@pytest.mark.parametrize("kind", INTEGRATORS)
def test_integrator_reads_out_its_membrane(kind: str, tmp_path: Path) -> None:
    make, (leak, gain, *synapse) = INTEGRATORS[kind]
    graph = chain((4,), (3,), nir.Linear(grid(3, 4)), make())
    inputs = images(5, 4)
    logits, _ = run(graph, tmp_path, inputs)
    current, state, membrane = inputs @ grid(3, 4).T, np.zeros((5, 3)), np.zeros((5, 3))
    for step in range(STEPS):
        state = synapse[0] * state + synapse[1] * current if synapse else current
        membrane = leak * membrane + gain * state
        np.testing.assert_allclose(logits[step], membrane, atol=1e-12)


def test_pools_scales_and_sums_of_edges(tmp_path: Path) -> None:
    """input → conv → IF ⇉ (sum pool, average pool · scale) → linear, where two edges meet and are added."""
    neuron = nir.IF(r=full(1 / DT), v_threshold=full(1), v_reset=full(0))
    nodes = {
        "input": nir.Input(np.array([2, 6, 6])), "conv": nir.Conv2d((6, 6), grid(3, 2, 3, 3), 1, "same", 1, 1, grid(3)),
        "if": neuron, "sum": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "average": nir.AvgPool2d(np.array([3, 3]), np.array([2, 2]), np.array([1, 1])),
        "scale": nir.Scale(np.broadcast_to(np.array([1, 2, 0.5])[:, None, None], (3, 3, 3))),
        "flatten": nir.Flatten((3, 3, 3), 0), "head": nir.Linear(grid(4, 27)), "output": nir.Output(np.array([4])),
    }  # fmt: skip
    edges = [("input", "conv"), ("conv", "if"), ("if", "sum"), ("if", "average"), ("average", "scale"),
             ("scale", "flatten"), ("sum", "flatten"), ("flatten", "head"), ("head", "output")]  # fmt: skip
    inputs = images(4, 2, 6, 6)
    with pytest.raises(UserError, match=r"^head: reads flatten.sum, a current: nothing fires between them"):
        read(nir.NIRGraph(nodes, edges, type_check=False), tmp_path)  # counts of different scales add as currents
    edges[-2:] = [("flatten", "last"), ("last", "head"), ("head", "output")]
    nodes["last"] = nir.Threshold(full(1.0))
    logits, module = run(nir.NIRGraph(nodes, edges, type_check=False), tmp_path, inputs)
    currents = convolve(inputs, grid(3, 2, 3, 3), grid(3), padding=1)
    for step, spikes in enumerate(torch.from_numpy(neuron_steps(neuron, currents))):
        added = 4 * nn.functional.avg_pool2d(spikes, 2)
        averaged = nn.functional.avg_pool2d(spikes, 3, 2, 1) * torch.tensor([1, 2, 0.5])[:, None, None]
        expected = ((added + averaged).flatten(1) > 1 + 1e-9).double().numpy() @ grid(4, 27).T
        np.testing.assert_allclose(logits[step], expected, atol=1e-9)
    kinds = [type(node.op) for node in module.graph.nodes]
    assert (kinds.count(SumPool), kinds.count(Add), kinds.count(Lif)) == (2, 1, 2)


def test_subgraphs_and_vectors_of_one_position(tmp_path: Path) -> None:
    inner = chain((4,), (4,), nir.Linear(grid(4, 4)), nir.IF(full(1 / DT, 4), full(1, 4), full(0, 4)))
    logits, module = run(chain((4,), (2,), inner, nir.Linear(grid(2, 4))), tmp_path, images(3, 4))
    assert [node.name for node in module.graph.nodes] == ["image", "nirgraph0.linear0", "nirgraph0.if1", "linear1"]
    assert logits.shape == (STEPS, 3, 2)


def test_parameters_of_single_precision_stand_for_round_numbers(tmp_path: Path) -> None:
    """float32(2e-4)/1e-4 is not 2, yet the leak is a half and a shift."""
    node = nir.LIF(**{name: np.full(4, value, np.float32) for name, value in
                      (("tau", 2 * DT), ("r", 2), ("v_leak", 0), ("v_threshold", 1), ("v_reset", 0))})  # fmt: skip
    graph = read(chain((4,), (4,), nir.Linear(grid(4, 4)), node), tmp_path).graph
    neuron = graph.node("lif1").op.neuron
    assert (neuron.leak, neuron.gain) == (0.5, 1.0)


# The frameworks themselves


def jelly_network() -> nn.Sequential:
    layer = pytest.importorskip("spikingjelly.activation_based.layer", reason="make test installs it")
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    network = nn.Sequential(
        layer.Conv2d(2, 4, 3, padding=1), neuron.LIFNode(tau=2.0, v_threshold=0.5), layer.AvgPool2d(2, 2),
        layer.Conv2d(4, 6, 2, bias=False), neuron.IFNode(), layer.Flatten(), layer.Linear(24, 5),
        neuron.LIFNode(tau=4.0, decay_input=False),
    )  # fmt: skip
    for parameter in network.parameters():
        parameter.data = torch.from_numpy(grid(*parameter.shape)).float()
    return network


def jelly_spikes(path: Path, inputs: torch.Tensor) -> dict[str, list[torch.Tensor]]:
    """What each neuron of SpikingJelly's own import emits."""
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    imported = import_from_nir(str(path), dt=DT)
    found: dict[str, list[torch.Tensor]] = {}
    for name, part in imported.named_modules():
        if hasattr(part, "module"):
            part.register_forward_hook(lambda _, __, out, name=name: found.setdefault(name, []).append(out[0]))
    state = None
    with torch.no_grad():
        for _ in range(STEPS):
            _, state = imported(inputs, state)
    return found


@pytest.mark.parametrize("kind", ["conv-lif", "conv-if", "deep"])
def test_spikes_equal_those_of_spiking_jellys_own_import(kind: str, tmp_path: Path) -> None:
    network = jelly_network()
    from spikingjelly.activation_based import neuron
    from spikingjelly.activation_based.nir_exchange import export_to_nir

    if kind != "deep":
        alone = neuron.LIFNode(tau=2.0, v_threshold=0.5) if kind == "conv-lif" else neuron.IFNode()
        network = nn.Sequential(network[0], alone, network[5], nn.Linear(4 * 36, 5))
        network[3].weight.data = torch.from_numpy(grid(5, 144)).float()
    inputs = torch.from_numpy(images(6, 2, 6, 6)).float()
    export_to_nir(network, inputs, tmp_path / "net.nir", dt=DT)
    graph = read_source(tmp_path / "net.nir", ReadOptions(time_steps=STEPS, fires=">=")).graph
    module = RecordingModule(graph)
    with torch.no_grad():
        module(inputs)
    expected = jelly_spikes(tmp_path / "net.nir", inputs)
    assert len(expected) == len(module.spikes) == (3 if kind == "deep" else 1)
    for name, steps in expected.items():
        rate = torch.stack(steps).mean()
        assert 0 < rate < 1, name
        for step, spikes in enumerate(steps):
            found = (
                module.spikes[name.replace("_", ".").removeprefix(".")]
                if name not in module.spikes
                else module.spikes[name]
            )
            np.testing.assert_array_equal(found[step].reshape(spikes.shape), spikes, f"{name} at step {step}")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_graph_of_snn_torch_fires_as_its_own_import(tmp_path: Path) -> None:
    snn = pytest.importorskip("snntorch", reason="make test installs it")
    from snntorch.export_nir import export_to_nir
    from snntorch.import_nir import import_from_nir

    network = nn.Sequential(
        nn.Linear(6, 8), snn.Leaky(torch.full((8,), 0.75), threshold=torch.ones(8), init_hidden=True), nn.Linear(8, 4),
        snn.Synaptic(torch.full((4,), 0.5), torch.full((4,), 0.5), threshold=torch.ones(4), init_hidden=True),
    )  # fmt: skip
    for part in network:
        if isinstance(part, nn.Linear):
            part.weight.data = torch.from_numpy(grid(*part.weight.shape)).float()
            part.bias.data = torch.from_numpy(grid(*part.bias.shape) + 0.25).float()
    inputs = torch.from_numpy(images(16, 6)).float()
    graph = export_to_nir(network, inputs[:1], ignore_dims=[0])
    nir.write(tmp_path / "snn.nir", graph)
    read_graph = read_source(tmp_path / "snn.nir", ReadOptions(time_steps=STEPS)).graph
    assert [type(node.op) for node in read_graph.nodes[1:]] == [Convolution, Lif, Linear, Integrator, Lif]
    with torch.no_grad():
        _, per_step = RecordingModule(read_graph)(inputs.reshape(16, 1, 1, 6))
        imported = import_from_nir(graph)
        state = None
        for step in range(STEPS):
            spikes, state = imported(inputs, state)
            np.testing.assert_array_equal(per_step[step], spikes[0] if isinstance(spikes, tuple) else spikes)
    assert 0 < per_step.mean() < 1


# Files that are not what they should be


def small() -> Any:
    return chain((2, 4, 4), (3,), nir.Conv2d((4, 4), grid(3, 2, 4, 4), 1, 0, 1, 1, grid(3)),
                 nir.IF(full(1 / DT, 3, 1, 1), full(1, 3, 1, 1), full(0, 3, 1, 1)),
                 nir.Flatten((3, 1, 1), 0))  # fmt: skip


def written(change: Callable[[Any], None]) -> Callable[[Path], None]:
    """A sound file, changed by hand."""

    def write(path: Path) -> None:
        nir.write(path, small())
        with h5py.File(path, "r+") as file:
            change(file)

    return write


def replace(file: Any, name: str, value: Any) -> None:
    del file[name]
    file[name] = value


def huge(file: Any) -> None:
    del file["node/nodes/conv2d0/weight"]
    file.create_dataset("node/nodes/conv2d0/weight", shape=(1 << 20, 1 << 20, 1, 1), chunks=(64, 64, 1, 1), dtype="f4")


def truncated(path: Path) -> None:
    nir.write(path, small())
    path.write_bytes(path.read_bytes()[:-700])


def nan(file: Any) -> None:
    file["node/nodes/conv2d0/weight"][0, 0, 0, 0] = np.nan


def of(graph: Callable[[], Any]) -> Callable[[Path], None]:
    return lambda path: nir.write(path, graph())


IF1 = "node/nodes/if1"
LIF = {"r": full(1), "v_leak": full(0), "v_threshold": full(1), "v_reset": full(0)}

BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "text": (
        lambda path: path.write_bytes(b"no graph\n") and None,
        "net.nir: is no HDF5 file, or a truncated one; give a graph that nir.write wrote",
    ),
    "truncated": (truncated, "net.nir: is no HDF5 file, or a truncated one; give a graph that nir.write wrote"),
    "missing": (lambda path: None, "net.nir: cannot be read (No such file or directory); check the path"),
    "folder": (
        lambda path: path.mkdir(),
        "net.nir: is no HDF5 file, or a truncated one; give a graph that nir.write wrote",
    ),
    "another hdf5": (
        lambda path: h5py.File(path, "w").close(),
        "net.nir: is an HDF5 file without a NIR graph; give a graph that nir.write wrote",
    ),
    "one node": (
        of(lambda: nir.Linear(grid(3, 3))),
        "net.nir: holds a single Linear; give a graph that nir.write wrote",
    ),
    "unknown node": (
        written(lambda file: replace(file, f"{IF1}/type", "Izhikevich")),
        "net.nir: if1: is a Izhikevich, which NIR does not have; export it with nir 1.0",
    ),
    "a function as a node": (
        written(lambda file: replace(file, f"{IF1}/type", "dict2NIRNode")),
        "net.nir: if1: is a dict2NIRNode, which NIR does not have; export it with nir 1.0",
    ),
    "no type": (
        written(lambda file: file.__delitem__(f"{IF1}/type")),
        "net.nir: if1: has no type; give a graph that nir.write wrote",
    ),
    "parameter missing": (
        written(lambda file: file.__delitem__(f"{IF1}/r")),
        (
            "net.nir: if1: is no sound IF (TypeError: IF.__init__() missing 1 required positional argument: 'r'); "
            "give a graph that nir.write wrote"
        ),
    ),
    "absurd size": (
        written(huge),
        "net.nir: node/nodes/conv2d0/weight: claims 1099511627797 numbers; a graph has at most 268435456",
    ),
    "link to a file": (
        written(lambda file: replace(file, f"{IF1}/r", h5py.ExternalLink("/etc/passwd", "/"))),
        "net.nir: node/nodes/if1/r: is a link; give one whole file",
    ),
    "links in a circle": (
        written(lambda file: file.__setitem__("node/nodes/again", file["node"])),
        "net.nir: node/nodes/again: is a link; give one whole file",
    ),
    "nan": (
        written(nan),
        "conv2d0: 1 of the 96 numbers of its weight are NaN or infinite; repair or retrain the model",
    ),
    "infinite threshold": (
        written(lambda file: replace(file, f"{IF1}/v_threshold", full(np.inf, 3, 1, 1))),
        "if1: 3 of the 3 numbers of its v_threshold are NaN or infinite; repair or retrain the model",
    ),
    "time constant of 0": (
        of(lambda: chain((3,), (3,), nir.Linear(grid(3, 3)), nir.LIF(tau=full(0), **LIF))),
        "lif1: its tau is 0; time constants are positive",
    ),
    "an edge to nowhere": (
        of(lambda: nir.NIRGraph(small().nodes, [*small().edges, ("if1", "ghost")], type_check=False)),
        "net.nir: an edge names ghost, and no node has that name; repair the graph",
    ),
    "nothing connected": (
        of(lambda: nir.NIRGraph(small().nodes, [], type_check=False)),
        "net.nir: no edges lead from input to output; repair the graph",
    ),
    "a loose end": (
        of(
            lambda: nir.NIRGraph(
                {**small().nodes, "loose": nir.Linear(grid(3, 3))},
                [*small().edges, ("loose", "flatten2")],
                type_check=False,
            )
        ),
        "loose: nothing leads to it; connect it, or leave it out",
    ),
    "weights of another size": (
        of(lambda: chain((4,), (3,), nir.Linear(grid(3, 5)))),
        "linear0: its weight is 3×5 and image has 4 values; fix the model",
    ),
    "groups that do not divide": (
        written(lambda file: replace(file, "node/nodes/conv2d0/groups", 2)),
        "conv2d0: its 2 groups read 2 channels each, and image has 2; fix the model",
    ),
    "an image of a billion rows": (
        of(lambda: chain((1, 10**9, 4), (3,), nir.Conv2d((10**9, 4), grid(3, 1, 4, 4), 1, 0, 1, 1, grid(3)))),
        "input: its shape is 1×1000000000×4; sizes are 1 to 1048576",
    ),
    "negative stride": (
        written(lambda file: replace(file, "node/nodes/conv2d0/stride", np.array([-1, -1]))),
        "conv2d0: its stride is [-1, -1]; give 1 or more",
    ),
    "stride of 0": (
        written(lambda file: replace(file, "node/nodes/conv2d0/stride", np.array([0, 0]))),
        (
            "net.nir: conv2d0: is no sound Conv2d (ValueError: cannot convert float NaN to integer); "
            "give a graph that nir.write wrote"
        ),
    ),
}


def refused(path: Path, *options: str) -> tuple[int, str]:
    """Exit code and standard error of dtss-compile, which writes nothing."""
    error = streams.StringIO()
    (path.parent / "out.json").write_text("of an earlier run")
    before = contents(path.parent)
    with contextlib.redirect_stderr(error):
        code = compile_command([str(path), "-o", str(path.parent / "out.json"), *options])
    assert contents(path.parent) == before
    return code, error.getvalue().replace(f"{path.parent}/", "")


@pytest.mark.parametrize("kind", BAD)
def test_damaged_file_is_refused_in_one_sentence(kind: str, tmp_path: Path) -> None:
    write, message = BAD[kind]
    write(tmp_path / "net.nir")
    assert refused(tmp_path / "net.nir", "--time-steps", "4") == (EXIT_BAD_INPUT, f"dtss-compile: error: {message}\n")


def recurrent() -> Any:
    graph = chain((3,), (3,), nir.Linear(grid(3, 3)), nir.IF(full(1 / DT, 3), full(1, 3), full(0, 3)))
    graph.nodes["back"] = nir.Linear(grid(3, 3))
    graph.edges += [("if1", "back"), ("back", "if1")]
    return graph


UNSUPPORTED: dict[str, tuple[Callable[[], Any], str]] = {
    "recurrent": (recurrent, "back → if1: the graph is recurrent; only neurons may feed back in time"),
    "delay": (
        lambda: chain((3,), (3,), nir.Linear(grid(3, 3)), nir.Delay(full(1, 3))),
        "delay1: is a Delay node; docs/front-ends.md lists what can be compiled",
    ),
    "conv1d": (
        lambda: chain((2, 1, 8), (3,), nir.Conv1d(8, grid(3, 2, 8), 1, 0, 1, 1, grid(3))),
        "conv1d0: is a Conv1d node; use a Conv2d of one row",
    ),
    "a step that is too long": (
        lambda: chain((3,), (3,), nir.Linear(grid(3, 3)), nir.LIF(tau=full(DT / 2), **LIF)),
        "lif1: in steps of 0.0001 s its state keeps -1 of itself; give a --dt that is at most its time constants",
    ),
    "a leak for each neuron": (
        lambda: chain(
            (3,),
            (3,),
            nir.Linear(grid(3, 3)),
            nir.LIF(
                **{name: np.broadcast_to(value, (3,)) for name, value in LIF.items()}, tau=np.array([1, 2, 4]) * DT
            ),
        ),
        "lif1: its gain and leak differs between neurons; give all neurons of a layer one leak, and a reset to rest",
    ),
    "a threshold for each position": (
        lambda: chain(
            (2, 4, 4),
            (3,),
            nir.Conv2d((4, 4), grid(3, 2, 3, 3), 1, 0, 1, 1, grid(3)),
            nir.Threshold(np.arange(1, 13).reshape(3, 2, 2) / 4),
            nir.Flatten((3, 2, 2), 0),
            nir.Linear(grid(3, 12)),
        ),
        "threshold1: its threshold differs between neurons of one channel; give all neurons of a channel the same",
    ),
    "a readout at rest elsewhere": (
        lambda: chain((3,), (3,), nir.Linear(grid(3, 3)), nir.LI(tau=full(2 * DT), r=full(1), v_leak=full(1))),
        "li1: it rests at a v_leak other than 0; move it into the bias before it",
    ),
    "two inputs": (
        lambda: nir.NIRGraph(
            {**small().nodes, "more": nir.Input(np.array([3]))},
            [*small().edges, ("more", "flatten2")],
            type_check=False,
        ),
        "net.nir: has 2 Input nodes; give one input and one output",
    ),
    "an input of two axes": (
        lambda: chain((4, 4), (3,), nir.Flatten((4, 4), 0), nir.Linear(grid(3, 16))),
        "input: its shape is 4×4; give channels × height × width, or the number of features",
    ),
    "two layers in a row": (
        lambda: chain((2, 4, 4), (3,), *(nir.Conv2d((4, 4), grid(2, 2, 2, 2), 1, 0, 1, 1, grid(2)) for _ in "ab")),
        "conv2d1: reads conv2d0, a current: nothing fires between them; put a LIF or IF neuron between the two layers",
    ),
    "half a flattening": (
        lambda: chain((2, 4, 4), (8, 4), nir.Flatten((2, 4, 4), 0, 1)),
        "flatten0: flattens axes 0 to 1; flatten the whole image",
    ),
    "an image at the end": (
        lambda: chain((2, 4, 4), (3, 2, 2), nir.Conv2d((4, 4), grid(3, 2, 3, 3), 1, 0, 1, 1, grid(3))),
        "output: the network ends in 3×2×2 values at 4 positions; end it with one value for each class",
    ),
    "a window larger than the image": (
        lambda: chain((2, 4, 4), (3,), nir.Conv2d((4, 4), grid(3, 2, 5, 5), 1, 0, 1, 1, grid(3))),
        "conv2d0: its window does not fit the 4×4 positions of image; give larger images",
    ),
    "a kernel of zeros without end": (
        lambda: chain((2, 4, 4), (3,), nir.Conv2d((4, 4), grid(3, 2, 2, 2), 1, 0, 10**6, 1, grid(3))),
        (
            "conv2d0: with zeros filled in its kernel would be 3×2×1000001×1000001; "
            "use fewer groups or less dilation and padding"
        ),
    ),
    "a border without end": (
        lambda: chain((2, 4, 4), (3,), nir.Conv2d((4, 4), grid(3, 2, 2, 2), 1, 10**9, 1, 1, grid(3))),
        "conv2d0: its result would be 2000000003×2000000003×3; sizes are 1 to 1048576",
    ),
}


@pytest.mark.parametrize("kind", UNSUPPORTED)
def test_what_cannot_be_compiled_is_refused_by_the_name_of_its_node(kind: str, tmp_path: Path) -> None:
    graph, message = UNSUPPORTED[kind]
    nir.write(tmp_path / "net.nir", graph())
    assert refused(tmp_path / "net.nir", "--time-steps", "4") == (EXIT_UNSUPPORTED, f"dtss-compile: error: {message}\n")


OPTIONS: dict[str, tuple[list[str], str]] = {
    "no T": ([], "net.nir: a NIR graph does not say how many time steps to run; give --time-steps T"),
    "too many": (["--time-steps", "100000"], "--time-steps: found 100000; give 1 to 64"),
    "no time": (["--time-steps", "4", "--dt", "0"], "--dt: found 0; give the seconds of a time step, more than 0"),
    "no number": (
        ["--time-steps", "4", "--dt", "nan"],
        "--dt: found nan; give the seconds of a time step, more than 0",
    ),
    "means of other channels": (
        ["--time-steps", "4", "--mean", "1,2,3"],
        "--mean: found 1,2,3; give one finite number, or one for each of the 2 channels",
    ),
    "deviation of 0": (["--time-steps", "4", "--std", "0"], "--std: found 0; give numbers above 0"),
    "scale of 0": (
        ["--time-steps", "4", "--pixel-scale", "0"],
        "--pixel-scale: found 0; give a number above 0, such as 0.00392157 for 1/255",
    ),
}


@pytest.mark.parametrize("kind", OPTIONS)
def test_options_are_checked(kind: str, tmp_path: Path) -> None:
    options, message = OPTIONS[kind]
    nir.write(tmp_path / "net.nir", small())
    assert refused(tmp_path / "net.nir", *options) == (EXIT_BAD_INPUT, f"dtss-compile: error: {message}\n")


def test_options_of_other_forms_are_refused(small_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^--dt: .*small.pt is no NIR graph; leave it out$"):
        read_source(small_checkpoint, ReadOptions(dt=1e-3))
    with pytest.raises(UserError, match=r"^--heads: .*net.nir is a NIR graph; leave it out$"):
        read(small(), tmp_path, heads=4)


def test_linear_layers_in_a_row_become_one(tmp_path: Path) -> None:
    nir.write(tmp_path / "net.nir", chain((4,), (3,), nir.Linear(grid(5, 4)), nir.Affine(grid(3, 5), grid(3))))
    out = tmp_path / "out.json"
    assert compile_command([str(tmp_path / "net.nir"), "-o", str(out), "--time-steps", "2", "--quiet"]) == EXIT_OK
    assert len(io.load(out).schedule.products) == 1


ANYTHING = st.one_of(
    st.sampled_from([b"Linear", b"NIRGraph", b"same", b"", 0, -1, 1.5, np.nan, 2**62]),
    st.builds(
        lambda shape, kind, value: np.full(shape, value).astype(kind),
        st.lists(st.integers(0, 4), max_size=5).map(tuple),
        st.sampled_from(["i8", "f4", "f8", "?"]),
        st.sampled_from([0, 1, -1, 2, 3, 1000]),
    ),
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_content_ends_in_a_bug(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """A sound file whose numbers are replaced by anything is read, or is bad input, or unsupported."""
    path = tmp_path_factory.mktemp("fuzz") / "net.nir"
    nir.write(path, data.draw(st.sampled_from(EVERYTHING))())
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        for name in data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True)):
            if name in file:
                replace(file, name, data.draw(ANYTHING))
    with contextlib.suppress(UserError):
        read_source(path, ReadOptions(time_steps=2))


def every_neuron() -> Any:
    parameters = {name: full(value, 3) for name, value in (("r", 1), ("v_leak", 0), ("v_threshold", 1), ("v_reset", 0))}
    return chain((2, 4, 4), (3,), nir.Conv2d((4, 4), grid(3, 2, 3, 3), 1, "same", 1, 1, grid(3)),
                 nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
                 nir.Threshold(full(1)), nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
                 nir.Scale(full(0.5, 3, 1, 1)), nir.Flatten((3, 1, 1), 0), nir.Affine(grid(3, 3), grid(3)),
                 nir.LIF(tau=full(2 * DT, 3), **parameters), nir.Linear(grid(3, 3)),
                 nir.CubaLIF(tau_mem=full(2 * DT, 3), tau_syn=full(2 * DT, 3), w_in=full(1, 3), **parameters),
                 nir.Linear(grid(3, 3)), nir.LI(tau=full(2 * DT, 3), r=full(1, 3), v_leak=full(0, 3)))  # fmt: skip


EVERYTHING = (small, every_neuron)


# End to end


def test_command_compiles_and_the_simulator_runs_given_images(tmp_path: Path, capsys: Capture) -> None:
    nir.write(tmp_path / "net.nir", small())
    out = tmp_path / "net.json"
    options = [
        "--time-steps",
        "4",
        "--fires",
        ">=",
        "--pixel-scale",
        "0.0625",
        "--mean",
        "0.25",
        "--std",
        "0.5,2",
        "--json",
    ]
    assert compile_command([str(tmp_path / "net.nir"), "-o", str(out), *options]) == EXIT_OK
    answer = capsys.readouterr()
    assert json.loads(answer.out)["network"] == "net"
    assert answer.err == ""
    pixels = np.random.default_rng(1).integers(0, 17, (5, 4, 4, 2)).astype(np.uint8)
    np.save(tmp_path / "images.npy", pixels)
    assert (
        simulate([str(out), "--images", str(tmp_path / "images.npy"), "--outputs", str(tmp_path / "logits.npz")])
        == EXIT_OK
    )
    loaded = io.load(out)
    assert loaded.schedule.preprocess.std == (0.5, 2.0)
    golden = interpret(loaded.schedule, loaded.tensors, pixels.astype(np.int64))
    found = np.load(tmp_path / "logits.npz")
    np.testing.assert_array_equal(found["logits_per_step"], golden.logits)
    assert simulate([str(out)]) == EXIT_BAD_INPUT
    assert "no images are stored with this schedule; give some with --images FILE" in capsys.readouterr().err


def test_lowering_that_costs_is_said(tmp_path: Path, capsys: Capture) -> None:
    graph = chain((2, 4, 4), (4,), nir.Conv2d((4, 4), grid(4, 1, 4, 4), 1, 0, 1, 2, grid(4)), nir.Threshold(full(1)),
                  nir.Threshold(full(0.5)), nir.Flatten((4, 1, 1), 0))  # fmt: skip
    nir.write(tmp_path / "net.nir", graph)
    options = ["-o", str(tmp_path / "out.json"), "--time-steps", "2"]
    assert compile_command([str(tmp_path / "net.nir"), *options]) == EXIT_OK
    noted = [line.removeprefix("source").strip() for line in capsys.readouterr().out.splitlines() if "source" in line]
    assert noted == [
        "NIR in steps of 0.0001 s, with a spike where v > threshold",
        (
            "conv2d0: groups, dilation or unequal padding become zeros in its kernel, which is 2 times as large; "
            "the machine streams them all"
        ),
        "threshold2.input: threshold1 is no current; an identity of 4×4 makes it one",
    ]


def test_calibration_and_check_run_on_given_images(tmp_path: Path, capsys: Capture) -> None:
    nir.write(tmp_path / "net.nir", small())
    np.save(tmp_path / "images.npy", np.random.default_rng(1).integers(0, 256, (16, 4, 4, 2)).astype(np.uint8))
    options = ["-o", str(tmp_path / "out.json"), "--time-steps", "4", "--calibration", str(tmp_path / "images.npy")]
    assert compile_command([str(tmp_path / "net.nir"), *options, "--check", "--json"]) == EXIT_OK
    answer = json.loads(capsys.readouterr().out)
    assert answer["stored_images"] == 4
    assert answer["check"]["images"] == 4


def test_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nir.write(tmp_path / "net.nir", small())
    for name in ("nir", "nir_file"):
        monkeypatch.delitem(sys.modules, f"dtss.compiler.frontend.{name}", raising=False)
        monkeypatch.delattr(f"dtss.compiler.frontend.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "nir", None)
    code, message = refused(tmp_path / "net.nir", "--time-steps", "4")
    assert (code, message) == (
        EXIT_BAD_INPUT,
        "dtss-compile: error: net.nir: reading NIR needs the package nir; install it with: pip install 'dtss[nir]'\n",
    )
