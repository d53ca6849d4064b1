"""What the integers cost in accuracy, on every held-out digit; and that no machine changes them."""

import numpy as np
import pytest

from dtss.compiler.frontend.source import Source
from dtss.compiler.passes.base import Target
from dtss.compiler.pipeline import Compiled, compile_graph
from dtss.compiler.schedule.format import TimeOrder
from dtss.compiler.schedule.hardware import load_hardware
from dtss.compiler.schedule.interpret import Execution, interpret


def test_integer_accuracy_is_that_of_the_float_network(digits: Source, execution: Execution) -> None:
    assert digits.labels is not None and len(digits.labels) >= 360
    float_right = digits.float_logits.argmax(1) == digits.labels
    integer_right = execution.logits.mean(0).argmax(1) == digits.labels
    assert integer_right.mean() >= float_right.mean() - 0.005
    assert float_right.mean() == digits.reference().sample_accuracy


def test_logits_are_near_the_float_ones(digits: Source, compiled: Compiled, execution: Execution) -> None:
    logits = execution.logits.mean(0) * compiled.schedule.output.scale
    assert np.abs(logits - digits.float_logits).mean() < 0.1 * np.abs(digits.float_logits).mean()
    assert (logits.argmax(1) == digits.float_logits.argmax(1)).mean() > 0.97


def test_pruning_shortens_the_masks(digits: Source, compiled: Compiled) -> None:
    average = compiled.schedule.average_time_steps
    assert 1.0 <= average.pruned < average.masks < digits.graph.time_steps
    lifs = compiled.schedule.lif_nodes
    assert average.masks == sum(len(lif.mask_steps) for lif in lifs) / len(lifs)
    assert average.pruned == sum(len(lif.steps.active) for lif in lifs) / len(lifs)


@pytest.mark.parametrize(("machine", "order"), [("wide-64x32", None), ("edge-16x16", "outer")])
def test_no_machine_and_no_time_order_changes_a_logit(
    digits: Source, execution: Execution, machine: str, order: TimeOrder | None
) -> None:
    other = compile_graph(digits.graph, Target(load_hardware(machine), order))
    assert {product.tiling.time_order for product in other.schedule.products if product.tiling} >= {order or "inner"}
    run = interpret(other.schedule, other.tensors, digits.images[:90].astype(np.int64))
    np.testing.assert_array_equal(run.logits, execution.logits[:, :90])
