"""The settings of an ablation study, and what the DTSS paper published for its own (IV-D, Tables III and IV).

Free of torch: the command line lists them at once.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

GroupName = Literal["sps", "qkv", "attn", "mlp"]
TableName = Literal["groups", "steps"]

PAPER_ORDER: tuple[GroupName, ...] = ("qkv", "attn", "mlp", "sps")


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a row of a table varies; make one with `setting`, so that equal trainings are equal settings.

    groups         layer groups in the mask loss, in the order of Table III.
    mask_weight    λ_m.
    initial_steps  active steps of every mask before training.
    time_steps     T_max.
    """

    groups: tuple[GroupName, ...]
    mask_weight: float
    initial_steps: int
    time_steps: int

    @property
    def group_names(self) -> str:
        return "+".join(self.groups) or "none"

    @property
    def name(self) -> str:
        """The setting as part of a file name."""
        loss = f"{self.group_names}-{self.mask_weight!r}" if self.groups else "none"
        return f"{loss}-{self.initial_steps}of{self.time_steps}"


def setting(groups: Iterable[str], mask_weight: float, initial_steps: int, time_steps: int) -> Setting:
    """The setting in its one form: a mask loss over no groups is one of weight 0, and the reverse."""
    chosen = tuple(name for name in PAPER_ORDER if name in frozenset(groups)) if mask_weight > 0.0 else ()
    return Setting(chosen, float(mask_weight) if chosen else 0.0, initial_steps, time_steps)


@dataclasses.dataclass(frozen=True)
class Published:
    """A row as printed in the paper: Spikformer-4-384 on CIFAR-100.

    activity_percent  spikes per neuron and step of T_max.  sops_m  millions of accumulates an image.
    """

    accuracy_percent: float
    average_time_steps: float
    activity_percent: float
    sops_m: float


# All from 2 of 4 steps with λ_m = 1e-6. T_max stands in no caption: T_avg 3.93 and the row in Table IV say 4.
TABLE_III: Mapping[Setting, Published] = {
    setting(("qkv", "attn", "mlp", "sps"), 1e-6, 2, 4): Published(74.64, 1.03, 2.90, 101.24),
    setting(("qkv", "attn", "mlp"), 1e-6, 2, 4): Published(77.16, 1.96, 4.87, 181.50),
    setting(("qkv", "mlp"), 1e-6, 2, 4): Published(78.09, 2.73, 5.56, 185.31),
    setting((), 1e-6, 2, 4): Published(77.10, 3.93, 5.33, 182.69),
}

# All with the mask loss on qkv and mlp. The fourth row is the third of Table III; its activity is printed as 5.33
# here and as 5.56 there.
TABLE_IV: Mapping[Setting, Published] = {
    setting(("qkv", "mlp"), 1e-4, 1, 4): Published(74.45, 2.45, 3.73, 172.54),
    setting(("qkv", "mlp"), 1e-6, 1, 4): Published(73.90, 3.0, 20.97, 429.18),
    setting(("qkv", "mlp"), 1e-4, 2, 4): Published(76.96, 2.69, 5.41, 183.65),
    setting(("qkv", "mlp"), 1e-6, 2, 4): Published(78.09, 2.73, 5.33, 185.31),
    setting(("qkv", "mlp"), 1e-4, 3, 4): Published(78.16, 3.36, 7.70, 254.39),
    setting(("qkv", "mlp"), 1e-6, 3, 4): Published(78.07, 3.36, 7.71, 255.78),
    setting(("qkv", "mlp"), 1e-4, 4, 4): Published(78.69, 4.0, 9.85, 319.75),
    setting(("qkv", "mlp"), 1e-4, 4, 6): Published(78.90, 3.81, 6.54, 319.51),
}

PAPER_GROUPS = tuple(each.groups for each in TABLE_III)
PAPER_WEIGHTS = tuple(dict.fromkeys(each.mask_weight for each in TABLE_IV))
PAPER_INITIAL_STEPS = tuple(dict.fromkeys(each.initial_steps for each in TABLE_IV))
PAPER_TIME_STEPS = tuple(dict.fromkeys(each.time_steps for each in TABLE_IV))


def groups_table(
    groups: Sequence[Sequence[str]], mask_weight: float, initial_steps: int, time_steps: int
) -> tuple[Setting, ...]:
    """Rows as in Table III: every combination of groups, with the rest as given."""
    return tuple(dict.fromkeys(setting(each, mask_weight, initial_steps, time_steps) for each in groups))


def steps_table(
    groups: Sequence[str],
    weights: Sequence[float] | None,
    initial_steps: Sequence[int] | None,
    time_steps: Sequence[int] | None,
) -> tuple[tuple[Setting, ...], tuple[tuple[int, int], ...]]:
    """Rows as in Table IV, and the (initial, maximum) pairs left out because the first is the greater.

    Nothing given: the paper's eight rows. Else every combination of what is given, with the paper's values for the
    rest.
    """
    if weights is None and initial_steps is None and time_steps is None:
        rows = (setting(groups, each.mask_weight, each.initial_steps, each.time_steps) for each in TABLE_IV)
        return tuple(dict.fromkeys(rows)), ()
    pairs = dict.fromkeys(
        (initial, steps) for steps in time_steps or PAPER_TIME_STEPS for initial in initial_steps or PAPER_INITIAL_STEPS
    )
    kept = [pair for pair in pairs if pair[0] <= pair[1]]
    rows = (setting(groups, weight, *pair) for pair in kept for weight in weights or PAPER_WEIGHTS)
    return tuple(dict.fromkeys(rows)), tuple(pair for pair in pairs if pair[0] > pair[1])
