"""Models with a loop of their own: they train, and are saved, frozen, described and exported like others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import CheckpointError, GraphError
from bigmodel_core.train.checkpoint_graph import decode_graph, encode_graph

from .conftest import assert_same_bits, crashed_and_resumed

L, O = bm.layers, bm.optimizers


@dataclass(frozen=True)
class Recurrence(bm.Layer):
    """Elman's network as a loop; parameters are those of `bm.layers.RNN`."""

    units: int

    def __call__(self, x: Any) -> Any:
        weight = self.parameter("input_weight", (x.shape[2], self.units))
        recurrent = self.parameter("recurrent_weight", (self.units, self.units))
        bias, other = (self.parameter(f"{name}_bias", (self.units,)) for name in ("input", "recurrent"))

        def step(state: Any, part: Any) -> Any:
            state = ops.tanh(part @ weight + bias + state @ recurrent + other)
            return state, state

        begin = ops.broadcast_to(ops.constant(0.0, x.dtype), (x.shape[0], self.units))
        return ops.scan(step, begin, x, axis=1)[1]


@dataclass(frozen=True)
class Applied(bm.Layer):
    """A layer applied at each step, to the step and to what it gave at the one before; it learns to begin."""

    inner: bm.Layer

    def __call__(self, x: Any) -> Any:
        def step(before: Any, part: Any) -> Any:
            after = self.inner(ops.concatenate([part, before], 1))
            return after, after

        begin = ops.broadcast_to(self.parameter("begin", (4,), 0.5), (x.shape[0], 4))
        return ops.scan(step, begin, x, axis=1)[1]


def data(rows: int = 24) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.normal(size=(rows, 5, 3)).astype("float32"), generator.integers(0, 4, rows)


def applied() -> Any:
    inner = bm.Sequential(L.Dense(6), L.Relu(), L.Dropout(0.3), L.Dense(4))
    return bm.Sequential(Applied(inner), L.Flatten(), L.Dense(4))


def test_three_steps_of_training_equal_those_of_the_built_in_layer() -> None:
    found = []
    x, y = data()
    for layer in (Recurrence(6), L.RNN(6)):
        model = bm.Sequential(layer, L.Flatten(), L.Dense(4))
        network = model.build(bm.Spec(("N", 5, 3)), dtype="float64")
        numbers = np.random.default_rng(1)
        network.load_state({key: numbers.normal(size=a.shape) * 0.4 for key, a in network.state().items()})
        step = bm.compile(model, "cross_entropy", O.Adam(0.05))
        losses = [step(x, y) for _ in range(3)]
        found.append((losses, list(network.state().values())))
    (losses, arrays), (others, built_in) = found
    np.testing.assert_allclose(losses, others, rtol=1e-10)
    for array, other in zip(arrays, built_in, strict=True):
        np.testing.assert_allclose(array, other, rtol=1e-8, atol=1e-10)


def test_a_resumed_run_ends_at_the_same_bits(tmp_path: Path) -> None:
    """Dropout draws at each step of the loop; all of it is repeated."""

    def run(out: Path | None, *callbacks: Any) -> bm.Trainer:
        made = bm.Trainer(applied(), "cross_entropy", O.Adam(0.01), out=out, callbacks=callbacks)
        made.fit(data(), 3, 8, verbose=False)
        return made

    whole = run(None)
    resumed = crashed_and_resumed(run, tmp_path / "run", 5, data())
    assert_same_bits(whole.network.state(), resumed.network.state())


def test_a_saved_model_computes_and_trains_on_as_it_was(tmp_path: Path) -> None:
    x, y = data()
    model = applied()
    model(x)
    bm.save(model, tmp_path / "model.safetensors")
    loaded = bm.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded(x), model(x))
    states = []
    for each in (model, loaded):
        bm.compile(each, "cross_entropy", O.SGD(0.1), seed=3)(x, y)
        states.append(each.state())
    assert_same_bits(*states)


def test_layers_in_a_loop_are_frozen_where_there_are_layers(tmp_path: Path) -> None:
    """In a loaded model they are a part of the loop, which is frozen as a whole."""
    x, y = data()
    model = applied()
    model(x)
    bm.save(model, tmp_path / "model.safetensors")
    before = model.state()
    inside = "applied_1/inner/*"
    bm.compile(model, "cross_entropy", O.SGD(0.1), freeze=inside)(x, y)
    changed = {path for path, array in model.state().items() if array.tobytes() != before[path].tobytes()}
    assert changed == {"dense_1/weight", "dense_1/bias", "applied_1/begin"}
    with pytest.raises(GraphError, match="called in the body of a scan") as caught:
        bm.compile(bm.load(tmp_path / "model.safetensors"), "cross_entropy", "sgd", freeze=inside)(x, y)
    assert caught.value.where == "applied_1/inner"
    loaded = bm.load(tmp_path / "model.safetensors")
    bm.compile(loaded, "cross_entropy", O.SGD(0.1), freeze="applied_1/*")(x, y)
    assert all(
        loaded.state()[path].tobytes() == before[path].tobytes() for path in before if "applied" in path
    )


def test_the_summary_has_the_layers_of_a_loop() -> None:
    model = applied()
    summary = model.build(bm.Spec(("N", 5, 3))).summary()
    rows = {row.path: (row.layer, row.output, row.parameters, row.multiply_adds) for row in summary.rows}
    assert rows["applied_1/inner/dense_1"] == ("Dense", ("N", 6), 7 * 6 + 6, 5 * 7 * 6)
    assert rows["applied_1/inner/dense_2"] == ("Dense", ("N", 4), 6 * 4 + 4, 5 * 6 * 4)
    assert summary.parameters == sum(row.parameters for row in summary.rows)
    assert rows["applied_1"][2:] == (4, 0) and rows["dense_1"][3] == 20 * 4


def test_an_exported_loop_is_read_back_and_trains(tmp_path: Path) -> None:
    x, y = data()
    model = applied()
    model(x)
    report = bm.export(model, tmp_path / "model.onnx")
    assert report.operators["Scan"] == 1 and "MatMul" not in report.operators
    read = bm.from_onnx(tmp_path / "model.onnx")
    np.testing.assert_allclose(read(x), model(x), rtol=1e-5, atol=1e-6)
    assert sorted(read.state()) == sorted(model.state())
    step = bm.compile(read, "cross_entropy", O.SGD(0.1))
    losses = [step(x, y) for _ in range(20)]
    assert losses[-1] < losses[0]


DAMAGES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "op": (lambda body: body["nodes"][-1].update(op="core:Nothing"), "no op 'core:Nothing'"),
    "input": (lambda body: body["nodes"].append({"input": "9"}), "there is no input '9'"),
    "variable": (lambda body: body["nodes"].append({"variable": "w"}), "there is no variable 'w'"),
    "specs": (lambda body: body.update(inputs=[3]), "an input: expected Spec, got 3"),
    "reference": (lambda body: body.update(outputs=[[99, 0]]), "does not refer to an earlier value"),
    "output": (lambda body: body.update(outputs=[[0, 7]]), "node 0 has 1 outputs, but no output 7"),
    "key": (lambda body: body.pop("outputs"), "does not refer to a value"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_body_that_a_file_damages_is_refused(name: str) -> None:
    damage, text = DAMAGES[name]
    network, arrays = Recurrence(4).build(bm.Spec(("N", 5, 3))), dict[str, np.ndarray]()
    entry = encode_graph(network.trace(training=False), arrays)
    given = ({"x": network.inputs[0]}, network.parameters, arrays, {"core": None})
    assert decode_graph(entry, *given).outputs
    (loop,) = [node for node in entry["nodes"] if node.get("op") == "core:Scan"]
    damage(loop["fields"]["body"])
    with pytest.raises(CheckpointError, match=text):
        decode_graph(entry, *given)
