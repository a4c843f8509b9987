"""Plans: fusion, memory and order never change a result. The oracle is NumPy in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import BigmodelError, DataError, DeviceError, GraphError, NumericsError, ShapeError
from bigmodel_core.graph import Graph, Value
from bigmodel_core.graph.spec import Spec, broadcast
from bigmodel_core.kernels import cache
from bigmodel_core.plan import Program, Variables, device_named, grouping
from bigmodel_core.plan.placement import ALIGNMENT, Lifetime, offsets_of

CPU = device_named("cpu")


def run(graph: Graph, outputs: list[Value], inputs: dict[str, Any] | None = None) -> list[np.ndarray]:
    return Program(graph, outputs).run(Variables(CPU), inputs or {})


# Random graphs -----------------------------------------------------------------------------

Pool = list[tuple[Value, np.ndarray]]

UNARY: list[tuple[Callable[[Any], Any], Callable[[Any], Any]]] = [
    (ops.relu, lambda x: np.maximum(x, 0)),
    (ops.tanh, np.tanh),
    (lambda x: ops.exp(-ops.absolute(x)), lambda x: np.exp(-np.abs(x))),
    (lambda x: x * 0.5 + 1.0, lambda x: x * 0.5 + 1.0),
    (lambda x: ops.where(x > 0.25, x, -x), lambda x: np.where(x > 0.25, x, -x)),
]
BINARY: list[tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any]]] = [
    (lambda a, b: a + b, np.add),
    (lambda a, b: a - b, np.subtract),
    (lambda a, b: ops.tanh(a * b), lambda a, b: np.tanh(a * b)),
    (ops.maximum, np.maximum),
]


def random_graph(seed: int, size: int = 18) -> tuple[Graph, dict[str, np.ndarray], Pool]:
    """Elementwise ops, reductions, products and reshapes, beside what NumPy makes of it."""
    random = np.random.default_rng(seed)
    graph, n, k = Graph(), int(random.integers(1, 40)), int(random.choice([1, 3, 8, 17]))
    given = {"x": random.standard_normal((n, k)), "row": random.standard_normal((k,))}
    pool: Pool = [
        (graph.input("x", Spec(("N", k), "float64")), given["x"]),
        (graph.input("row", Spec((k,), "float64")), given["row"]),
    ]
    weight = random.standard_normal((k, k)) / np.sqrt(k)
    pool.append((graph.constant(weight), weight))
    for _ in range(size):
        value, array = pool[random.integers(len(pool))]
        kind = random.choice(["unary", "binary", "binary", "reduce", "product", "shape"])
        if kind == "unary":
            ours, theirs = UNARY[random.integers(len(UNARY))]
            pool.append((ours(value), theirs(array)))
        elif kind == "binary":
            ours2, theirs2 = BINARY[random.integers(len(BINARY))]
            other = [item for item in pool if _broadcasts(item[0].shape, value.shape)]
            second, array2 = other[random.integers(len(other))]
            pool.append((ours2(value, second), theirs2(array, array2)))
        elif kind == "reduce" and value.ndim:
            axis = int(random.integers(value.ndim))
            keep = bool(random.integers(2))
            pool.append((ops.max(value, axis, keepdims=keep), array.max(axis, keepdims=keep)))
            pool.append((ops.mean(value, axis, keepdims=keep), array.mean(axis, keepdims=keep)))
        elif kind == "product" and value.ndim == 2 and value.shape[1] == k:
            pool.append((value @ pool[2][0], array @ weight))
        elif kind == "shape" and value.ndim == 2:
            if random.integers(2):
                pool.append((ops.transpose(value), array.T))
            else:
                pool.append((ops.reshape(value, (-1,)), array.reshape(-1)))
    return graph, given, pool


def _broadcasts(a: Any, b: Any) -> bool:
    try:
        broadcast(a, b)
    except ShapeError:
        return False
    return True


@pytest.mark.parametrize("seed", range(8))
def test_random_graphs_compute_what_numpy_does(seed: int) -> None:
    graph, given, pool = random_graph(seed)
    wanted = pool[-6:] + pool[3:5]
    for (_, expected), found in zip(wanted, run(graph, [value for value, _ in wanted], given), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("seed", [0, 1, 4])
def test_fusion_changes_no_result(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, given, pool = random_graph(seed)
    wanted = [value for value, _ in pool[-8:]]
    fused = Program(graph, wanted)
    with monkeypatch.context() as patch:
        patch.setattr(grouping, "MAX_PARTS", 1)
        plain = Program(graph, wanted)
    assert sum(len(step.nodes) > 1 for step in fused.steps) > 0
    assert all(len(step.nodes) == 1 for step in plain.steps)
    variables = Variables(CPU)
    for one, other in zip(fused.run(variables, given), plain.run(variables, given), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


def test_a_chain_of_elementwise_ops_is_one_step_and_follows_its_product() -> None:
    graph = Graph()
    x, w = graph.input("x", Spec(("N", 8))), graph.constant(np.ones((8, 16), "float32"))
    (step,) = Program(graph, [ops.tanh(ops.relu(x @ w) * 2.0 + 1.0)]).steps
    assert step.epilogue is not None
    assert len(step.epilogue.nodes) >= 3


def test_fusion_never_makes_steps_wait_for_themselves() -> None:
    graph = Graph()
    x = graph.input("x", Spec((4, 4)))
    a = x * 2.0
    total = ops.sum(a, 1, keepdims=True)  # lies between a and b: the two cannot be one kernel
    b = a - total
    c = b * a
    given = np.arange(16, dtype="float32").reshape(4, 4)
    (found,) = run(graph, [c], {"x": given})
    doubled = given * 2
    np.testing.assert_allclose(found, (doubled - doubled.sum(1, keepdims=True)) * doubled)


def test_groups_of_older_and_later_nodes_never_wait_for_themselves() -> None:
    graph = Graph()
    x, y = graph.input("x", Spec((4, 4))), graph.input("y", Spec((3, 5)))
    old = x * 3.0
    inner = ops.sum(old, 1)  # older than all that is to be joined, but made of what has a part that is later
    a = y * 2.0
    later = old + ops.sum(a)
    b = a + ops.sum(inner)
    given = {"x": np.arange(16.0, dtype="float32").reshape(4, 4), "y": np.ones((3, 5), "float32")}
    found = run(graph, [later, b], given)
    np.testing.assert_allclose(found[0], given["x"] * 3 + 30)
    np.testing.assert_allclose(found[1], given["y"] * 2 + 360)


def test_chains_longer_than_a_kernel_are_cut() -> None:
    graph = Graph()
    x = graph.input("x", Spec((5,), "float64"))
    y = x
    for step in range(grouping.MAX_PARTS + 10):
        y = y * 1.01 + float(step)
    given = np.linspace(-1, 1, 5)
    expected = given
    for step in range(grouping.MAX_PARTS + 10):
        expected = expected * 1.01 + float(step)
    np.testing.assert_allclose(run(graph, [y], {"x": given})[0], expected, rtol=1e-12)


# Memory -----------------------------------------------------------------------------

LIVES = st.lists(
    st.tuples(st.integers(0, 5000), st.integers(0, 12), st.integers(0, 12)).map(
        lambda t: Lifetime(t[0], min(t[1:]), max(t[1:]))
    ),
    max_size=30,
)


@given(LIVES, st.sampled_from([0, 256]))
def test_buffers_that_live_together_never_overlap(lives: list[Lifetime], padding: int) -> None:
    offsets, total = offsets_of(lives, padding)
    ends = [offset + life.nbytes + padding for offset, life in zip(offsets, lives, strict=True)]
    assert all(offset % ALIGNMENT == 0 for offset in offsets)
    assert max(ends, default=0) <= total
    for i, a in enumerate(lives):
        for j, b in enumerate(lives[:i]):
            if a.first <= b.last and b.first <= a.last:
                assert ends[i] <= offsets[j] or ends[j] <= offsets[i]


@given(LIVES)
def test_memory_is_at_least_what_lives_together_and_at_most_all(lives: list[Lifetime]) -> None:
    _, total = offsets_of(lives)
    rounded = [-(-life.nbytes // ALIGNMENT) * ALIGNMENT for life in lives]
    alive = [
        sum(size for size, life in zip(rounded, lives, strict=True) if life.first <= step <= life.last)
        for step in range(13)
    ]
    assert max(alive) <= total <= sum(rounded)


def test_a_long_chain_of_products_needs_memory_for_a_few_only() -> None:
    graph = Graph()
    x, w = graph.input("x", Spec((64, 64))), graph.constant(np.eye(64, dtype="float32"))
    y = x
    for _ in range(20):
        y = y @ w
    program, variables = Program(graph, [y]), Variables(CPU)
    given = np.random.default_rng(0).standard_normal((64, 64)).astype("float32")
    np.testing.assert_allclose(program.run(variables, {"x": given})[0], given, rtol=1e-6)
    plan: Any = program.plan(variables, {})
    assert plan.nbytes < 8 * given.nbytes


# Variables -----------------------------------------------------------------------------


def variables_of(graph: Graph, **arrays: Any) -> tuple[Variables, list[Value]]:
    variables, values = Variables(CPU), []
    for name, array in arrays.items():
        array = np.asarray(array, "float32")
        variables.create(name, array)
        values.append(graph.variable(name, Spec(array.shape)))
    return variables, values


def state(variables: Variables) -> dict[str, Any]:
    return {path: variables.read(path).tolist() for path in variables}


def test_updates_read_the_old_values() -> None:
    graph = Graph()
    variables, (a, b) = variables_of(graph, a=[1, 2], b=[10, 20])
    Program(graph, [], {"a": a + b, "b": a - b}).run(variables, {})
    assert state(variables) == {"a": [11, 22], "b": [-9, -18]}


def test_variables_can_change_places() -> None:
    graph = Graph()
    variables, (a, b, c) = variables_of(graph, a=[1, 1], b=[2, 2], c=[3, 3])
    program = Program(graph, [], {"a": b, "b": c, "c": a})
    program.run(variables, {})
    assert state(variables) == {"a": [2, 2], "b": [3, 3], "c": [1, 1]}
    program.run(variables, {})
    assert state(variables) == {"a": [3, 3], "b": [1, 1], "c": [2, 2]}


def test_one_new_value_for_two_variables() -> None:
    graph = Graph()
    variables, (a, b) = variables_of(graph, a=[1, 2], b=[10, 20])
    Program(graph, [], {"a": a + b, "b": a + b}).run(variables, {})
    assert state(variables) == {"a": [11, 22], "b": [11, 22]}


def test_a_variable_that_is_an_output_shows_its_old_value() -> None:
    graph = Graph()
    variables, (a,) = variables_of(graph, a=[1, 2])
    found = Program(graph, [a, a.reshape(2, 1), a * 10.0], {"a": a * 3.0}).run(variables, {})
    assert [array.tolist() for array in found] == [[1, 2], [[1], [2]], [10, 20]]
    assert state(variables) == {"a": [3, 6]}


def test_a_new_value_can_be_an_output_too() -> None:
    graph = Graph()
    variables, (a,) = variables_of(graph, a=[1, 2])
    new = a * 3.0
    found = Program(graph, [new, new.reshape(2, 1)], {"a": new}).run(variables, {})
    assert [array.tolist() for array in found] == [[3, 6], [[3], [6]]]
    assert state(variables) == {"a": [3, 6]}


def test_a_variable_is_not_overwritten_while_a_product_still_reads_it() -> None:
    graph = Graph()
    start = np.arange(16, dtype="float32").reshape(4, 4) / 8
    variables, (w,) = variables_of(graph, w=start)
    (norm,) = Program(graph, [ops.sum(w @ w)], {"w": w - (w @ w) * 0.5}).run(variables, {})
    np.testing.assert_allclose(variables.read("w"), start - start @ start * 0.5, rtol=1e-6)
    np.testing.assert_allclose(norm, (start @ start).sum(), rtol=1e-6)


def test_a_variable_read_transposed_or_repeated_keeps_its_old_value() -> None:
    graph = Graph()
    start = np.arange(9, dtype="float32").reshape(3, 3)
    variables, (a, b) = variables_of(graph, a=start, b=[1, 2, 3])
    new_b = b + ops.sum(b.reshape(3, 1) * b, 0)
    Program(graph, [], {"a": a + ops.transpose(a), "b": new_b}).run(variables, {})
    np.testing.assert_array_equal(variables.read("a"), start + start.T)
    assert variables.read("b").tolist() == [7, 14, 21]


def test_variables_that_are_missing_or_of_another_shape_are_refused() -> None:
    graph = Graph()
    a = graph.variable("a", Spec((3,)))
    program, variables = Program(graph, [a * 2.0]), Variables(CPU)
    with pytest.raises(GraphError, match="a: there is no such variable"):
        program.run(variables, {})
    variables.create("a", np.zeros((2,), "float32"))
    with pytest.raises(GraphError, match="a: the graph takes the variable for"):
        program.run(variables, {})
    with pytest.raises(ShapeError, match=r"a: expected shape \(2,\), got \(1,\)"):
        variables.write("a", np.zeros(1, "float32"))


def test_two_sets_of_variables_do_not_disturb_each_other() -> None:
    graph = Graph()
    one, (a,) = variables_of(graph, a=[1, 2])
    other, _ = variables_of(Graph(), a=[5, 5])
    program = Program(graph, [], {"a": a + 1.0})
    program.run(one, {})
    program.run(other, {})
    program.run(other, {})
    assert (state(one), state(other)) == ({"a": [2, 3]}, {"a": [7, 7]})


# Stopping -----------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_a_guard_stops_before_any_variable_changes(bad: float) -> None:
    graph = Graph()
    variables, (a, b) = variables_of(graph, a=[1, 1], b=[2, 2])
    x = graph.input("x", Spec(("N",)))
    loss = ops.sum(ops.log(x))
    program = Program(graph, [loss], {"a": a + 1.0, "b": b * loss}, [loss])
    with pytest.raises(NumericsError, match="NaN or infinite"):
        program.run(variables, {"x": np.array([1, bad], "float32")})
    assert state(variables) == {"a": [1, 1], "b": [2, 2]}
    program.run(variables, {"x": np.array([1, 1], "float32")})  # the plan is good for more
    assert state(variables) == {"a": [2, 2], "b": [0, 0]}


def test_a_label_out_of_range_stops_before_any_variable_changes() -> None:
    model = bm.layers.Dense(3)
    step = bm.compile(model, "cross_entropy", "sgd")
    x = np.ones((4, 2), "float32")
    step(x, np.array([0, 1, 2, 0]))
    before = model.state()
    with pytest.raises(DataError, match=r"label 3 \(sample 2 of the batch\) is out of range for 3 classes"):
        step(x, np.array([0, 1, 3, 0]))
    for path, array in model.state().items():
        np.testing.assert_array_equal(array, before[path])
    assert step.steps == 1


# Sizes -----------------------------------------------------------------------------


def test_other_batch_sizes_compile_nothing() -> None:
    model = bm.Sequential(bm.layers.Dense(32), bm.layers.Relu(), bm.layers.Dropout(0.2), bm.layers.Dense(3))
    step = bm.compile(model, "cross_entropy", "adam")
    random = np.random.default_rng(0)

    def both(n: int) -> None:
        x = random.standard_normal((n, 7)).astype("float32")
        step(x, random.integers(0, 3, n))
        model(x)

    both(64)
    both(1)  # products of few rows have a kernel of their own
    before = list(cache.compilations)
    for n in (2, 3, 17, 63, 65, 500, 1000):
        both(n)
    assert cache.compilations == before


@pytest.mark.parametrize("n", [0, 1, 5])
def test_every_size_of_the_batch_works_down_to_none(n: int) -> None:
    graph = Graph()
    x, w = graph.input("x", Spec(("N", 3))), graph.constant(np.ones((3, 2), "float32"))
    given = np.arange(n * 3, dtype="float32").reshape(n, 3)
    product, total, columns, same = run(graph, [x @ w + 1.0, ops.sum(x), ops.sum(x, 0), x], {"x": given})
    np.testing.assert_array_equal(product, given @ np.ones((3, 2), "float32") + 1)
    assert total == given.sum()
    np.testing.assert_array_equal(columns, given.sum(0))
    np.testing.assert_array_equal(same, given)


def test_sizes_composed_of_names_are_checked_against_other_inputs() -> None:
    graph = Graph()
    outputs = [ops.sum(graph.input("double", Spec(("2*N",)))), ops.sum(graph.input("x", Spec(("N",))))]
    program, variables = Program(graph, outputs), Variables(CPU)
    double, single = np.ones(400, "float32"), np.ones(200, "float32")
    assert program.run(variables, {"double": double, "x": single}) == [400, 200]
    with pytest.raises(ShapeError, match=r"'double': dimension 2\*N is 400 and 100 here"):
        program.run(variables, {"double": double[:100], "x": single})


def test_a_missing_input_is_named() -> None:
    graph = Graph()
    with pytest.raises(ShapeError, match="the input 'x' is missing"):
        run(graph, [graph.input("x", Spec(("N",))) * 2.0])


def _layouts() -> Iterator[Any]:
    rows = np.arange(2000, dtype="float32").reshape(40, 50)
    read_only = rows.copy()
    read_only.flags.writeable = False
    unaligned = np.zeros(8001, np.uint8)[1:].view("float32").reshape(40, 50)
    unaligned[...] = rows
    yield pytest.param(rows, id="contiguous")
    yield pytest.param(np.asfortranarray(rows), id="column-major")
    yield pytest.param(np.repeat(rows, 2, axis=1)[:, ::2], id="strided")
    yield pytest.param(rows[::-1], id="reversed")
    yield pytest.param(np.broadcast_to(rows[0], (40, 50)), id="repeated")
    yield pytest.param(rows.astype(">f4"), id="big-endian")
    yield pytest.param(rows.astype("float64"), id="float64")
    yield pytest.param(read_only, id="read-only")
    yield pytest.param(unaligned, id="unaligned")


@pytest.mark.parametrize("given_array", [*_layouts()])
def test_inputs_of_any_layout_are_read_right_and_left_alone(given_array: np.ndarray) -> None:
    before = given_array.copy()
    model = bm.layers.Relu()
    found = model(given_array)
    np.testing.assert_array_equal(found, np.maximum(before, 0))
    np.testing.assert_array_equal(given_array, before)
    graph = Graph()
    x = graph.input("x", Spec(("N", 50)))
    (doubled,) = run(graph, [x * 2.0], {"x": given_array})
    np.testing.assert_array_equal(doubled, before.astype("float32") * 2)


def test_results_are_the_callers_own() -> None:
    graph = Graph()
    x = graph.input("x", Spec(("N",)))
    program, variables = Program(graph, [x, x * 2.0, graph.constant([1.0])]), Variables(CPU)
    first = program.run(variables, {"x": np.ones(100, "float32")})
    kept = [array.copy() for array in first]
    for array in program.run(variables, {"x": np.zeros(100, "float32")}):
        array[...] = 7
    for array, before in zip(first, kept, strict=True):
        np.testing.assert_array_equal(array, before)
    assert program.run(variables, {"x": np.ones(1, "float32")})[2] == 1.0


def test_unknown_devices_are_refused() -> None:
    with pytest.raises(DeviceError, match="no device 'tpu'"):
        device_named("tpu")


def test_an_op_without_a_kernel_is_refused_by_path() -> None:
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Odd(bm.Op):
        def infer(self, x: Spec) -> Spec:
            return x

    @dataclass(frozen=True)
    class Model(bm.Layer):
        def __call__(self, x: Any) -> Any:
            return Odd()(x)

    with pytest.raises(BigmodelError, match="Odd has no kernel for 'cpu'"):
        Model()(np.zeros((1, 2), "float32"))
