"""`bm.prediction_graph`: what a prediction computes, for exporters; computed here by NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core import ops

L = bm.layers


def by_name(*names: str) -> Any:
    return lambda node: type(node.op).__name__ in names


def dense(shape: tuple[int, ...] = (1, 4)) -> tuple[Any, bm.PredictionGraph]:
    model = bm.Sequential(L.Dense(8), L.Relu(), L.Dense(3))
    model.build(bm.Spec(("N", 4)), seed=3)
    return model, bm.prediction_graph(model, [bm.Spec(shape)])


def test_nodes_and_arrays_are_all_that_a_prediction_needs() -> None:
    model, graph = dense((5, 4))
    x = np.random.default_rng(0).standard_normal((5, 4)).astype("float32")
    known: dict[bm.Value, Any] = {graph.inputs["x"]: x, **graph.arrays}
    rules = {"Affine": lambda x, w, b: x @ w + b, "Relu": lambda x: np.maximum(x, 0)}
    for node in graph.nodes:
        known[node.outputs[0]] = rules[type(node.op).__name__](*(known[value] for value in node.inputs))
    np.testing.assert_allclose(known[graph.outputs["y"]], model(x), atol=1e-5)


def test_nodes_say_where_they_belong_and_arrays_what_they_are() -> None:
    model, graph = dense()
    assert [node.place for node in graph.nodes] == ["dense_1 (Dense)", "relu_1 (Relu)", "dense_2 (Dense)"]
    state = model.state()
    named = {path: graph.arrays[value] for value, path in graph.names.items()}
    assert named.keys() == state.keys()
    assert all(np.array_equal(named[path], state[path]) for path in state)


def test_sizes_are_those_that_were_asked_for_and_free_otherwise() -> None:
    model, graph = dense((1, 4))
    assert graph.outputs["y"].shape == (1, 3)
    assert bm.prediction_graph(model).outputs["y"].shape == ("N", 3)


def test_what_follows_from_parameters_alone_is_computed() -> None:
    model = bm.Sequential(L.Conv2d(3, 3), L.BatchNorm())
    model.build(bm.Spec(("N", 2, 5, 5)))
    random, state = np.random.default_rng(0), model.state()
    model.load_state({path: random.uniform(0.5, 2, a.shape).astype(a.dtype) for path, a in state.items()})
    state = model.state()
    graph = bm.prediction_graph(
        model, [bm.Spec((1, 2, 5, 5))], writes=by_name("Conv2d", "Subtract", "Multiply", "Add")
    )
    assert [type(node.op).__name__ for node in graph.nodes] == ["Conv2d", "Subtract", "Multiply", "Add"]
    known = {graph.names[value]: graph.arrays[value] for value in graph.nodes[2].inputs[1:]}
    (path,) = known
    norm = path.rpartition("/")[0]
    wanted = state[f"{norm}/scale"] / np.sqrt(state[f"{norm}/running_variance"].astype("float64") + 1e-5)
    np.testing.assert_allclose(known[path].reshape(-1), wanted, rtol=1e-6)


def test_ops_are_taken_apart_until_all_is_written_or_nothing_more_can_be() -> None:
    model = bm.Sequential(L.Dense(3), L.Silu())
    model.build(bm.Spec(("N", 4)))
    sizes = [bm.Spec((1, 4))]
    names = by_name("MatMul", "Add", "Divide", "Exp", "Negate")
    found = [type(node.op).__name__ for node in bm.prediction_graph(model, sizes, writes=names).nodes]
    assert found == ["Affine", "Negate", "Exp", "Add", "Divide"]


def test_the_body_of_a_loop_is_such_a_graph() -> None:
    @dataclass(frozen=True)
    class Halved(bm.Layer):
        def __call__(self, x: Any) -> Any:
            return ops.scan(lambda carry, part: (carry * 0.5 + part, carry), x[:, 0], x, axis=1)[1]

    model = Halved()
    model.build(bm.Spec(("N", 6, 3)))
    graph = bm.prediction_graph(model, [bm.Spec((1, 6, 3))])
    (loop,) = (node for node in graph.nodes if node.op.inner() is not None)
    body = graph.inner(loop)
    assert body is not None
    assert [type(node.op).__name__ for node in body.nodes] == ["Multiply", "Add"]
    assert list(body.inputs) == ["0", "1"]
    assert body.arrays[body.nodes[0].inputs[1]] == 0.5
    assert graph.inner(graph.nodes[0]) is None or graph.nodes[0] is loop


def test_the_number_of_inputs_is_checked() -> None:
    model, _ = dense()
    with pytest.raises(bm.errors.UsageError, match="has 1 inputs, got the specs of 2"):
        bm.prediction_graph(model, [bm.Spec((1, 4))] * 2)


def test_a_model_that_was_saved_takes_sizes(tmp_path: Path) -> None:
    model = bm.Sequential(L.Reshape((2, 6)), L.LSTM(4), L.Dense(3))
    model.build(bm.Spec(("N", 12)), seed=3)
    bm.save(model, tmp_path / "model")
    found = bm.prediction_graph(bm.load(tmp_path / "model"), [bm.Spec((5, 12))])
    ours = bm.prediction_graph(model, [bm.Spec((5, 12))])
    assert [value.shape for node in found.nodes for value in node.outputs] == [
        value.shape for node in ours.nodes for value in node.outputs
    ]
    assert found.outputs["y"].shape == (5, 2, 3)
