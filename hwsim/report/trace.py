"""One image's timeline in the trace event format, for ui.perfetto.dev or chrome://tracing.

Tracks: the layers, the runs of their blocks, the blocks' transfers, the image's; and counters of each layer's rates. A
microsecond of the trace is one of the machine.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from dtss.hwsim.result import NodeResult, Result

PROCESS = 1
LAYERS, RUNS, DRAM, IMAGE = 1, 2, 3, 4
TRACKS = {LAYERS: "layers", RUNS: "runs", DRAM: "DRAM", IMAGE: "image"}  # the image comes beside the first blocks

Event = dict[str, Any]


def encode_trace(result: Result, image: int = 0) -> bytes:
    """JSON, one event a line, in the order of time."""
    events = [*_layers(result, image), *_runs(result, image), *_transfers(result, image)]
    events.sort(key=lambda event: (event["ts"], event["tid"], event["name"]))
    lines = ",\n".join(json.dumps(event) for event in (*_names(result, image), *events))
    return f'{{"displayTimeUnit": "ns", "traceEvents": [\n{lines}\n]}}\n'.encode()


def _names(result: Result, image: int) -> Iterator[Event]:
    title = f"{result.schedule.network} on {result.schedule.hardware.name}, image {image}"
    yield {"ph": "M", "pid": PROCESS, "tid": 0, "name": "process_name", "args": {"name": title}}
    for track, name in TRACKS.items():
        yield {"ph": "M", "pid": PROCESS, "tid": track, "name": "thread_name", "args": {"name": name}}


def _slice(result: Result, track: int, name: str, begin: int, end: int, details: dict[str, object]) -> Event:
    clock = result.schedule.hardware.frequency_mhz
    return {
        "ph": "X",
        "pid": PROCESS,
        "tid": track,
        "name": name,
        "ts": begin / clock,
        "dur": (end - begin) / clock,
        "args": {"first cycle": begin, "cycles": end - begin, **details},
    }


def _layers(result: Result, image: int) -> Iterator[Event]:
    """A slice from a node's first wait or run to its last run's end, and its rates while it lasts."""
    at = 0
    for node in result.nodes:
        begin, at = at, at + int(node.cycles[image])
        if at > begin:
            yield _slice(result, LAYERS, node.name, begin, at, _details(node, image))
            for name, rate in _rates(result, node, image).items():
                yield _counter(result, name, begin, rate)
    for name in ("share of lanes that add", "words a cycle"):
        yield _counter(result, name, at, 0.0)


def _details(node: NodeResult, image: int) -> dict[str, object]:
    counts = {name: int(getattr(node.counts, name)[image]) for name in node.counts.__struct_fields__}
    return {
        "kind": node.kind,
        "waits for DRAM": int(node.dram.stall_cycles[image]),
        "energy pJ": float((node.compute_pj + node.memory_pj + node.leakage_pj)[image]),
        **{name.replace("_", " "): count for name, count in counts.items() if count and name != "cycles"},
    }


def _rates(result: Result, node: NodeResult, image: int) -> dict[str, float]:
    """Means over the node's cycles."""
    lanes, cycles = result.schedule.hardware.array.lanes, int(node.cycles[image])
    return {
        "share of lanes that add": int(node.counts.accumulates[image]) / (cycles * lanes),
        "words a cycle": int(node.counts.words_issued[image]) / cycles,
    }


def _counter(result: Result, name: str, cycle: int, value: float) -> Event:
    time = cycle / result.schedule.hardware.frequency_mhz
    return {"ph": "C", "pid": PROCESS, "tid": 0, "name": name, "ts": time, "args": {"value": round(value, 6)}}


def _runs(result: Result, image: int) -> Iterator[Event]:
    blocks = Counter(name for name, _ in result.timeline.runs)
    for (name, block), (begin, end) in result.timeline.runs.items():
        if end[image] > begin[image]:
            label = f"{name}, block {block + 1} of {blocks[name]}" if blocks[name] > 1 else name
            yield _slice(result, RUNS, label, int(begin[image]), int(end[image]), {})


def _transfers(result: Result, image: int) -> Iterator[Event]:
    first = result.schedule.nodes[0].name
    for (name, block), (begin, end) in result.timeline.transfers.items():
        track, label = (IMAGE, "image") if name == first else (DRAM, f"{name}, block {block + 1}")
        yield _slice(result, track, label, int(begin[image]), int(end[image]), {})
