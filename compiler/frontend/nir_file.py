"""A NIR file as nodes and edges, subgraphs inlined. HDF5 holds arrays only, so nothing in a file is ever run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
from nir.serialization import hdf2dict

from dtss.compiler.errors import CompileError
from dtss.compiler.schedule.errors import BadInputError

LARGEST_FILE_VALUES = 1 << 28  # numbers in all arrays of a file together: two gigabytes of doubles
HINT = "give a graph that nir.write wrote"
DAMAGE = (
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
)


@dataclass
class NirGraph:
    """Nodes of NIR's own classes by name, edges (source, target), and the one input and output."""

    nodes: dict[str, Any] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    entry: str = ""
    leave: str = ""


def read_file(path: Path) -> NirGraph:
    """The graph, after a look at what the file claims to hold."""
    where = str(path)
    try:
        with h5py.File(path, "r") as file:
            _refuse_hostile(where, file)
            content = hdf2dict(file["node"]) if isinstance(file.get("node"), h5py.Group) else {}
    except FileNotFoundError:
        raise BadInputError(where, "cannot be read (No such file or directory)", "check the path") from None
    except OSError:
        raise BadInputError(where, "is no HDF5 file, or a truncated one", HINT) from None
    except DAMAGE as error:
        raise BadInputError(where, f"is no readable HDF5 file ({_reason(error)})", HINT) from None
    kind = _kind(content)
    if kind != "NIRGraph":
        found = f"holds a single {kind}" if kind else "is an HDF5 file without a NIR graph"
        raise BadInputError(where, found, HINT)
    return _inlined(where, "", content)


def _refuse_hostile(where: str, file: h5py.File) -> None:
    """Before anything is loaded: links, numbers that lie elsewhere, and absurd sizes."""
    values = 0
    for name, item in _items(where, file, "", set()):
        if not isinstance(item, h5py.Dataset):
            continue
        if item.external or item.is_virtual:
            raise BadInputError(f"{where}: {name}", "keeps its numbers in another file", "give one whole file")
        values += int(np.prod(item.shape or (), dtype=object))
        if values > LARGEST_FILE_VALUES:
            found = f"claims {values} numbers"
            raise BadInputError(f"{where}: {name}", found, f"a graph has at most {LARGEST_FILE_VALUES}")


def _items(where: str, group: h5py.Group, name: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Everything below a group, each thing once: a file may link to itself."""
    for key in group:
        full = f"{name}/{key}".lstrip("/")
        item = group[key] if isinstance(group.get(key, getlink=True), h5py.HardLink) else None
        if item is None or h5py.h5o.get_info(item.id).addr in seen:
            raise BadInputError(f"{where}: {full}", "is a link", "give one whole file")
        seen.add(h5py.h5o.get_info(item.id).addr)
        yield full, item
        if isinstance(item, h5py.Group):
            yield from _items(where, item, full, seen)


def _inlined(where: str, prefix: str, content: dict[str, Any]) -> NirGraph:
    """A graph with every subgraph's nodes in its place; a subgraph's input and output pass values on."""
    graph, nodes = NirGraph(), content.get("nodes")
    ends: dict[str, tuple[str, str]] = {}  # where edges to and from a node lead
    if not isinstance(nodes, dict):
        raise BadInputError(where, f"its graph {prefix.rstrip('.')} has no nodes".replace("  ", " "), HINT)
    for key, node in nodes.items():
        name = f"{prefix}{key}"
        if _kind(node) == "NIRGraph":
            inner = _inlined(where, f"{name}.", node)
            ends[key] = inner.entry, inner.leave
            graph.nodes |= inner.nodes
            graph.edges += inner.edges
        else:
            graph.nodes[name] = _node(f"{where}: {name}", node)
            ends[key] = name, name
    for source, target in _edges(where, content.get("edges")):
        for end in (source, target):
            if end not in ends:
                raise BadInputError(
                    where, f"an edge names {prefix}{end}, and no node has that name", "repair the graph"
                )
        graph.edges.append((ends[source][1], ends[target][0]))
    own = {name: graph.nodes[name] for name in (f"{prefix}{key}" for key in nodes) if name in graph.nodes}
    graph.entry, graph.leave = (_only(where, prefix, own, kind) for kind in (nir.Input, nir.Output))
    return graph


def _kind(content: Any) -> str:
    kind = content.get("type") if isinstance(content, dict) else None
    return kind if isinstance(kind, str) else ""


def _node(where: str, content: Any) -> Any:
    """A node as NIR's own class."""
    kind = _kind(content)
    if not kind:
        raise BadInputError(where, "has no type", HINT)
    known = getattr(nir, kind) if kind in nir.ir.__all__ else None
    if not isinstance(known, type) or known is nir.NIRNode:
        raise BadInputError(where, f"is a {kind[:40]}, which NIR does not have", "export it with nir 1.0")
    try:
        with np.errstate(all="ignore"):  # NIR divides by a stride before anybody looks at it
            return nir.dict2NIRNode(content)
    except DAMAGE as error:
        raise BadInputError(where, f"is no sound {kind} ({_reason(error)})", HINT) from None


def _edges(where: str, edges: Any) -> list[tuple[str, str]]:
    pairs = np.empty((0, 2), object) if edges is None or not np.size(edges) else np.asarray(edges, object)
    if len(pairs.shape) != 2 or pairs.shape[1] != 2:
        raise BadInputError(where, f"its edges have shape {pairs.shape}", "repair the graph")
    return [(_text(source), _text(target)) for source, target in pairs]


def _only(where: str, prefix: str, nodes: dict[str, Any], kind: type) -> str:
    names = [name for name, node in nodes.items() if isinstance(node, kind)]
    if len(names) != 1:
        graph = f"{where}: {prefix.rstrip('.')}" if prefix else where
        raise CompileError(graph, f"has {len(names)} {kind.__name__} nodes", "give one input and one output")
    return names[0]


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:120]}" if text else type(error).__name__
