"""Runs passes in order: checks what each requires, verifies what it ensures, hands every graph to an observer."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dtss.compiler.graph.ir import Graph
from dtss.compiler.graph.verify import Stage, VerificationError, verify
from dtss.compiler.passes.base import Pass, Target

Observer = Callable[[str, Graph], None]


def run_passes(
    graph: Graph,
    passes: Iterable[Pass],
    target: Target,
    disabled: frozenset[str] = frozenset(),
    observe: Observer = lambda name, graph: None,
) -> Graph:
    """The graph after all passes, the disabled ones switched off; `observe` sees it after each."""
    stages = frozenset({Stage.FLOAT})
    verify(graph, stages, "the front end")
    observe("frontend", graph)
    for listed in passes:
        step = listed.switched_off() if listed.name in disabled else listed
        if step is None:
            continue
        missing = step.requires - stages
        if missing:
            names = ", ".join(sorted(stage.name for stage in missing))
            raise VerificationError(f"{step.name} requires {names}, which no pass before it ensures")
        graph = step.run(graph, target)
        stages = (stages - step.removes) | step.ensures
        verify(graph, stages, step.name)
        observe(step.name, graph)
    return graph
