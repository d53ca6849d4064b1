"""A checkpoint of a small untrained network, for tests that break or carry one."""

import dataclasses

import pytest
import torch

from dtss.models.checkpoint import Checkpoint
from dtss.models.data import LabelledImages, Preprocess
from dtss.models.spikformer import CONFIGS, Spikformer


@pytest.fixture
def checkpoint() -> Checkpoint:
    config = dataclasses.replace(CONFIGS["digits"], depth=1, dim=8, heads=2, stem_channels=(4, 8), initial_steps=3)
    torch.manual_seed(0)
    return Checkpoint(
        config=config,
        state_dict=Spikformer(config).state_dict(),
        preprocess=Preprocess(pixel_scale=1 / 16, mean=(0.25,), std=(0.5,)),
        samples=LabelledImages(torch.randint(0, 17, (5, 8, 8, 1), dtype=torch.uint8), torch.tensor([0, 9, 3, 3, 1])),
        classes=tuple("0123456789"),
        training={"command": "none", "seed": 0, "masks": {"rpe.lif": [1, 1, 1, 0]}},
    )
