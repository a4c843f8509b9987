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


def test_ops_refuse_what_is_no_array() -> None:
    with pytest.raises(GraphError, match=r"MatMul was applied to a str"):
        ops.linear.MatMul()(an_input(3, 3), "weight")  # type: ignore[arg-type]  # what is refused


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


# Arrays and numbers in the place of Values ----------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arrays_of_floats_take_the_type_of_the_values_beside_them(dtype: str) -> None:
    x, weight = an_input(2, 3, dtype=dtype), np.full((3, 3), 0.1)
    for value in (
        *(x + weight[0], weight[0].astype("float32") - x, x * np.arange(3), x / np.float32(3), 2.5 * x),
        *(x @ weight, weight.T[:2, :2] @ x, ops.matmul(x, b=weight), ops.affine(x, weight, np.ones(3))),
        *(ops.where(np.ones(3, bool), x, 0.1), ops.concatenate([weight, x], 0), np.sqrt(2) * x),
        *(ops.maximum(x, [0.1, 0.2, 0.3]), ops.layer_norm(x, np.ones(3), np.zeros(3))),
    ):
        assert value.dtype == dtype


def test_arrays_of_indices_and_labels_keep_their_type() -> None:
    x = an_input(2, 3)
    assert ops.gather(x, np.array([1, 0])).shape == (2, 3)
    assert ops.cross_entropy(x, np.array([1, 0], "int32")).shape == (2,)
    assert ops.gather(np.eye(3), x.astype("int64")).dtype == "float64"


def test_numbers_alone_are_float32_and_arrays_what_they_are() -> None:
    graph = Graph()
    with graph.active():
        found = {
            "float32": [ops.constant(0.5), ops.constant([1, 0.5]), ops.where(np.ones(2, bool), 1, 0.5)],
            "float64": [ops.constant(np.ones(2)), ops.exp(np.ones(2)), ops.add(np.ones(2), 1)],
            "int64": [ops.constant(3), ops.constant([[1], [2]]), ops.arange(4), ops.add(1, 2)],
            "bool": [ops.constant(True), ops.logical_not(np.ones(2, bool))],
            "uint8": [ops.constant(np.zeros(2, "uint8")), ops.constant([1, 2], "uint8")],
        }
    for dtype, values in found.items():
        assert {value.dtype for value in values} == {dtype}
        assert all(value.node.graph is graph for value in values)


@pytest.mark.parametrize(
    "call",
    [
        lambda: ops.sum(np.ones(3)),
        lambda: ops.exp(2.0),
        lambda: ops.add(np.ones(3), 1),
        lambda: ops.arange(3),
    ],
    ids=["sum", "exp", "add", "arange"],
)
def test_arrays_outside_of_a_graph_are_told_where_ops_belong(call: Any) -> None:
    with pytest.raises(GraphError, match=r"(?s)no graph is being built.*bm\.function.*testing\.compute"):
        call()


def test_what_is_no_value_is_passed_on_as_it_is() -> None:
    x = an_input(2, 3)
    assert ops.reshape(x, np.array([3, 2])).shape == (3, 2)
    assert ops.sum(x, axis=1, keepdims=True).shape == (2, 1)
    assert ops.update_slice(x, np.zeros((1, 1)), (0, 1)).dtype == "float32"


def test_values_have_the_operators_and_methods_of_arrays() -> None:
    x = np.random.default_rng(0).normal(size=(2, 1, 3))
    a = np.array([[3, 0, -5]])

    def both(x: Any, a: Any) -> list[Any]:
        found = [x.T, x.sum(), x.sum(1), x.mean((0, 2), keepdims=True), x.max(-1), x.min()]
        found += [x.argmax(), x.argmax(2), x.argmax(keepdims=True), x.round(), x.round(2)]
        found += [x.argmin(), x.argmin(-1, keepdims=True)]
        found += [x.prod(), x.prod(1), x.var(), x.std(2), x.any(), (x > 0).all(2), x.cumsum(), x.cumsum(2)]
        found += [x.transpose(), x.transpose(1, 0, 2), x.transpose((2, 1, 0)), x.squeeze(), x.squeeze(1)]
        found += [x.flatten(), x.reshape(3, 2), x.reshape((3, -1))]
        found += [x % 0.7, 2 % x, x // 0.3, 1 // x, a % 3, 7 // (a + 1), abs(x), x @ x.reshape(3, 2)]
        found += [~(x > 0), (x > 0) & (x < 1), (x > 0) | (a > 0), (x > 0) ^ (a > 0), True ^ (a > 0)]
        return found

    for found, wanted in zip(bm.testing.compute(both, x, a), both(x, a), strict=True):
        assert found.shape == np.shape(wanted)
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
    assert an_input("N", 3).size == "3*N"
