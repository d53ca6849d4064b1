"""The network's outputs as a .npz file."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dtss.hwsim.result import Result


def outputs_npz(result: Result) -> bytes:
    """logits [B, K] and logits_per_step [T, B, K] in float units, labels [B] if known, spike_counts/<LIF> [B, T]."""
    arrays: dict[str, NDArray[Any]] = {"logits": result.logits, "logits_per_step": result.logits_per_step}
    if result.samples.labels is not None:
        arrays["labels"] = result.samples.labels
    arrays |= {f"spike_counts/{node.name}": node.spikes for node in result.nodes if node.spikes is not None}
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()
