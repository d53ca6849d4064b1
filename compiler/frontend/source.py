"""What a front end hands to the compiler, and which front end reads which file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dtss.compiler.graph.ir import Graph
from dtss.compiler.schedule import io
from dtss.compiler.schedule.format import FloatReference


@dataclass(frozen=True, eq=False)
class Source:
    """A float graph with the held-out images that came with it.

    images uint8 [B, H, W, C], labels int64 [B], float_logits [B, K] of the source framework on these images.
    """

    graph: Graph
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    float_logits: NDArray[np.float32]
    trained_accuracy: float | None

    def sample_tensors(self) -> dict[str, np.ndarray]:
        """The images as the schedule's side-car keeps them."""
        return {io.IMAGES: self.images, io.LABELS: self.labels, io.FLOAT_LOGITS: self.float_logits}

    def reference(self) -> FloatReference:
        right = self.float_logits.argmax(1) == self.labels
        return FloatReference(
            trained_accuracy=self.trained_accuracy, sample_accuracy=float(right.mean()) if len(right) else None
        )


def read_source(path: Path) -> Source:
    """The model in `path`. dtss checkpoints are the one form understood so far."""
    from dtss.compiler.frontend import dtss  # noqa: PLC0415 - torch loads only when a checkpoint is read

    return dtss.read(path)
