"""How each named configuration is trained by default. Free of torch: the command line lists it at once."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Literal

FINE_TUNING_SHARE = 0.1


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that fixes a training run but the network and its images.

    data_set          key of DATA_SETS.
    learning_rate     peak of AdamW's rate: linear warm-up over `warmup_share` of the run, then a cosine to 0.
    score_rate_share  learning rate of the mask scores / learning_rate. AdamW moves a score by the whole rate even
                      where its gradient is mostly noise, and a few steps of that cross a threshold.
    batch_size        images of an update; all of them where there are fewer.
    weight_decay      on weights of products only; never on BatchNorm, biases, mask scores or leaks.
    label_smoothing, temporal_loss   see classification_loss.
    mask_weight, mask_groups         see mask_loss.
    mask_warmup_share first share of the epochs without mask loss, until the cross-entropy has something to
                      defend.
    mask_freeze_share last share of the epochs, which trains the weights alone under the masks to be deployed.
    threads           CPU threads; results repeat exactly for one seed on one machine with one thread count.
    accumulate        parts of equal size that an update's images pass through the network in; the gradients of the
                      parts add up to the update's. BatchNorm sees each part on its own.
    amp               mixed precision: products in bfloat16, or in float16 with a scaled loss; membranes, BatchNorm's
                      statistics, losses and weights stay float32.
    minutes           None: `epochs` epochs. Else a budget of wall-clock time, over all restarts: before each update
                      the rest of the schedule is spread over as many whole epochs as will fit, at the speed so far,
                      so the rate reaches 0 with the last; a run ends with the epoch that ends nearest to the budget,
                      after `epochs` at most. Such a run depends on the machine's speed and cannot be repeated exactly.
    """

    data_set: str
    epochs: int
    seed: int
    learning_rate: float
    score_rate_share: float
    batch_size: int
    warmup_share: float
    weight_decay: float
    label_smoothing: float
    temporal_loss: Literal["mean", "tet"]
    mask_weight: float
    mask_groups: tuple[Literal["sps", "qkv", "attn", "mlp"], ...]
    mask_warmup_share: float
    mask_freeze_share: float
    threads: int
    accumulate: int = 1
    amp: Literal["off", "bf16", "fp16"] = "off"
    minutes: float | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "threads", "accumulate"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give 1 or more")
        for name in ("learning_rate", "weight_decay", "mask_weight"):
            if not 0.0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}; give a finite number, 0 or more")
        for name in ("score_rate_share", "label_smoothing", "warmup_share", "mask_warmup_share", "mask_freeze_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}; give a share from 0 to 1")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed is {self.seed}; give a whole number from 0 to 2**63 - 1")
        if self.batch_size < 2:
            raise ValueError("batch_size is 1, but BatchNorm needs 2 images or more to train")
        self._check_parts()
        for name, choices in (("temporal_loss", ("mean", "tet")), ("amp", ("off", "bf16", "fp16"))):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {getattr(self, name)!r}; choose one of {', '.join(choices)}")
        if self.minutes is not None and not 0.0 < self.minutes < float("inf"):
            raise ValueError(f"minutes is {self.minutes}; give a positive finite number")

    def _check_parts(self) -> None:
        if self.batch_size % self.accumulate or self.batch_size < 2 * self.accumulate:
            raise ValueError(
                f"accumulate is {self.accumulate}; give a divisor of batch_size {self.batch_size} that leaves each "
                f"part 2 images or more"
            )


def fine_tuning(recipe: Recipe, *, masks_train: bool) -> Recipe:
    """The recipe for a network that it trained once: a tenth of the rate, a tenth of the epochs, rounded up.

    Without masks_train the masks stay as they are: the recipe froze them before its end, and its last epochs, which
    trained the weights alone under the masks to be deployed, are what goes on here.
    """
    return dataclasses.replace(
        recipe,
        learning_rate=FINE_TUNING_SHARE * recipe.learning_rate,
        epochs=math.ceil(FINE_TUNING_SHARE * recipe.epochs),
        mask_weight=recipe.mask_weight if masks_train else 0.0,
        mask_warmup_share=0.0,
        mask_freeze_share=recipe.mask_freeze_share if masks_train else 1.0,
        minutes=None,
    )


# DTSS paper, IV-A: AdamW, rate 0.004, batch 256; λ_m = 1e-6 on qkv and mlp from 2 of 4 steps (IV-D, Table IV).
# It gives neither epochs nor the rest for CIFAR: 300 as on ImageNet, the rest as usual for such networks.
SPIKFORMER_4_384 = Recipe(
    data_set="cifar10",
    epochs=300,
    seed=0,
    learning_rate=4e-3,
    score_rate_share=1.0,
    batch_size=256,
    warmup_share=0.05,
    weight_decay=0.06,
    label_smoothing=0.1,
    temporal_loss="mean",
    mask_weight=1e-6,
    mask_groups=("qkv", "mlp"),
    mask_warmup_share=0.0,
    mask_freeze_share=0.05,
    threads=4,
)

RECIPES: Mapping[str, Recipe] = {
    "digits": Recipe(
        data_set="digits",
        epochs=32,
        seed=0,
        learning_rate=4e-3,
        score_rate_share=0.5,
        batch_size=64,
        warmup_share=0.075,
        weight_decay=0.02,
        label_smoothing=0.05,
        temporal_loss="mean",
        mask_weight=0.006,
        mask_groups=("qkv", "mlp"),
        mask_warmup_share=0.2,
        mask_freeze_share=0.15,
        threads=1,
    ),
    "mnist-small": Recipe(
        data_set="mnist",
        epochs=6,
        seed=0,
        learning_rate=3e-3,
        score_rate_share=0.1,
        batch_size=100,
        warmup_share=0.1,
        weight_decay=0.02,
        label_smoothing=0.05,
        temporal_loss="mean",
        mask_weight=0.006,
        mask_groups=("qkv", "mlp"),
        mask_warmup_share=0.25,
        mask_freeze_share=0.25,
        threads=1,
        amp="bf16",
    ),
    "cifar10-small": Recipe(
        data_set="cifar10",
        epochs=30,
        seed=0,
        learning_rate=3e-3,
        score_rate_share=0.05,
        batch_size=100,
        warmup_share=0.1,
        weight_decay=0.02,
        label_smoothing=0.05,
        temporal_loss="mean",
        mask_weight=0.002,
        mask_groups=("qkv", "mlp"),
        mask_warmup_share=0.2,
        mask_freeze_share=0.2,
        threads=1,
        amp="bf16",
    ),
    "spikformer-4-384": SPIKFORMER_4_384,
    # One block: the network that others have put on an FPGA by hand.
    "spikformer-1-384": SPIKFORMER_4_384,
    # DTSS paper, IV-A: rate 0.001, batch 168, 300 epochs. The rest as above.
    "spikformer-8-512": dataclasses.replace(SPIKFORMER_4_384, data_set="imagenet", learning_rate=1e-3, batch_size=168),
}
