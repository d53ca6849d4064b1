"""Which mutants are run: a part of each module's, and those that the accelerator's rules are about."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Sequence

from tests.rtl.mutation.sites import Mutant

SHARE, LEAST = 0.09, 6  # of a module's mutants

# Bugs that a machine of this kind has to be safe from: the beginnings of their mutants' names.
NAMED = {
    "a dropped AND of weight and spike": "ac_column: {WEIGHT_BITS{spikes[lane]}} & weights[lane*WEIGHT_BITS +: "
    "WEIGHT_BITS] → weights[lane*WEIGHT_BITS +: WEIGHT_BITS]",
    "the skipper's last word, off by one": "strip_engine: words_left <= GROUP_WORDS → words_left < GROUP_WORDS",
    "the skipper's next group, off by one": "strip_engine: group_index + 1 → group_index + (1 + 1)",
    "the skipper forgets which words it issued": "zero_skipper: flags & ~issued → flags",
    "the hard reset of a soft one": "lif_neuron: hard_reset → 1'b1",
    "the soft reset of a hard one": "lif_neuron: hard_reset → 1'b0",
    "an accumulator that is not cleared": "accumulator_file: reset || clear → reset",
    "a mask of the state that is ignored": "mask_unit: state_steps & window → window",
    "a mask of the output that is ignored": "mask_unit: step_live && |(step & active_steps) → step_live",
    "a membrane that a masked step writes": "membrane_memory: step_live && write → write",
    "the sign of a sum is lost": "accumulator_file: sum[SUM_BITS-1] → 1'b0",
    "the sign of half a sum is lost": "adder_tree: low[LOW_BITS-1] → 1'b0",
    "the sign of a membrane is lost": "lif_neuron: membrane >>> leak_shift → membrane >> leak_shift",
    "the sign of what leaks is lost": "lif_neuron: leaked[MEMBRANE_BITS-1] → 1'b0",
}


def sample(mutants: Sequence[Mutant]) -> list[Mutant]:
    """In the order of the source. By hashes of their names: a change of the source moves no other mutant in or out."""
    by_module: dict[str, list[Mutant]] = defaultdict(list)
    for mutant in mutants:
        by_module[mutant.module].append(mutant)
    chosen = {mutant for named in NAMED.values() for mutant in mutants if str(mutant).startswith(f"{named} in ")}
    for own in by_module.values():
        count = max(LEAST, math.ceil(SHARE * len(own)))
        chosen |= set(sorted(own, key=_rank)[:count])
    return [mutant for mutant in mutants if mutant in chosen]


def missing_names(mutants: Sequence[Mutant]) -> list[str]:
    """Named bugs that the source no longer has a place for."""
    texts = list(map(str, mutants))
    return [name for name, start in NAMED.items() if not any(text.startswith(f"{start} in ") for text in texts)]


def _rank(mutant: Mutant) -> bytes:
    return hashlib.sha256(str(mutant).encode()).digest()
