"""Verilog that holds many mutants, of which a simulation chooses one with +mutant=N; with none it is as it was."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from tests.rtl.mutation.sites import Mutant

PACKAGE_FILE = "_mutant_choice.v"  # comes before every module by name, as a package has to
CHOSEN = "mutant_choice::chosen"
PACKAGE = """package mutant_choice;
    int chosen = choice();
    function automatic int choice();
        if (!$value$plusargs("mutant=%d", choice))
            choice = 0;
    endfunction
endpackage
"""


def write_schemata(sources: Sequence[Path], mutants: Mapping[int, Mutant], folder: Path) -> list[Path]:
    """The modules with their mutants, and the package that chooses, in the order in which a simulator wants them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PACKAGE_FILE).write_text(PACKAGE)
    written = [folder / PACKAGE_FILE]
    for path in sources:
        own = {number: mutant for number, mutant in mutants.items() if mutant.module == path.stem}
        written.append(folder / path.name)
        written[-1].write_bytes(with_mutants(path.read_bytes(), own))
    return written


def with_mutants(content: bytes, mutants: Mapping[int, Mutant]) -> bytes:
    """One module's source. Places are nested or apart, for they are nodes of its syntax."""
    places = sorted(mutants.items(), key=lambda item: (item[1].start, -item[1].end))
    nested = [((start, end), list(own)) for (start, end), own in groupby(places, lambda item: _place(item[1]))]
    return _rewritten(content, 0, len(content), nested)


Places = Sequence[tuple[tuple[int, int], list[tuple[int, Mutant]]]]


def _rewritten(content: bytes, start: int, end: int, places: Places) -> bytes:
    """Bytes [start, end) with their places, outermost first, in the order of the source."""
    pieces, here = [], start
    for (first, last), mutants in places:
        if first < here:
            continue  # inside of the one before
        inside = [
            place for place in places if first <= place[0][0] and place[0][1] <= last and place[0] != (first, last)
        ]
        pieces += [content[here:first], _chosen(mutants, _rewritten(content, first, last, inside))]
        here = last
    return b"".join((*pieces, content[here:end]))


def _chosen(mutants: Iterable[tuple[int, Mutant]], original: bytes) -> bytes:
    """A mutant is chosen alone, so that its own text needs none of the others."""
    choices = "".join(f"{CHOSEN} == {number} ? ({_code(mutant.mutated)}) : " for number, mutant in mutants)
    return b"(" + choices.encode() + b"(" + original + b"))"


def _code(text: str) -> str:
    """Without comments, one of which would end the line."""
    return re.sub(r"//[^\n]*", "", text)


def _place(mutant: Mutant) -> tuple[int, int]:
    return mutant.start, mutant.end
