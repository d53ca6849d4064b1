"""Runs passes in order: checks what each requires, verifies what it ensures, hands every graph to an observer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from dtss.compiler.graph.ir import Graph
from dtss.compiler.graph.verify import Stage, VerificationError, verify
from dtss.compiler.passes.base import Pass, Target

Observer = Callable[[str, Graph], None]


@dataclass(frozen=True, eq=False)
class PassResults:
    """What passes made of graphs for one target: a compilation that differs in a late pass starts there.

    Safe because passes are pure and graphs immutable; a graph equals another only if it is of the same nodes.
    """

    target: Target
    found: dict[tuple[Pass, Graph], Graph] = field(default_factory=dict)

    def run(self, step: Pass, graph: Graph) -> Graph:
        if (step, graph) not in self.found:
            self.found[step, graph] = step.run(graph, self.target)
        return self.found[step, graph]


def run_passes(
    graph: Graph,
    passes: Iterable[Pass],
    target: Target,
    disabled: frozenset[str] = frozenset(),
    observe: Observer = lambda name, graph: None,
    results: PassResults | None = None,
) -> Graph:
    """The graph after all passes, the disabled ones switched off; `observe` sees it after each.

    results: of earlier compilations for the same target, which this one uses and adds to.
    """
    results = results or PassResults(target)
    assert results.target is target
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
        graph = results.run(step, graph)
        stages = (stages - step.removes) | step.ensures
        verify(graph, stages, step.name)
        observe(step.name, graph)
    return graph
