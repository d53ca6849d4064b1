"""A checkpoint of one of the code bases in `spikformer_names`, found, identified, checked and completed."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from dtss.compiler.frontend.archive import read_payload
from dtss.compiler.frontend.options import Architecture, ReadOptions
from dtss.compiler.frontend.spikformer_names import LAYOUTS, Fire, Layout, Unit
from dtss.compiler.schedule.check import LARGEST_DIMENSION, LARGEST_TIME_STEPS
from dtss.compiler.schedule.errors import BadInputError, UnsupportedError
from dtss.compiler.schedule.format import Preprocess
from dtss.models.checkpoint import MOST_BLOCKS, is_stored_whole

State = Mapping[str, Tensor]
Shape = tuple[int, ...]
Chosen = TypeVar("Chosen")

AGAIN = "copy or download it again"
PLACES = ("state_dict", "model")
EMA_PLACES = ("state_dict_ema", "model_ema")
LARGEST_IMAGE_SIDE = 4096
SMALL_IMAGE_SIDE = 64  # up to here, the layout for small images
IMAGENET_CLASSES = 1000
TIME_STEPS = 4
USUAL = "the code's own"
NORM_TENSORS = ("weight", "bias", "running_mean", "running_var")
CIFAR_COLOURS = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))  # cifar10.yml of both repositories
IMAGENET_COLOURS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # imagenet.yml of both repositories
# What a state_dict may hold beside the weights, none of it read in evaluation: counters, norms that no forward pass
# calls, and what SpikingJelly's neurons saved in old versions (their surrogate's width, the membrane).
IGNORED = re.compile(
    r"\.num_batches_tracked$|\.norm[12]\.(weight|bias)$|\.surrogate_function\.alpha$|(lif|neuron\d?)\.v$"
)


@dataclass(frozen=True)
class Sizes:
    """What the tensors say: stem_channels of each convolution of the stem, D = dim, hidden features, K = classes."""

    in_channels: int
    stem_channels: tuple[int, ...]
    dim: int
    hidden: int
    depth: int
    classes: int


@dataclass(frozen=True, eq=False)
class Network:
    """A checked network. tensors: by the names of `layout`, without a prefix; notes: what was chosen, and why."""

    layout: Layout
    sizes: Sizes
    tensors: State
    heads: int
    time_steps: int
    image_size: tuple[int, int]
    preprocess: Preprocess
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.layout.family}-{self.sizes.depth}-{self.sizes.dim}"

    def block_scopes(self) -> Iterator[str]:
        return (f"{self.layout.blocks}.{index}" for index in range(self.sizes.depth))

    def decay(self, lif: str) -> float:
        """1/τ: ½, or the sigmoid of a ParametricLIFNode's w."""
        trained = self.tensors.get(f"{lif}.w")
        return 0.5 if trained is None else float(torch.sigmoid(trained.double()))


def read_network(path: Path, options: ReadOptions) -> Network:
    """The network in `path`, as `options.arch` and the other options say."""
    assert options.arch is not None
    where = str(path)
    payload = read_payload(path, AGAIN)
    state = cleaned(find_state(payload, where, options.ema))
    layouts = find_layouts(state, options.arch, where)
    written = _written_arguments(payload)
    sizes = measure(layouts[0], state, where)
    layout, image_size, size_from = _choose_image_size(layouts, sizes, options, written)
    check_state(layout, sizes, state, where)
    _refuse_other_architecture(layout, sizes, options.arch, where)
    heads, heads_from = _choose_heads(layout, sizes, options, written)
    steps, steps_from = _choose(options.time_steps, written.time_steps, TIME_STEPS, "--time-steps")
    _refuse_absurd(image_size, steps)
    preprocess, colours_from = _choose_colours(sizes, image_size, options, written, where)
    notes = (
        f"{layout.title}: {sizes.depth} blocks of {sizes.dim} features, MLP of {sizes.hidden}",
        f"{heads} heads ({heads_from}), {steps} time steps ({steps_from})",
        f"images {image_size[0]}×{image_size[1]}×{sizes.in_channels} ({size_from}), mean and std ({colours_from})",
        *(["the file holds a moving average, too: --ema reads it"] if not options.ema and has_ema(payload) else []),
    )
    return Network(layout, sizes, _split_fused(layout, sizes, state), heads, steps, image_size, preprocess, notes)


# The state_dict


def find_state(payload: object, where: str, ema: bool) -> State:
    """The state_dict: the file itself, or under the name that timm or torchvision's scripts give it."""
    if not isinstance(payload, dict):
        raise BadInputError(where, f"holds no state_dict, but {type(payload).__name__}", "save the model's state_dict")
    if "format" in payload:
        raise BadInputError(where, f"says that it is {payload['format']!r}, not --arch's", "leave --arch out")
    tensors = tensors_in(payload, ema)
    if not tensors:
        wanted = " or ".join(EMA_PLACES if ema else PLACES)
        raise BadInputError(where, f"holds no tensors under {wanted}: found {_listed(payload)}", "save the state_dict")
    return tensors


def tensors_in(payload: Mapping[str, object], ema: bool = False) -> State:
    """The tensors by name, where they are, empty if there are none."""
    found = next((payload[place] for place in (EMA_PLACES if ema else PLACES) if payload.get(place)), None)
    inner = found if found is not None or ema else payload
    items = inner.items() if isinstance(inner, dict) else ()
    return {str(key): value for key, value in items if isinstance(value, Tensor)}


def has_ema(payload: object) -> bool:
    return isinstance(payload, dict) and any(payload.get(place) for place in EMA_PLACES)


def cleaned(state: State) -> State:
    """Without the prefix of DataParallel or torch.compile, SpikingJelly's old containers, and what nobody reads."""
    for prefix in ("module.", "_orig_mod.", "module."):
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    named = {re.sub(r"\.module(?=\.)", "", name): tensor for name, tensor in state.items()}
    return {name: tensor for name, tensor in named.items() if not IGNORED.search(name)}


def find_layouts(state: State, arch: Architecture, where: str) -> list[Layout]:
    """The layouts of `arch` that have these names: more than one where two share their names."""
    known = layouts_of(state)
    if not known:
        raise UnsupportedError(
            where,
            f"holds no Spikformer or Spikingformer of a known code base: found {_listed(state)}",
            "docs/front-ends.md lists those that are read",
        )
    fitting = [layout for layout in known if layout.family == arch.family]
    if not fitting:
        families = " or ".join(dict.fromkeys(f"--arch {layout.family}" for layout in known))
        raise BadInputError(where, f"holds the tensors of {known[0].title}, not of {arch.family}", f"say {families}")
    return fitting


def layouts_of(state: State) -> list[Layout]:
    """All layouts whose signature the names carry."""
    return [layout for layout in LAYOUTS if all(key in state for key in layout.signature)]


def measure(layout: Layout, state: State, where: str) -> Sizes:
    """The sizes that the first tensors of each kind have; `check_state` holds all others against them."""

    def shape(name: str, rank: int) -> Shape:
        if name not in state:
            raise BadInputError(where, f"has no {name}", f"{layout.title} needs it; {AGAIN}")
        if state[name].dim() < rank:
            raise BadInputError(f"{where}: {name}", f"found {_described(state[name])}", f"expected {rank} dimensions")
        return tuple(state[name].shape)

    stem = [shape(f"{layer.product}.weight", 2) for layer in layout.stem if isinstance(layer, Unit)]
    first = shape(f"{layout.blocks}.0.{layout.block.first.product}.weight", 2)
    head = shape("head.weight", 2)
    indices = {int(name.split(".")[1]) for name in state if re.match(rf"{layout.blocks}\.\d{{1,6}}\.", name)}
    if indices != set(range(len(indices))):
        found = ", ".join(map(str, sorted(indices)))
        raise BadInputError(where, f"has the blocks {found}", f"blocks count from 0 without a gap; {AGAIN}")
    if len(indices) > MOST_BLOCKS:
        raise UnsupportedError(where, f"has {len(indices)} blocks", f"at most {MOST_BLOCKS} are compiled")
    if stem[0][1] == 2:
        raise UnsupportedError(
            f"{where}: {_first_product(layout)}.weight",
            "reads 2 channels, the events of a DVS camera, whose frames differ at every time step",
            "only images that stay the same are supported",
        )
    return Sizes(stem[0][1], tuple(size[0] for size in stem), head[1], first[0], len(indices), head[0])


def _first_product(layout: Layout) -> str:
    return next(layer.product for layer in layout.stem if isinstance(layer, Unit))


def check_state(layout: Layout, sizes: Sizes, state: State, where: str) -> None:
    """Every tensor there, none too many, each of its shape, finite, and no variance at 0 or below."""
    expected = dict(expected_shapes(layout, sizes))
    optional = {f"{product}.bias" for product in products(layout, sizes.depth)}
    optional |= {f"{lif}.w" for lif in lifs(layout, sizes.depth)}
    missing = [name for name in expected if name not in state and name not in optional]
    if missing:
        raise BadInputError(where, f"has no {_listed(missing)}", f"{layout.title} needs them; {AGAIN}")
    extra = [name for name in state if name not in expected]
    if extra:
        raise UnsupportedError(
            where, f"has {_listed(extra)}, which {layout.title} does not read", "docs/front-ends.md lists what is read"
        )
    for name, tensor in state.items():
        _check_tensor(f"{where}: {name}", tensor, expected[name])


def _check_tensor(where: str, tensor: Tensor, shapes: tuple[Shape, ...]) -> None:
    if tuple(tensor.shape) not in shapes or not tensor.is_floating_point() or tensor.layout != torch.strided:
        raise BadInputError(where, f"found {_described(tensor)}", f"expected floats of shape {list(shapes[0])}")
    if max(tensor.shape, default=1) > LARGEST_DIMENSION:
        raise BadInputError(
            where, f"found {_described(tensor)}", f"the largest size that is read is {LARGEST_DIMENSION}"
        )
    if not is_stored_whole(tensor):
        raise BadInputError(where, f"claims {_described(tensor)}, and its file stores less", AGAIN)
    broken = int((~torch.isfinite(tensor)).sum())
    if broken:
        raise BadInputError(
            where, f"{broken} of {tensor.numel()} values are NaN or infinite", "training diverged: use an earlier epoch"
        )


def expected_shapes(layout: Layout, sizes: Sizes) -> Iterator[tuple[str, tuple[Shape, ...]]]:
    """(name, shapes that it may have)."""
    inputs = sizes.in_channels
    for unit, outputs in zip(_stem_units(layout), sizes.stem_channels, strict=True):
        yield from _unit_shapes(unit, outputs, ((outputs, inputs, 3, 3),))
        inputs = outputs
    dim, hidden, block = sizes.dim, sizes.hidden, layout.block
    if layout.position is not None:
        yield from _unit_shapes(layout.position, dim, ((dim, dim, 3, 3),))
    for index in range(sizes.depth):
        qkv = ((block.fused, 3 * dim),) if block.fused else tuple((unit, dim) for unit in _qkv(layout))
        for unit, outputs in (*qkv, (block.projection, dim)):
            yield from _unit_shapes(unit.within(f"{layout.blocks}.{index}"), outputs, _pointwise(outputs, dim))
        yield from _unit_shapes(block.first.within(f"{layout.blocks}.{index}"), hidden, _pointwise(hidden, dim))
        yield from _unit_shapes(block.second.within(f"{layout.blocks}.{index}"), dim, _pointwise(dim, hidden))
    for lif in lifs(layout, sizes.depth):
        yield f"{lif}.w", ((), (1,))
    yield "head.weight", ((sizes.classes, dim),)
    yield "head.bias", ((sizes.classes,),)


def _unit_shapes(unit: Unit, outputs: int, weights: tuple[Shape, ...]) -> Iterator[tuple[str, tuple[Shape, ...]]]:
    yield f"{unit.product}.weight", weights
    yield f"{unit.product}.bias", ((outputs,),)
    for name in NORM_TENSORS:
        yield f"{unit.norm}.{name}", ((outputs,),)


def _pointwise(outputs: int, inputs: int) -> tuple[Shape, ...]:
    """nn.Linear, Conv1d and Conv2d of kernel 1 are the same layer."""
    return (outputs, inputs), (outputs, inputs, 1), (outputs, inputs, 1, 1)


def _stem_units(layout: Layout) -> list[Unit]:
    return [layer for layer in layout.stem if isinstance(layer, Unit)]


def _qkv(layout: Layout) -> tuple[Unit, ...]:
    return layout.block.query, layout.block.key, layout.block.value


def products(layout: Layout, depth: int) -> list[str]:
    """The products that have a batch norm, as the file names them."""
    block = layout.block
    inner = [*((block.fused,) if block.fused else _qkv(layout)), block.projection, block.first, block.second]
    outer = [*_stem_units(layout), *([layout.position] if layout.position else [])]
    return [unit.product for unit in outer] + [
        f"{layout.blocks}.{index}.{unit.product}" for index in range(depth) for unit in inner
    ]


def lifs(layout: Layout, depth: int) -> list[str]:
    """The LIF layers, as the file names them."""
    block = layout.block
    units = [*((block.fused,) if block.fused else _qkv(layout)), block.projection, block.first, block.second]
    inner = [*(unit.lif for unit in units), block.attention_input, block.attention_lif, block.mlp_input]
    outer = [layer.lif for layer in layout.stem if isinstance(layer, Fire)]
    outer += [layout.position.lif] if layout.position and layout.position.lif else []
    return outer + [f"{layout.blocks}.{index}.{lif}" for index in range(depth) for lif in inner if lif]


def _split_fused(layout: Layout, sizes: Sizes, state: State) -> State:
    """q, k and v each with tensors of their own."""
    fused = layout.block.fused
    if fused is None:
        return state
    split = dict(state)
    for index in range(sizes.depth):
        unit = fused.within(f"{layout.blocks}.{index}")
        for layer, names in ((unit.product, ("weight", "bias")), (unit.norm, NORM_TENSORS)):
            for name in (name for name in names if f"{layer}.{name}" in state):
                for part, tensor in zip("qkv", split.pop(f"{layer}.{name}").chunk(3), strict=True):
                    split[f"{layer}.{part}.{name}"] = tensor
        if f"{unit.lif}.w" in split:
            split |= dict.fromkeys((f"{unit.lif}.{part}.w" for part in "qkv"), split.pop(f"{unit.lif}.w"))
    return split


# What the tensors do not say


@dataclass(frozen=True)
class _Written:
    """The arguments of the training script, as far as timm's `args` in the file makes sense."""

    heads: int | None = None
    time_steps: int | None = None
    image_side: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


def _written_arguments(payload: object) -> _Written:
    arguments = payload.get("args") if isinstance(payload, dict) else None
    values = vars(arguments) if isinstance(arguments, argparse.Namespace) else {}

    def whole(name: str, largest: int) -> int | None:
        value = values.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= largest else None

    def colours(name: str) -> tuple[float, ...] | None:
        value = values.get(name)
        usable = isinstance(value, list | tuple) and all(isinstance(item, int | float) for item in value)
        return tuple(map(float, value)) if usable and value else None

    return _Written(
        heads=whole("num_heads", LARGEST_DIMENSION),
        time_steps=whole("time_step", LARGEST_TIME_STEPS),
        image_side=whole("img_size", LARGEST_IMAGE_SIDE),
        mean=colours("mean"),
        std=colours("std"),
    )


def _choose(said: Chosen | None, written: Chosen | None, usual: Chosen, option: str) -> tuple[Chosen, str]:
    """The value, and where it comes from."""
    if said is not None:
        return said, "as said" if written in (None, said) else f"as said; the file's args have {written}"
    if written is not None:
        return written, "from the file's args"
    return usual, f"{USUAL}, see {option}"


def _choose_image_size(
    layouts: list[Layout], sizes: Sizes, options: ReadOptions, written: _Written
) -> tuple[Layout, tuple[int, int], str]:
    usual = layouts[0].image_side
    if len(layouts) > 1:
        usual = layouts[-1 if sizes.classes == IMAGENET_CLASSES else 0].image_side
    side = None if written.image_side is None else (written.image_side, written.image_side)
    size, origin = _choose(options.image_size, side, (usual, usual), "--image-size")
    return layouts[0 if max(size) <= SMALL_IMAGE_SIDE else -1], size, origin


def _choose_heads(layout: Layout, sizes: Sizes, options: ReadOptions, written: _Written) -> tuple[int, str]:
    usual = layout.heads or max(1, sizes.dim // 32)
    heads, origin = _choose(options.heads, written.heads, usual, "--heads")
    if sizes.dim % heads:
        raise BadInputError("--heads", f"{sizes.dim} features do not split into {heads} heads", "choose a divisor")
    return heads, origin


def _choose_colours(
    sizes: Sizes, image_size: tuple[int, int], options: ReadOptions, written: _Written, where: str
) -> tuple[Preprocess, str]:
    small = max(image_size) <= SMALL_IMAGE_SIDE
    usual = CIFAR_COLOURS if small else IMAGENET_COLOURS
    if sizes.in_channels != len(usual[0]) and (options.mean or written.mean) is None:
        raise BadInputError(
            where, f"reads {sizes.in_channels} channels, whose mean and std are not known", "give --mean and --std"
        )
    mean, origin = _choose(options.mean, written.mean, usual[0], "--mean and --std")
    std, _ = _choose(options.std, written.std, usual[1], "--std")
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != sizes.in_channels:
            raise BadInputError(
                f"--{name}", f"found {len(values)} values", f"the network reads {sizes.in_channels} channels: one each"
            )
        if not all(map(math.isfinite, values)) or (name == "std" and min(values) <= 0.0):
            raise BadInputError(f"--{name}", f"found {_numbers(values)}", "give finite numbers, std above 0")
    if origin.startswith(USUAL):
        origin = f"of {'CIFAR' if small else 'ImageNet'}: {origin}"
    return Preprocess(pixel_scale=1 / 255, mean=mean, std=std, pixel_max=255), origin


def _refuse_absurd(image_size: tuple[int, int], time_steps: int) -> None:
    if not 1 <= time_steps <= LARGEST_TIME_STEPS:
        raise BadInputError("--time-steps", f"found {time_steps}", f"give 1 to {LARGEST_TIME_STEPS}")
    if not 1 <= min(image_size) <= max(image_size) <= LARGEST_IMAGE_SIDE:
        found = f"found {image_size[0]}×{image_size[1]}"
        raise BadInputError("--image-size", found, f"give a height and a width of 1 to {LARGEST_IMAGE_SIDE}")


def _refuse_other_architecture(layout: Layout, sizes: Sizes, arch: Architecture, where: str) -> None:
    found = Architecture(layout.family, sizes.depth, sizes.dim)
    if arch.depth is not None and arch != found:
        raise BadInputError(
            where,
            f"holds {found} ({sizes.depth} blocks of {sizes.dim} features), not {arch}",
            f"say --arch {found}",
        )


def _described(tensor: Tensor) -> str:
    return f"{tensor.dtype} {list(tensor.shape)}"


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _listed(names: Mapping[str, object] | list[str], shown: int = 3) -> str:
    """The first few names, and how many more."""
    first = [str(name) for name in names][:shown]
    rest = len(names) - len(first)
    return (", ".join(first) or "nothing") + (f" and {rest} more" if rest else "")
