"""How much the inputs of each LIF layer change from one time step to the next (DTSS paper, III-B and Fig. 2).

    p_t[b] = share of the currents I[t] of a layer, over all images and neurons, that fall into bin b
    s_t = cos(p_t, p_0) = (p_t · p_0) / (|p_t| |p_0|)
    sensitivity = mean over t > 0 of (1 − s_t)

The paper gives the histograms and the cosine similarity and leaves open how a layer becomes one number; the last line
is ours. Bins: equally wide, from the least to the greatest current of the layer at any step, so nothing is clipped and
all steps of a layer share them.

The paper calls the similarity itself sensitivity; here a sensitive layer is one whose currents change over time.

Direct encoding gives the first LIF layer the same current at every step: its similarity is exactly 1, its sensitivity
exactly 0, which lowers the mean of sps. A mask that drops steps silences what later layers read, so their histograms
change because of the mask: choose groups from a plain network.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean, median

import torch
from torch import Tensor, nn

from dtss.models.checkpoint import Checkpoint, CheckpointError
from dtss.models.data import DataError, ImageSource, Preprocess, evenly_limited
from dtss.models.data_sets import DATA_SETS
from dtss.models.spikformer import Spikformer
from dtss.models.time_step_mask import LAYER_GROUPS, LayerGroup

BATCH_SIZE = 16  # Spikformer-8-512 has 51 MB of currents for each image in its first layer alone
PAPER_GROUPS: tuple[LayerGroup, ...] = ("qkv", "mlp")  # Table III: best accuracy of the four combinations

Record = Callable[[str, Tensor], None]


@dataclasses.dataclass(frozen=True)
class LayerCurrents:
    """The currents of one LIF layer: counts [T][bins] over `low`..`high`, the range of all steps together."""

    name: str
    group: LayerGroup
    low: float
    high: float
    counts: tuple[tuple[int, ...], ...]

    @property
    def similarities(self) -> tuple[float, ...]:
        """s_t of every step; s_0 = 1."""
        return tuple(cosine_similarity(step, self.counts[0]) for step in self.counts)

    @property
    def sensitivity(self) -> float:
        """Mean over t > 0 of (1 − s_t): 0 where every step looks like the first, 1 where none shares a bin with it."""
        return fmean(1.0 - similarity for similarity in self.similarities[1:])


@dataclasses.dataclass(frozen=True)
class Sensitivity:
    """The currents of a whole network.

    dropped  LIF layers whose mask drops a step; their followers read less than they were asked about.
    """

    network: str
    images: int
    layers: tuple[LayerCurrents, ...]
    dropped: tuple[str, ...]

    @property
    def time_steps(self) -> int:
        return len(self.layers[0].counts)

    @property
    def bins(self) -> int:
        return len(self.layers[0].counts[0])

    @property
    def groups(self) -> dict[LayerGroup, float]:
        """Mean sensitivity of the layers of each group."""
        return {group: fmean(layer.sensitivity for layer in self.of_group(group)) for group in LAYER_GROUPS}

    @property
    def suggested_groups(self) -> tuple[LayerGroup, ...]:
        return suggested_groups(self.groups)

    @property
    def other_groups(self) -> tuple[LayerGroup, ...]:
        """Those not suggested: what the argument of III-B would have in the mask loss."""
        return tuple(group for group in LAYER_GROUPS if group not in self.suggested_groups)

    @property
    def warning(self) -> str | None:
        """What makes these numbers unfit to choose groups by, if anything does."""
        if not self.dropped:
            return None
        return (
            f"masks dropped steps in {len(self.dropped)} of {len(self.layers)} LIF layers, which changes what later "
            f"layers read; to choose groups, analyse a network trained with --model plain"
        )

    def of_group(self, group: LayerGroup) -> tuple[LayerCurrents, ...]:
        return tuple(layer for layer in self.layers if layer.group == group)


def cosine_similarity(counts: Sequence[int], others: Sequence[int]) -> float:
    """(a · b) / (|a| |b|): 1 exactly where the histograms are alike, 0 where they share no bin.

    Shares and counts differ by a factor, which cancels. Products are whole numbers, so nothing is rounded before the
    one division.
    """
    shared = _dot(counts, others)
    return math.sqrt(shared**2 / (_dot(counts, counts) * _dot(others, others)))


def suggested_groups(sensitivities: Mapping[LayerGroup, float]) -> tuple[LayerGroup, ...]:
    """The groups whose sensitivity is at least the median of all groups: Eq. 8's "sufficiently sensitive" layers.

    A heuristic: the paper gives no bound, and is of two minds. III-B argues that a layer whose first step looks like
    the rest can do with one, which names the other groups.
    """
    bound = median(sensitivities.values())
    return tuple(group for group, sensitivity in sensitivities.items() if sensitivity >= bound)


def analyse(checkpoint: Checkpoint, images: ImageSource, bins: int) -> Sensitivity:
    """Two passes over the images, the first for the range of each layer; memory does not grow with their number."""
    model = checkpoint.build_model()
    name = checkpoint.config.name
    if checkpoint.config.time_steps == 1:
        raise CheckpointError("nothing to compare", f"config {name!r}", "one time step", "give a network of 2 or more")
    if len(images.labels) == 0:
        raise DataError("no images", f"samples of {name!r}", "none", "give --data DIR with the files of its data set")
    ranges = _ranges(model, checkpoint.preprocess, images)
    counts = _counts(model, checkpoint.preprocess, images, ranges, bins)
    layers = (
        LayerCurrents(layer, lif.group, *ranges[layer], tuple(tuple(step) for step in counts[layer].tolist()))
        for layer, lif in model.lif_layers().items()
    )
    dropped = tuple(layer for layer, mask in model.masks.items() if not all(mask))
    return Sensitivity(name, len(images.labels), tuple(layers), dropped)


def images_of(checkpoint: Checkpoint, folder: Path | None, limit: int | None) -> ImageSource:
    """The samples in the checkpoint or, from `folder`, the test images of its data set; `limit` of them, evenly spaced.

    A checkpoint's samples were never trained on.
    """
    if folder is None:
        return evenly_limited(checkpoint.samples, limit)
    config = checkpoint.config
    name = _data_set(checkpoint)
    test = DATA_SETS[name].load(folder, config.image_size).test
    height, width, channels = test.select(torch.tensor([0])).images.shape[1:]
    if (height, width, channels) != (*config.image_size, config.in_channels):
        (rows, columns), wide = config.image_size, config.in_channels
        raise DataError(
            "wrong images",
            f"data set {name}",
            f"{height}×{width} pixels of {channels} channels",
            f"{config.name} reads {rows}×{columns} of {wide}; leave --data out to use the checkpoint's own samples",
        )
    return evenly_limited(test, limit)


def binned(current: Tensor, low: float, high: float, bins: int) -> Tensor:
    """Counts [T, bins] of currents [T, ...] in equal bins from `low` to `high`, which is in the last bin.

    Where all are the same value, they are in the first.
    """
    scale = bins / (high - low) if high > low else 0.0
    steps = current.flatten(1)
    places = ((steps - low) * scale).floor().clamp(0, bins - 1).to(torch.int64)
    return torch.stack([torch.bincount(step, minlength=bins) for step in places])


def _ranges(model: Spikformer, preprocess: Preprocess, images: ImageSource) -> dict[str, tuple[float, float]]:
    """The least and the greatest current of each LIF layer."""
    ranges: dict[str, tuple[float, float]] = {}

    def widen(name: str, current: Tensor) -> None:
        low, high = (float(end) for end in torch.aminmax(current))
        if not math.isfinite(low) or not math.isfinite(high):
            raise CheckpointError(
                "not finite", f"currents of {name}", f"{low:.3g}..{high:.3g}", "training diverged: train again"
            )
        before = ranges.get(name, (low, high))
        ranges[name] = (min(before[0], low), max(before[1], high))

    _run(model, preprocess, images, widen)
    return ranges


def _counts(
    model: Spikformer, preprocess: Preprocess, images: ImageSource, ranges: Mapping[str, tuple[float, float]], bins: int
) -> dict[str, Tensor]:
    counts = {name: torch.zeros(model.config.time_steps, bins, dtype=torch.int64) for name in ranges}

    def count(name: str, current: Tensor) -> None:
        counts[name] += binned(current, *ranges[name], bins)

    _run(model, preprocess, images, count)
    return counts


def _run(model: Spikformer, preprocess: Preprocess, images: ImageSource, record: Record) -> None:
    """The network on all images, batch by batch; `record` gets each LIF layer's name and currents [T, B, ...]."""
    with torch.no_grad(), _recording(model, record):
        for indices in torch.split(torch.arange(len(images.labels)), BATCH_SIZE):
            model(preprocess(images.select(indices).images))


@contextmanager
def _recording(model: Spikformer, record: Record) -> Iterator[None]:
    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _module, inputs: record(name, inputs[0])

    handles = [lif.register_forward_pre_hook(hook(name)) for name, lif in model.lif_layers().items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _data_set(checkpoint: Checkpoint) -> str:
    """The data set that the checkpoint's recipe names."""
    recipe = checkpoint.training.get("recipe")
    name = recipe.get("data_set") if isinstance(recipe, dict) else None
    if not isinstance(name, str) or name not in DATA_SETS:
        raise CheckpointError(
            "unknown data set",
            "training: recipe",
            "none named" if name is None else repr(name),
            "leave --data out to use the checkpoint's own samples",
        )
    return name


def _dot(counts: Sequence[int], others: Sequence[int]) -> int:
    return sum(a * b for a, b in zip(counts, others, strict=True))
