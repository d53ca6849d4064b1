"""Torch modules become graphs that emit their spikes, ties included, and what cannot become one is refused by name."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import dtss.compiler
from dtss.compiler.frontend.torch_module import ReadModule, read_module
from dtss.compiler.frontend.torch_neurons import is_neuron, reset_states
from dtss.compiler.graph.ir import Add, Convolution, Lif, Linear, SumPool, TokenSum
from dtss.compiler.pipeline import Compiled
from dtss.compiler.schedule import io
from dtss.compiler.schedule.errors import EXIT_BAD_INPUT, EXIT_UNSUPPORTED, UserError
from dtss.compiler.schedule.format import Preprocess
from dtss.compiler.schedule.interpret import interpret
from dtss.hwsim.cli import main as simulate
from dtss.hwsim.execute import execute
from dtss.models.neurons import NeuronSpec
from dtss.models.time_step_mask import MaskedLif, TimeStepMask
from tests.compiler.recording import RecordingModule

STEPS = 5

jelly = pytest.importorskip("spikingjelly.activation_based.neuron", reason="make test installs it")
layer = pytest.importorskip("spikingjelly.activation_based.layer")
step_mode = pytest.importorskip("spikingjelly.activation_based.functional").set_step_mode
snntorch = pytest.importorskip("snntorch", reason="make test installs it")


def on_a_grid(module: nn.Module, seed: int = 0) -> nn.Module:
    """Weights of multiples of 1/8: with inputs of multiples of 1/4 every sum is exact, and ties are common."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        if parameter.ndim:
            parameter.data = torch.randint(-4, 5, parameter.shape, generator=generator) / 8.0
    return module


def busy_norms(module: nn.Module) -> nn.Module:
    """Norms and biases as training might leave them, so that neurons fire."""
    torch.manual_seed(1)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d | nn.BatchNorm1d):
            part.running_mean.normal_(0.0, 0.1)  # type: ignore[union-attr]  # tracked by default
            part.running_var.uniform_(0.05, 0.3)  # type: ignore[union-attr]  # as above
            part.weight.data.uniform_(0.5, 1.5)
            part.bias.data.uniform_(0.0, 1.0)
        if isinstance(part, nn.Linear):
            part.weight.data *= 4.0
    return module


def grid_images(*shape: int) -> Tensor:
    return torch.randint(0, 8, shape, generator=torch.Generator().manual_seed(5)) / 4.0


def spikes_of(module: nn.Module, images: Tensor, timed: bool) -> dict[str, Tensor]:
    """What each neuron of a module emits: [T, B, …]."""
    found: dict[str, list[Tensor]] = {}
    names = {part: name for name, part in module.named_modules() if is_neuron(part)}
    hooks = [
        part.register_forward_hook(
            lambda part, _, out: found.setdefault(names[part], []).append(out[0] if isinstance(out, tuple) else out)
        )
        for part in names
    ]
    training = module.training
    reset_states(module.eval())
    with torch.no_grad():
        for _ in range(1 if timed else STEPS):
            module(images.expand(STEPS, *images.shape) if timed else images)
    reset_states(module.train(training))
    for hook in hooks:
        hook.remove()
    return {name: spikes[0] if timed else torch.stack(spikes) for name, spikes in found.items()}


def assert_same_spikes(module: nn.Module, images: Tensor, timed: bool = False) -> ReadModule:
    """Every neuron of the graph emits what the module's own emits."""
    example = images.expand(STEPS, *images.shape) if timed else images
    read = read_module(module, example, time_steps=STEPS)
    assert not [note for note in read.notes if "differ" in note]
    recorder = RecordingModule(read.graph).to(images.dtype)
    channels = read.graph.nodes[0].shape[2]
    with torch.no_grad():
        logits, _ = recorder(images.reshape(len(images), channels, *read.graph.nodes[0].shape[:2]))
    torch.testing.assert_close(logits, read.runner.mean_logits(module, images), check_dtype=False)
    expected = spikes_of(module, images, timed)
    assert set(recorder.spikes) == set(expected)
    for name, spikes in expected.items():
        assert 0 < (spikes > 0).double().mean() < 1, name
        for step in range(STEPS):
            found = recorder.spikes[name].get(step)
            values = torch.zeros_like(spikes[step]) if found is None else found.reshape(spikes[step].shape)
            np.testing.assert_array_equal(values, spikes[step] > 0, f"{name} at step {step}")
    return read


JELLY_NEURONS: dict[str, Callable[[], nn.Module]] = {
    "if": jelly.IFNode,
    "if soft": lambda: jelly.IFNode(v_reset=None),
    "if to -1/2": lambda: jelly.IFNode(v_reset=-0.5),
    "lif": lambda: jelly.LIFNode(tau=2.0),
    "lif soft": lambda: jelly.LIFNode(tau=2.0, v_reset=None),
    "lif to 1/4": lambda: jelly.LIFNode(tau=4.0, v_reset=0.25),
    "lif whole input": lambda: jelly.LIFNode(tau=2.0, decay_input=False, v_threshold=1.5),
    "lif whole input soft to rest": lambda: jelly.LIFNode(tau=4.0, decay_input=False, v_reset=None),
    "parametric lif": lambda: jelly.ParametricLIFNode(init_tau=2.0),
}
SNN_NEURONS: dict[str, Callable[[], nn.Module]] = {
    "leaky": lambda: snntorch.Leaky(beta=0.5, init_hidden=True),
    "leaky slow": lambda: snntorch.Leaky(beta=0.75, threshold=0.5, init_hidden=True),
    "leaky zero": lambda: snntorch.Leaky(beta=0.5, reset_mechanism="zero", init_hidden=True),
    "leaky at once": lambda: snntorch.Leaky(beta=0.5, reset_mechanism="zero", reset_delay=False, init_hidden=True),
    "leaky high": lambda: snntorch.Leaky(beta=0.5, graded_spikes_factor=2.0, init_hidden=True),
}


def small_network(neuron: Callable[[], nn.Module]) -> nn.Module:
    """Twelve thousand chances for a tie at the threshold."""
    return nn.Sequential(nn.Conv2d(2, 6, 3), neuron(), nn.Flatten(), nn.Linear(6 * 3 * 4, 9), neuron(), nn.Linear(9, 3))


@pytest.mark.parametrize("kind", [*JELLY_NEURONS, *SNN_NEURONS])
def test_neuron_fires_as_its_framework_does_ties_included(kind: str) -> None:
    network = on_a_grid(small_network({**JELLY_NEURONS, **SNN_NEURONS}[kind]))
    assert_same_spikes(network, grid_images(16, 2, 5, 6))


def test_ties_are_common_and_one_side_of_them_is_another_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check above can fail: > for >= is found out."""
    from dtss.compiler.frontend import torch_recorder
    from dtss.compiler.frontend.torch_neurons import ReadNeuron, read_neuron

    def strict(name: str, module: nn.Module) -> ReadNeuron:
        import dataclasses

        read = read_neuron(name, module)
        return dataclasses.replace(read, neuron=dataclasses.replace(read.neuron, comparison=">"))

    monkeypatch.setattr(torch_recorder, "read_neuron", strict)
    network, images = on_a_grid(small_network(jelly.IFNode)), grid_images(16, 2, 5, 6)
    assert any("logits differ" in note for note in read_module(network, images, time_steps=STEPS).notes)
    with pytest.raises(AssertionError):
        assert_same_spikes(network, images)


def test_our_neurons_keep_their_masks() -> None:
    spec = NeuronSpec(leak=0.5, gain=1.0, threshold=0.75, comparison=">", reset="soft")
    mask = TimeStepMask(STEPS, 3)
    network = nn.Sequential(layer.Conv2d(2, 4, 3), MaskedLif(spec, "attn", mask), layer.Flatten(), layer.Linear(48, 3))
    read = assert_same_spikes_of_ours(on_a_grid_but(network, mask))
    (lif,) = (node.op for node in read.graph.nodes if isinstance(node.op, Lif))
    assert (lif.mask_steps, lif.group) == ((0, 1, 2), "attn")


def on_a_grid_but(network: nn.Module, mask: TimeStepMask) -> nn.Module:
    score = mask.score.data.clone()
    on_a_grid(network)
    mask.score.data = score
    return network


def assert_same_spikes_of_ours(network: nn.Module) -> ReadModule:
    step_mode(network, "m")
    return assert_same_spikes(network, grid_images(8, 2, 5, 6), timed=True)


def spiking_vgg(channels: int = 1, classes: int = 10) -> nn.Module:
    """Convolution, norm, neuron; both pools; two linear layers."""
    return nn.Sequential(
        layer.Conv2d(channels, 8, 3, padding=1, bias=False), layer.BatchNorm2d(8), jelly.IFNode(),
        layer.MaxPool2d(2, 2),
        layer.Conv2d(8, 16, 3, padding=1), layer.BatchNorm2d(16), jelly.LIFNode(tau=2.0),
        layer.AvgPool2d(2, 2), layer.Flatten(), layer.Dropout(0.5),
        layer.Linear(64, 32), jelly.LIFNode(tau=2.0, decay_input=False, v_reset=None), layer.Linear(32, classes),
    )  # fmt: skip


@pytest.mark.parametrize("mode", ["s", "m"])
def test_vgg_in_either_step_mode(mode: str) -> None:
    network = busy_norms(spiking_vgg(3))
    step_mode(network, mode)
    read = assert_same_spikes(network.double(), torch.rand(2, 3, 8, 8, dtype=torch.float64), timed=mode == "m")
    kinds = {node.name: type(node.op) for node in read.graph.nodes}
    assert kinds["7"] is SumPool
    assert kinds["10"] is Convolution  # a linear layer of 16×2×2 values
    assert kinds["12"] is Linear
    assert network.training


class Residual(nn.Module):
    """SEW's spike residual, a residual of currents, and a residual of a spike with a current."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.stem, self.first = nn.Conv2d(2, 4, 3, padding=1), jelly.IFNode()
        self.conv, self.second = nn.Conv2d(4, 4, 3, padding=1), jelly.LIFNode(tau=2.0)
        self.third, self.head = jelly.IFNode(v_threshold=2.0), nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Tensor:
        current = self.stem(images)
        spikes = self.first(current)
        match self.kind:
            case "spikes":
                value = self.third(self.conv(spikes + self.second(self.conv(spikes))))
            case "currents":
                value = self.third(current + self.conv(self.second(spikes_to_current(spikes, self.conv))))
            case _:
                value = self.third(self.second(self.conv(spikes)) + self.conv(spikes))
        logits: Tensor = self.head(value.mean((2, 3)))
        return logits


def spikes_to_current(spikes: Tensor, conv: nn.Module) -> Tensor:
    current: Tensor = conv(spikes)
    return current


@pytest.mark.parametrize("kind", ["spikes", "currents", "mixed"])
def test_residuals(kind: str) -> None:
    read = assert_same_spikes(on_a_grid(Residual(kind), 3), grid_images(8, 2, 6, 5))
    assert sum(isinstance(node.op, Add) for node in read.graph.nodes) == 1
    assert any(isinstance(node.op, TokenSum) for node in read.graph.nodes)


ODD_CONVOLUTIONS: dict[str, Callable[[], nn.Module]] = {
    "depthwise": lambda: nn.Conv2d(4, 8, 3, groups=4),
    "two groups, stride": lambda: nn.Conv2d(4, 8, 3, groups=2, stride=2, padding=1),
    "dilated": lambda: nn.Conv2d(4, 8, 2, dilation=(2, 3)),
    "rectangular": lambda: nn.Conv2d(4, 8, (3, 2), padding=(0, 1)),
    "same, even": lambda: nn.Conv2d(4, 8, (2, 4), padding="same"),
    "valid": lambda: nn.Conv2d(4, 8, (1, 5), padding="valid"),
    "one row": lambda: nn.Conv2d(4, 8, (7, 3), stride=(3, 2)),
    "weight norm": lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 8, 3)),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("kind", ODD_CONVOLUTIONS)
def test_convolutions_of_all_shapes(kind: str) -> None:
    odd = ODD_CONVOLUTIONS[kind]()
    network = nn.Sequential(nn.Conv2d(2, 4, 1), jelly.IFNode(), odd, jelly.IFNode(v_threshold=0.5), nn.AvgPool2d(2, 1),
                            nn.Flatten(), nn.LazyLinear(3))  # fmt: skip
    images = grid_images(8, 2, 7, 9)
    if kind == "one row":
        network[4] = nn.Identity()
    network(images)
    reset_states(network)
    read = assert_same_spikes(on_a_grid(network).double(), images.double())
    noted = any("zeros in its kernel" in note for note in read.notes)
    assert noted == (kind in ("depthwise", "two groups, stride", "dilated", "rectangular", "same, even"))


POOLS: dict[str, Callable[[], nn.Module]] = {
    "average with a border": lambda: nn.AvgPool2d(3, 2, padding=1),
    "average of a rectangle": lambda: nn.AvgPool2d((3, 2), 2),
    "average by another number": lambda: nn.AvgPool2d(2, divisor_override=3),
    "global": lambda: nn.AdaptiveAvgPool2d(1),
    "adaptive": lambda: nn.AdaptiveAvgPool2d((3, 2)),
    "largest": lambda: nn.MaxPool2d(3, 2, padding=1),
}


@pytest.mark.parametrize("of", ["spikes", "currents"])
@pytest.mark.parametrize("kind", POOLS)
def test_pools_of_spikes_and_of_currents(kind: str, of: str) -> None:
    """An average of currents moves into the threshold, one of spikes into the next weights; one ends the network."""
    first: list[nn.Module] = [nn.Conv2d(2, 4, 3, padding=1)]
    middle = [jelly.IFNode(v_threshold=0.5), POOLS[kind]()]
    network = nn.Sequential(*first, *(middle if of == "spikes" else middle[::-1]), nn.Conv2d(4, 4, 1), jelly.IFNode(),
                            nn.Conv2d(4, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())  # fmt: skip
    assert_same_spikes(on_a_grid(network).double(), grid_images(8, 2, 6, 4).double())


class OwnLoop(nn.Module):
    """Repeats the image itself, and averages over time before the head."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            layer.SeqToANNContainer(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4)), jelly.IFNode(step_mode="m")
        )
        self.head = nn.Linear(4 * 3 * 2, 3)

    def forward(self, images: Tensor) -> Tensor:
        repeated = images.unsqueeze(0).repeat(STEPS, 1, 1, 1, 1)
        assert repeated.dim() == 5
        features = self.body(repeated).flatten(2)
        logits: Tensor = self.head(0.5 * features.sum(0) / STEPS)
        return logits


def test_module_may_repeat_the_image_and_average_over_time() -> None:
    network, images = busy_norms(OwnLoop()).double(), torch.rand(3, 2, 5, 4, dtype=torch.float64)
    read = read_module(network, images, time_steps=STEPS)
    assert read.notes == ()
    with torch.no_grad():
        logits, _ = RecordingModule(read.graph).double()(images)
        torch.testing.assert_close(logits, network.eval()(images))


def test_network_may_end_in_spikes_and_read_features() -> None:
    network = nn.Sequential(nn.Linear(12, 8), snntorch.Leaky(beta=0.5, init_hidden=True), nn.Linear(8, 4),
                            snntorch.Leaky(beta=0.5, init_hidden=True, output=True))  # fmt: skip
    read = assert_same_spikes(on_a_grid(network, 2), grid_images(16, 12))
    assert read.graph.nodes[0].shape == (1, 12, 1)
    assert isinstance(read.graph.node(read.graph.output).op, Lif)


def test_a_branch_that_nothing_reads_is_left_out() -> None:
    class TwoHeads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.neuron, self.head, self.other = (
                nn.Conv2d(2, 4, 5),
                jelly.IFNode(),
                nn.Linear(4, 3),
                nn.GELU(),
            )

        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            spikes = self.neuron(self.conv(images)).flatten(1)
            return self.head(spikes), self.other(spikes)

    read = read_module(on_a_grid(TwoHeads()), grid_images(4, 2, 5, 5), time_steps=2)
    assert [node.name for node in read.graph.nodes] == ["image", "conv", "neuron", "head"]


# SpikingJelly's own networks


@pytest.fixture
def _no_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of SpikingJelly's networks take a downloader from torchvision, which torch's CPU build does not have."""
    for name in ("torchvision", "torchvision.models", "torchvision.models.utils"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setattr(sys.modules["torchvision.models.utils"], "load_state_dict_from_url", None, raising=False)


@pytest.mark.usefixtures("_no_torchvision")
def test_sew_resnet18_of_spiking_jelly() -> None:
    from spikingjelly.activation_based.model import sew_resnet

    network = busy_norms(sew_resnet.sew_resnet18(cnf="ADD", spiking_neuron=jelly.IFNode, num_classes=10))
    step_mode(network, "m")
    read = read_module(network, torch.rand(2, 1, 3, 32, 32))
    assert read.notes == ()
    assert sum(isinstance(node.op, Add) for node in read.graph.nodes) == 8
    assert sum(isinstance(node.op, Lif) for node in read.graph.nodes) == 20


@pytest.mark.usefixtures("_no_torchvision")
def test_spiking_vgg_of_spiking_jelly_is_refused_only_for_small_images() -> None:
    from spikingjelly.activation_based.model import spiking_vgg as zoo

    network = zoo.spiking_vgg11_bn(spiking_neuron=jelly.LIFNode, num_classes=10)
    step_mode(network, "m")
    with pytest.raises(UserError, match="avgpool: averages 1×1 values to 7×7") as refusal:
        read_module(network, torch.rand(2, 1, 3, 32, 32))
    assert refusal.value.exit_code == EXIT_UNSUPPORTED
    network.avgpool = nn.Identity()
    network.classifier[0] = layer.Linear(512, 64, step_mode="m")
    network.classifier[3] = layer.Linear(64, 64, step_mode="m")
    network.classifier[6] = layer.Linear(64, 10, step_mode="m")
    network.forward = types.MethodType(lambda self, x: self.classifier(torch.flatten(self.features(x), 2)), network)
    assert read_module(busy_norms(network), torch.rand(2, 1, 3, 32, 32)).notes == ()


# What is refused


class Calls(nn.Module):
    """A module made of one function, behind a layer that gives spikes."""

    def __init__(self, function: Callable[..., Any], **parts: nn.Module) -> None:
        super().__init__()
        self.conv, self.neuron, self.function = nn.Conv2d(2, 4, 3), jelly.IFNode(), function
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, images: Tensor) -> Any:
        return self.function(self, self.neuron(self.conv(images)))


def with_argument(self: Any, spikes: Tensor) -> Tensor:
    fired: Tensor = self.leaky(self.again(spikes), self.leaky.init_leaky())[0]
    return fired.flatten(1)


def in_a_loop(self: Any, spikes: Tensor) -> Tensor:
    return torch.stack([self.lif(self.again(spikes)) for _ in range(3)]).flatten(2)


class MyLif(jelly.LIFNode):  # type: ignore[misc,name-defined]  # SpikingJelly has no types
    """Somebody's own equations."""


UNSUPPORTED: dict[str, tuple[nn.Module, str]] = {
    "relu": (
        Calls(lambda self, s: self.act(self.again(s)), act=nn.ReLU(), again=nn.Conv2d(4, 4, 3)),
        "act: ReLU has no counterpart in spikes and integers; replace it by a LIF or IF neuron",
    ),
    "unknown neuron": (
        Calls(lambda self, s: self.odd(self.again(s)), odd=jelly.QIFNode(), again=nn.Conv2d(4, 4, 3)),
        (
            "odd: is a QIFNode, whose equations are unknown here; "
            "use one of IFNode, LIFNode, ParametricLIFNode, Leaky"
        ),
    ),
    "subclass of a neuron": (
        Calls(lambda self, s: self.odd(self.again(s)), odd=MyLif(), again=nn.Conv2d(4, 4, 3)),
        "odd: is a MyLif, whose equations are unknown here; use one of IFNode, LIFNode, ParametricLIFNode, Leaky",
    ),
    "a synapse with a state": (
        Calls(lambda self, s: self.filter(s), filter=layer.SynapseFilter()),
        (
            "filter: is a SynapseFilter, whose equations are unknown here; "
            "use one of IFNode, LIFNode, ParametricLIFNode, Leaky"
        ),
    ),
    "no reset": (
        Calls(lambda self, s: self.odd(self.again(s)), again=nn.Conv2d(4, 4, 3),
              odd=snntorch.Leaky(beta=0.5, reset_mechanism="none", init_hidden=True)),
        "odd: has no reset; use reset_mechanism='subtract' or 'zero'",
    ),
    "reset without delay": (
        Calls(lambda self, s: self.odd(self.again(s)), again=nn.Conv2d(4, 4, 3),
              odd=snntorch.Leaky(beta=0.5, reset_delay=False, init_hidden=True)),
        "odd: takes a pending reset back where it does not fire (reset_delay=False); use reset_delay=True",
    ),
    "a leak for each neuron": (
        Calls(lambda self, s: self.odd(self.again(s)), again=nn.Conv2d(4, 2, 3),
              odd=snntorch.Leaky(beta=torch.tensor([[[0.5]], [[0.75]]]), init_hidden=True)),
        "odd: its beta runs from 0.5 to 0.75; give all its neurons the same",
    ),
    "state as an argument": (
        Calls(with_argument, leaky=snntorch.Leaky(beta=0.5), again=nn.Conv2d(4, 4, 3)),
        "leaky: gets its state as an argument; build it with init_hidden=True",
    ),
    "a loop over time": (
        Calls(in_a_loop, lif=jelly.LIFNode(), again=nn.Conv2d(4, 4, 3)),
        (
            "lif: is called more than once, and it has one state; "
            "give a module that computes one time step, and time_steps=3; or use two neurons"
        ),
    ),
    "concatenation": (
        Calls(lambda self, s: torch.cat([s, s])),
        "cat: cat has no counterpart in spikes and integers; docs/front-ends.md lists what can be compiled",
    ),
    "product of spikes": (
        Calls(lambda self, s: s * s),
        "mul: multiplies values with each other or with a tensor; scale by a number",
    ),
    "a view of half an image": (
        Calls(lambda self, s: s.reshape(len(s), 2, -1)),
        "reshape: turns 2×4×4×4 into 2×2×32; flatten whole images only",
    ),
    "a swap of axes": (
        Calls(lambda self, s: self.head(s.permute(0, 2, 3, 1)), head=nn.Linear(4, 3)),
        "permute: permute has no counterpart in spikes and integers; docs/front-ends.md lists what can be compiled",
    ),
    "two products": (
        Calls(lambda self, s: self.again(self.first(s)), first=nn.Conv2d(4, 4, 3), again=nn.Conv2d(4, 3, 2)),
        "again: reads first, a current: nothing fires between them; put a LIF or IF neuron between the two layers",
    ),
    "windows beyond the border": (
        Calls(lambda self, s: self.pool(s), pool=nn.MaxPool2d(3, 2, ceil_mode=True)),
        (
            "pool: gives (2, 4, 2, 2) where 4 × 1 × 1 a step were expected; "
            "leave out ceil_mode and reshapes other than flattening"
        ),
    ),
    "border not counted": (
        Calls(lambda self, s: self.pool(s), pool=nn.AvgPool2d(2, padding=1, count_include_pad=False)),
        "pool: divides by another number at the border; use count_include_pad=True",
    ),
    "two strides": (
        Calls(lambda self, s: self.again(s), again=nn.Conv2d(4, 4, 2, stride=(1, 2))),
        "again: its stride is 1×2; use the same in both directions",
    ),
    "circular padding": (
        Calls(lambda self, s: self.again(s), again=nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular")),
        "again: Conv2d has no counterpart in spikes and integers; docs/front-ends.md lists what can be compiled",
    ),
    "no statistics": (
        Calls(lambda self, s: self.norm(self.again(s)), again=nn.Conv2d(4, 4, 3),
              norm=nn.BatchNorm2d(4, track_running_stats=False)),
        "norm: has no running statistics; use track_running_stats=True",
    ),
    "an image at the end": (
        Calls(lambda self, s: s),
        "Calls: the network ends in 4×4×4 values at 16 positions; end it with one value for each class",
    ),
    "a membrane": (
        Calls(lambda self, s: self.leaky(self.again(s))[1].flatten(1), leaky=snntorch.Leaky(beta=0.5),
              again=nn.Conv2d(4, 4, 4)),
        "leaky: its membrane is read; use its spikes, the first of what it returns",
    ),
    "another function of the image": (
        Calls(lambda self, s: torch.zeros(2, 3)),
        (
            "Calls: its output does not depend on the input through torch functions; "
            "use torch functions and known neurons"
        ),
    ),
    "a neuron for all steps": (
        Calls(lambda self, s: self.lif(self.again(s)), lif=jelly.LIFNode(step_mode="m"), again=nn.Conv2d(4, 4, 3)),
        (
            "lif: runs all time steps in one call, but gets leading axes 2 for 3 steps; "
            "give an example [T, B, …], or set step_mode='s'"
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNSUPPORTED)
def test_what_cannot_be_compiled_is_refused_by_the_name_of_its_layer(kind: str) -> None:
    module, message = UNSUPPORTED[kind]
    with pytest.raises(UserError) as refusal:
        read_module(module, torch.rand(2, 2, 6, 6), time_steps=3)
    assert (str(refusal.value), refusal.value.exit_code) == (message, EXIT_UNSUPPORTED)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


def broken(change: Callable[[Any], None]) -> nn.Module:
    network = small_network(jelly.IFNode)
    change(network)
    return network


def put_nan(network: Any) -> None:
    network[0].weight.data[0, 0, 0, 0] = float("nan")


BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "nan": (
        lambda: read_module(broken(put_nan), torch.rand(2, 2, 5, 6), time_steps=2),
        "0: 1 of the 108 numbers of its weight are NaN or infinite; repair or retrain the model",
    ),
    "no time": (
        lambda: read_module(small_network(jelly.IFNode), torch.rand(2, 2, 5, 6)),
        "time_steps: is missing; the example has no time axis: give time_steps=T",
    ),
    "another time": (
        lambda: read_module(small_network(jelly.IFNode), torch.rand(4, 2, 2, 5, 6), time_steps=3),
        "time_steps: is 3; the example has 4 steps",
    ),
    "no steps": (
        lambda: read_module(small_network(jelly.IFNode), torch.rand(2, 2, 5, 6), time_steps=0),
        "time_steps: is 0; give 1 to 64",
    ),
    "no batch": (
        lambda: read_module(small_network(jelly.IFNode), torch.rand(6), time_steps=2),
        "example_input: its shape is (6,); give [B, C, H, W] or [B, F], or with time first [T, B, …]",
    ),
    "images of another size": (
        lambda: dtss.compiler.compile(small_network(jelly.IFNode), torch.rand(2, 2, 5, 6), time_steps=2,
                                      images=np.zeros((3, 5, 6, 1), np.uint8)),
        "images: found uint8 of shape (3, 5, 6, 1); give uint8 [B, 5, 6, 2]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_says_what_to_give(kind: str) -> None:
    call, message = BAD[kind]
    with pytest.raises(UserError) as refusal:
        call()
    assert (str(refusal.value), refusal.value.exit_code) == (message, EXIT_BAD_INPUT)


# End to end


@pytest.fixture(scope="module")
def digits_network() -> tuple[Compiled, np.ndarray, np.ndarray]:
    """A spiking VGG trained for a few seconds on the digits, compiled with calibration."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images, labels = data.images[..., None].astype(np.uint8), data.target.astype(np.int64)
    inputs, targets = torch.from_numpy(images.transpose(0, 3, 1, 2) / 16).float(), torch.from_numpy(labels)
    torch.manual_seed(0)
    network = spiking_vgg()
    optimiser = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(60):
        batch = torch.randperm(600)[:150]
        reset_states(network)
        logits = torch.stack([network(inputs[batch]) for _ in range(2)]).mean(0)
        optimiser.zero_grad()
        functional.cross_entropy(logits, targets[batch]).backward()
        optimiser.step()
    preprocess = Preprocess(pixel_scale=1 / 16, mean=(0.0,), std=(1.0,), pixel_max=16)
    compiled = dtss.compiler.compile(
        network, torch.rand(2, 1, 8, 8), time_steps=4, preprocess=preprocess, name="vgg",
        calibration_images=images[:32], images=images[600:700], labels=labels[600:700],
    )  # fmt: skip
    return compiled, images[600:700], labels[600:700]


def test_compiled_vgg_runs_in_the_golden_model_and_the_simulator(
    digits_network: tuple[Compiled, np.ndarray, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compiled, images, labels = digits_network
    golden = interpret(compiled.schedule, compiled.tensors, images.astype(np.int64))
    for run in execute(compiled.schedule, compiled.tensors, images):
        for step, value in run.values.items():
            np.testing.assert_array_equal(value, golden.values[run.node.name][step], run.node.name)
    chosen = golden.logits.mean(0).argmax(1)
    float_logits = compiled.tensors[io.FLOAT_LOGITS]
    assert np.mean(float_logits.argmax(1) == labels) > 0.7
    assert np.mean(float_logits.argmax(1) == chosen) > 0.85
    compiled.save(tmp_path / "vgg.json")
    assert simulate([str(tmp_path / "vgg.json"), "--limit", "10"]) == 0
    assert capsys.readouterr().out.startswith("vgg")


def test_help_needs_no_torch() -> None:
    import subprocess

    code = "import sys, dtss.compiler; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(AttributeError, match="has no attribute 'compiled'"):
        _ = dtss.compiler.compiled
