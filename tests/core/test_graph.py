"""Graphs: one node for equal applications, errors that say where, no silent NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import DtypeError, GraphError, ShapeError
from bigmodel_core.graph import Graph, Value, needed
from bigmodel_core.graph.spec import Spec


def an_input(*shape: Any, dtype: str = "float32", name: str = "x", graph: Graph | None = None) -> Value:
    return (graph or Graph()).input(name, Spec(shape, dtype))


def test_equal_applications_are_one_node() -> None:
    x = an_input("N", 3)
    assert (x + 1.0).node is (x + 1.0).node
    assert (x + 1.0).node is not (x + 2.0).node
    assert ops.leaky_relu(x, 0.1).node is not ops.leaky_relu(x, 0.2).node


def test_constants_of_equal_bits_are_one_node_and_others_are_not() -> None:
    graph = Graph()
    assert graph.constant([1.0, 2.0]).node is graph.constant([1.0, 2.0]).node
    assert graph.constant(0.0).node is not graph.constant(-0.0).node
    assert graph.constant(1, "int64").node is not graph.constant(1, "int32").node
    assert graph.constant([1.0]).node is not graph.constant([[1.0]]).node


def test_values_of_two_graphs_do_not_mix() -> None:
    with pytest.raises(GraphError, match="two graphs"):
        an_input(3) + an_input(3)


def test_shapes_are_checked_where_the_op_is_applied() -> None:
    graph = Graph()
    x = an_input("N", 400, graph=graph)
    with graph.scope("classifier/dense_2", "Dense"), pytest.raises(ShapeError) as caught:
        x @ graph.constant(np.zeros((256, 10), "float32"))
    assert str(caught.value).startswith("classifier/dense_2 (Dense): cannot multiply (N, 400) by (256, 10)")
    assert len(graph.nodes) == 2  # nothing was added


def test_number_types_do_not_mix_silently() -> None:
    graph = Graph()
    with pytest.raises(DtypeError, match="float32 and float64"):
        an_input(3, graph=graph) + an_input(3, dtype="float64", name="y", graph=graph)
    with pytest.raises(DtypeError, match=r"1\.5 does not fit values of type int64"):
        an_input(3, dtype="int64", name="z", graph=graph) + 1.5


def test_python_numbers_take_the_type_of_the_other_operand() -> None:
    for dtype in ("float32", "float64"):
        x = an_input(3, dtype=dtype)
        assert {(2 * x).dtype, (x / 3).dtype, (1.5 - x).dtype, (x**2).dtype} == {dtype}


def test_a_value_has_no_truth_and_cannot_be_iterated() -> None:
    x = an_input(3)
    with pytest.raises(GraphError, match="where"):
        bool(x > 0)
    with pytest.raises(GraphError, match="slice it"):
        list(x)


@pytest.mark.parametrize("function", [np.exp, np.asarray, np.sum, lambda x: np.concatenate([x, x])])
def test_numpy_functions_on_values_say_what_to_use(function: Any) -> None:
    with pytest.raises(GraphError, match=r"bm\.ops"):
        function(an_input(3))


def test_arrays_and_values_add_up_on_either_side() -> None:
    x = an_input("N", 3)
    array = np.ones(3, "float32")
    for value in (array + x, x + array, np.float32(2) * x, array - x, array < x, array == x, x != array):
        assert isinstance(value, Value)
        assert value.shape == ("N", 3)


def test_values_are_compared_by_number_and_found_by_identity() -> None:
    graph = Graph()
    x, y = an_input("N", 3, graph=graph), an_input("N", 3, name="y", graph=graph)
    assert [(x == y).dtype, (x != y).dtype, (x == 0.5).dtype, (np.float32(1) != x).dtype] == ["bool"] * 4
    assert (x == y).node.op == ops.comparison.Equal() and (
        x != [1, 2, 3]
    ).node.op == ops.comparison.NotEqual()
    assert {x: "x", y: "y"}[y] == "y" and len({x, y, x}) == 2
    assert (x == None, x != None, x == "x") == (False, True, False)  # noqa: E711  # what is no array
    with pytest.raises(GraphError, match="where"):
        assert y in [x, y]


def test_many_values_are_keys_of_a_dict() -> None:
    graph = Graph()
    values = [graph.input(f"x{number}", Spec((3,))) for number in range(10_000)]
    known = {value: number for number, value in enumerate(values)}
    assert [known[value] for value in values] == list(range(10_000))
    assert set(values) - set(values[:-1]) == {values[-1]}


def test_a_value_cannot_be_written_to() -> None:
    x = an_input("N", 3)
    with pytest.raises(GraphError, match=r"update_slice"):
        x[:, 0] = 0  # type: ignore[index]  # what is refused
    with pytest.raises(GraphError, match=r"update_slice"):
        x[:, 0] += 1


def test_needed_gives_each_node_after_its_inputs_and_no_other() -> None:
    x = an_input("N", 3)
    a = ops.exp(x)
    ops.log(x)  # not needed
    b = a * a + x
    found = needed([b])
    assert [type(node.op).__name__ for node in found] == ["Input", "Exp", "Multiply", "Add"]
    for position, node in enumerate(found):
        assert all(value.node in found[:position] for value in node.inputs)


def test_needed_copes_with_deep_graphs() -> None:
    x = an_input(3)
    for _ in range(5000):
        x = x + 1.0
    assert len(needed([x])) == 5002


def test_an_op_outside_a_graph_is_refused() -> None:
    from bigmodel_core.ops.random import RandomBits

    with pytest.raises(GraphError, match="no graph is being built"):
        RandomBits(0, (3,))()


def test_ops_take_values_alone() -> None:
    with pytest.raises(GraphError, match="MatMul was applied to a ndarray"):
        an_input(3, 3) @ np.eye(3, dtype="float32")


def test_an_op_without_gradient_says_so() -> None:
    from dataclasses import dataclass

    from bigmodel_core.graph.autodiff import gradients

    @dataclass(frozen=True)
    class Odd(bm.Op):
        def infer(self, x: Spec) -> Spec:
            return x

    x = an_input(3)
    with pytest.raises(GraphError, match="Odd has no gradient"):
        gradients(ops.sum(Odd()(x)), [x])


def test_a_node_is_repeated_in_another_graph_and_checked_where_shapes_differ() -> None:
    first, second = Graph(), Graph()
    node = (first.input("x", Spec((2, 3))) @ first.input("w", Spec((3, 4)))).node
    x = second.input("x", Spec((2, 3)))
    same = second.repeat(node, [x, second.input("w", Spec((3, 4)))])
    assert same is second.repeat(node, list(same.inputs)) is second.apply(node.op, same.inputs)
    assert second.repeat(node, [x, second.input("v", Spec((3, 5)))]).outputs[0].shape == (2, 5)
    with pytest.raises(ShapeError):
        second.repeat(node, [x, second.input("u", Spec((4, 4)))])
