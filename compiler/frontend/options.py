"""What a user may say about a model file beside its path."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, get_args

Family = Literal["spikformer", "spikformer-cml", "spikingformer", "spikingformer-cml"]
FAMILIES: tuple[Family, ...] = get_args(Family)


@dataclass(frozen=True)
class Architecture:
    """A family of networks; blocks and features of a token where the name gives them, as in spikformer-4-384."""

    family: Family
    depth: int | None = None
    dim: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """The architecture that `text` names, or `ValueError`."""
        parts = re.fullmatch(r"([a-z-]+?)(?:-(\d{1,6})-(\d{1,6}))?", text)
        family = next((name for name in FAMILIES if parts is not None and parts[1] == name), None)
        if parts is None or family is None:
            known = ", ".join(FAMILIES)
            raise ValueError(
                f"{text!r} is not known; choose {known}, or add blocks and features as in spikformer-4-384"
            )
        return cls(family) if parts[2] is None else cls(family, int(parts[2]), int(parts[3]))

    def __str__(self) -> str:
        return self.family if self.depth is None else f"{self.family}-{self.depth}-{self.dim}"


@dataclass(frozen=True)
class ReadOptions:
    """None: as the file says, or as the code that wrote it does.

    image_size (height, width); mean and std of each channel, of pixels scaled to 1; calibration: a file of images.
    ema: read the moving average of the weights.
    dt: seconds of a time step.  fires: ">=" if a membrane exactly at its threshold fires.
    pixel_scale: of a pixel, before mean and std; 1/255 unless the file says.
    """

    arch: Architecture | None = None
    heads: int | None = None
    time_steps: int | None = None
    image_size: tuple[int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    calibration: Path | None = None
    ema: bool = False
    dt: float | None = None
    fires: Literal[">", ">="] | None = None
    pixel_scale: float | None = None
