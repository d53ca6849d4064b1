"""Random views of training images: tensor operations on whole batches, fixed by the generator's state alone.

The generator draws on the CPU, the same for every device; the images move where they are.
"""

import dataclasses
import math
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional


class Augmentation(Protocol):
    """Preprocessed inputs [B, C, H, W] -> one random view of each."""

    def __call__(self, inputs: Tensor, generator: torch.Generator) -> Tensor: ...


@dataclasses.dataclass(frozen=True)
class RandomAffine:
    """A random affine view of each image, zeros outside, bilinear; 0 leaves that part out.

    shift_pixels      largest shift along each axis.
    rotation_degrees  largest rotation, either way.
    zoom              largest relative change of size.
    """

    shift_pixels: float
    rotation_degrees: float
    zoom: float

    def __call__(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        def uniform(limit: float) -> Tensor:
            return ((2.0 * torch.rand(len(inputs), generator=generator) - 1.0) * limit).to(inputs.device)

        height, width = inputs.shape[-2:]
        angle, size = uniform(math.radians(self.rotation_degrees)), 1.0 + uniform(self.zoom)
        cosine, sine = torch.cos(angle) / size, torch.sin(angle) / size
        # affine_grid measures in half image sizes
        shift_x, shift_y = uniform(2.0 * self.shift_pixels / width), uniform(2.0 * self.shift_pixels / height)
        rows = torch.stack([cosine, -sine, shift_x, sine, cosine, shift_y], dim=1)
        grid = functional.affine_grid(rows.view(-1, 2, 3), list(inputs.shape), align_corners=False)
        return functional.grid_sample(inputs, grid, align_corners=False)


@dataclasses.dataclass(frozen=True)
class CropAndFlip:
    """The image moved by up to `padding` whole pixels along each axis, mirrored every other time.

    What moves in is 0: the data set's mean colour, where the preprocessing subtracts it.
    """

    padding: int
    flip: bool

    def __call__(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        images, _, height, width = inputs.shape
        padded = functional.pad(inputs, [self.padding] * 4)
        top, left = torch.randint(0, 2 * self.padding + 1, (2, images, 1), generator=generator)
        rows, columns = top + torch.arange(height), left + torch.arange(width)
        if self.flip:
            mirrored = torch.rand(images, 1, generator=generator) < 0.5
            columns = torch.where(mirrored, columns.flip(1), columns)
        rows, columns, image = (index.to(inputs.device) for index in (rows, columns, torch.arange(images)))
        picked = padded.permute(0, 2, 3, 1)[image.view(-1, 1, 1), rows[:, :, None], columns[:, None, :]]
        return picked.permute(0, 3, 1, 2).contiguous()


@dataclasses.dataclass(frozen=True)
class RandomResizedCrop:
    """A random part of each image, stretched to `output_share` of its side, mirrored every other time; bilinear.

    area    smallest and largest share of the image's area.
    aspect  largest ratio of width to height, and of height to width; drawn evenly in its logarithm.
    """

    area: tuple[float, float]
    aspect: float
    output_share: float

    def __call__(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        def uniform(low: float, high: float) -> Tensor:
            return (low + (high - low) * torch.rand(len(inputs), generator=generator)).to(inputs.device)

        area, stretch = uniform(*self.area), torch.exp(uniform(-math.log(self.aspect), math.log(self.aspect)))
        width, height = torch.sqrt(area * stretch).clamp(max=1.0), torch.sqrt(area / stretch).clamp(max=1.0)
        centre_x, centre_y = uniform(-1.0, 1.0) * (1.0 - width), uniform(-1.0, 1.0) * (1.0 - height)
        mirror = torch.where(uniform(0.0, 1.0) < 0.5, -1.0, 1.0)
        none = torch.zeros_like(width)
        rows = torch.stack([width * mirror, none, centre_x, none, height, centre_y], dim=1)
        size = [round(side * self.output_share) for side in inputs.shape[-2:]]
        grid = functional.affine_grid(rows.view(-1, 2, 3), [*inputs.shape[:2], *size], align_corners=False)
        return functional.grid_sample(inputs, grid, align_corners=False)
