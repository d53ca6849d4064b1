from __future__ import annotations
import numpy as np
from dtss.compiler.schedule.format import AttentionProduct


def by_group(node, cut, value):
    if isinstance(node, AttentionProduct) and node.stage in ("query_key_value", "score_value"):
        return value.reshape(cut.positions, cut.groups, -1).swapaxes(0, 1)
    return value.reshape(cut.groups, cut.positions, -1)
