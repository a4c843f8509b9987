"""Which steps wait for which, told from what they read and write."""

from __future__ import annotations

from bigmodel_core import ops
from bigmodel_core.graph import Graph, Value
from bigmodel_core.graph.spec import Spec
from bigmodel_core.plan.dependencies import Dependencies
from bigmodel_core.plan.steps import Step


def step_of(value: Value) -> Step:
    return Step([value.node], list(value.node.inputs), list(value.node.outputs))


def diamond() -> tuple[Dependencies, list[Value]]:
    """x, then two that read it, then one that reads both; given in another order."""
    graph = Graph()
    x = ops.exp(graph.input("x", Spec((3,))))
    left, right = ops.tanh(x), ops.relu(x)
    end = left + right
    values = [end, right, x, left]
    roots = {id(value): value for node in graph.nodes for value in node.outputs}
    return Dependencies([step_of(value) for value in values], roots), values


def test_a_step_waits_for_those_that_compute_its_inputs() -> None:
    found, values = diamond()
    assert found.before == [{1, 3}, {2}, set(), {2}]
    assert found.after == [set(), {0}, {1, 3}, {0}]
    assert [found.producer(value) for value in values] == [0, 1, 2, 3]
    assert found.readers(values[2]) == [1, 3]


def test_delays_are_seen_through_others() -> None:
    found, _ = diamond()
    assert found.delays(2, {0})
    assert not found.delays(1, {3, 2})
    found.wait(3, [1])
    assert found.delays(1, {3, 2})


def test_a_step_that_is_added_waits_for_its_inputs_and_delays_none() -> None:
    found, (end, *_) = diamond()
    number = found.add(step_of(-end))
    assert found.before[number] == {0}
    assert found.delays(2, {number})
    assert not found.delays(number, {0, 1, 2, 3})
