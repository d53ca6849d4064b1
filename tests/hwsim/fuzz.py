"""Mutates a schedule and its tensors and simulates what is still accepted. `python fuzz.py SCHEDULE COUNT SEED`.

Memory is limited and each case has seconds; every case ends in a result or in one `BadInputError`, or is printed.
Prints JSON: the cases that were refused, those that ran, and the faults.
"""

from __future__ import annotations

import copy
import hashlib
import json
import random
import resource
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from dtss.compiler.schedule.errors import UserError
from dtss.compiler.schedule.io import load
from dtss.hwsim.images import load_samples
from dtss.hwsim.report.result_json import encode
from dtss.hwsim.simulate import simulate
from dtss.hwsim.technology import load_technology

MEMORY_BYTES = 3 << 30
SECONDS = 20  # of the processor: what else runs on the machine ends no case
STRANGE: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2, 3, 7, 64, 65, 255, 2**20, 2**31, 2**47, 2**63, 2**64, -(2**63), 0.5, -0.0, 1e308, "",
    "inner", "outer", "head", "image", "\0", "../x", "é" * 300, [], [0], [3, 2, 1], [0, 0], [-1], [10**9], {},
    {"kind": "lif"},
)  # fmt: skip


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a JSON document."""
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def mutate_document(document: Any, dice: random.Random) -> str:
    """One change in place; says which."""
    path = dice.choice(list(places(document)))
    parent = document
    for key in path[:-1]:
        parent = parent[key]
    last = path[-1]
    match dice.randrange(6):
        case 0 | 1:
            parent[last] = copy.deepcopy(dice.choice(STRANGE))
        case 2:
            del parent[last]
        case 3 if isinstance(parent[last], int) and not isinstance(parent[last], bool):
            parent[last] += dice.choice((-2, -1, 1, 2, 1000, -parent[last] * 2))
        case 4 if isinstance(parent, list):
            parent.insert(dice.randrange(len(parent) + 1), copy.deepcopy(parent[last]))
        case _:
            other = dice.choice(list(places(document)))
            source = document
            for key in other:
                source = source[key]
            parent[last] = copy.deepcopy(source)
    return "/".join(map(str, path))


def mutate_tensors(tensors: dict[str, np.ndarray], dice: random.Random) -> str:
    """One tensor gone, of another type or shape, or with other values."""
    name = dice.choice(sorted(tensors))
    tensor = tensors[name]
    match dice.randrange(6):
        case 0:
            del tensors[name]
        case 1:
            tensors[name] = tensor.astype(dice.choice((np.float32, np.int8, np.uint8, np.int64, np.float64, np.bool_)))
        case 2:
            tensors[name] = tensor.reshape(-1)[: dice.randrange(tensor.size + 1)]
        case 3:
            limits = np.iinfo(tensor.dtype) if tensor.dtype.kind in "iu" else None
            value = float("nan") if limits is None else dice.choice((limits.min, limits.max))
            tensors[name] = np.full_like(tensor, value)
        case 4:
            tensors[name] = tensor[None]
        case _:
            changed = tensor.copy()
            changed.reshape(-1)[dice.randrange(tensor.size)] = dice.choice((0, 1, 127))
            tensors[name] = changed
    return name


def mutate_bytes(content: bytes, dice: random.Random) -> bytes:
    """Cut off, or with some bytes changed."""
    if dice.random() < 0.2:
        return content[: dice.randrange(len(content))]
    changed = bytearray(content)
    for _ in range(dice.choice((1, 1, 1, 8))):
        changed[dice.randrange(len(changed))] = dice.randrange(256)
    return bytes(changed)


def write_case(folder: Path, document: Any, tensors: dict[str, np.ndarray], dice: random.Random) -> str:
    """A mutated schedule at folder/s.json; says what was changed."""
    document, tensors = copy.deepcopy(document), dict(tensors)
    kind = dice.choice(("document", "document", "document", "tensors", "both", "json bytes", "tensor bytes"))
    said = [kind]
    if kind in ("tensors", "both"):
        said.append(mutate_tensors(tensors, dice))
    side_car = safetensors.numpy.save(tensors)
    if kind == "tensor bytes":
        side_car = mutate_bytes(side_car, dice)
    document["tensors"] = {"file": "s.safetensors", "sha256": hashlib.sha256(side_car).hexdigest()}
    changes = dice.choice((1, 1, 2, 4)) if kind in ("document", "both") else 0
    said += [mutate_document(document, dice) for _ in range(changes)]
    text = json.dumps(document).encode()
    if kind == "json bytes":
        text = mutate_bytes(text, dice)
    (folder / "s.safetensors").write_bytes(side_car)
    (folder / "s.json").write_bytes(text)
    return ", ".join(said)


def run_case(path: Path) -> None:
    technology = load_technology("45nm")
    loaded = load(path)
    encode(simulate(loaded, load_samples(loaded, str(path), None, 1), technology))


def too_long(signal_number: int, frame: object) -> None:
    raise TimeoutError(f"more than {SECONDS} s of the processor")


def main(schedule: Path, count: int, seed: int) -> None:
    document = json.loads(schedule.read_text())
    tensors = safetensors.numpy.load_file(schedule.with_suffix(".safetensors"))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGPROF, too_long)
    run_case(schedule)  # numba compiles
    refused, ran, faults = 0, 0, []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            what = write_case(Path(folder), document, tensors, random.Random(f"{seed} {number}"))
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            try:
                run_case(Path(folder) / "s.json")
                ran += 1
            except UserError as error:
                refused += 1
                if "\n" in str(error) or len(str(error)) > 1000:
                    faults.append({"case": number, "what": what, "error": f"long message: {str(error)[:300]}"})
            except Exception as error:  # noqa: BLE001 - any other end is what is looked for
                last = "".join(traceback.format_exception(error)[-2:])
                faults.append({"case": number, "what": what, "error": f"{type(error).__name__}: {last[-500:]}"})
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
    print(json.dumps({"refused": refused, "ran": ran, "faults": faults}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
