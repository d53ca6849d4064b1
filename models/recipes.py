"""How each named configuration is trained by default. Free of torch: the command line lists it at once."""

import dataclasses
from collections.abc import Mapping
from typing import Literal


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

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "threads"):
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
}
