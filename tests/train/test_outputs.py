"""Models with several inputs and outputs: what they take and return, and by which names."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import CheckpointError, DataError, GraphError, ShapeError
from bigmodel_core.train.checkpoint_graph import decode_graph, encode_graph

X = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
OTHER = X[:, :2] * 2
Y = np.arange(8) % 2


@dataclass(frozen=True)
class Estimate(bm.Layer):
    """Gives a dict."""

    def __call__(self, x: Any) -> Any:
        hidden = bm.layers.Dense(4)(x)
        return {"mean": bm.layers.Dense(2)(hidden), "spread": bm.ops.exp(bm.layers.Dense(1)(hidden))}


LOSSES = (
    "cross_entropy",
    "binary_cross_entropy",
    "hinge",
    "mean_squared_error",
    "mean_absolute_error",
    "huber",
)
Parts = namedtuple("Parts", ["left", "right"])


@dataclass(frozen=True)
class Halves(bm.Layer):
    """Takes two inputs, one of them called as the training step calls its own, and gives a named tuple."""

    def __call__(self, source: Any, target: Any) -> Any:
        joined = bm.ops.concatenate([source, target])
        return Parts(bm.layers.Dense(2)(joined), bm.layers.Dense(1)(joined))


@dataclass(frozen=True)
class Scores(bm.Layer):
    """Takes two inputs and gives scores."""

    def __call__(self, wide: Any, narrow: Any) -> Any:
        return bm.layers.Dense(2)(bm.ops.concatenate([wide, narrow]))


@dataclass(frozen=True)
class FirstOf(bm.Loss):
    """The squared error of one of the outputs."""

    key: Any = 0

    def each(self, prediction: Any, target: Any) -> Any:
        chosen = prediction[self.key] if isinstance(prediction, dict) else prediction[int(self.key)]
        return bm.ops.square(chosen - target)


def test_a_dict_comes_back_as_a_dict():
    model = Estimate()
    found = model(X)
    assert list(found) == ["mean", "spread"]
    assert (found["mean"].shape, found["spread"].shape) == ((8, 2), (8, 1))
    assert model.network.output_names == ("mean", "spread")
    assert {name: spec.shape for name, spec in model(bm.Spec(("N", 3))).items()} == {
        "mean": ("N", 2),
        "spread": ("N", 1),
    }


def test_a_named_tuple_comes_back_with_its_names():
    model = Halves()
    found = model(X, OTHER)
    assert isinstance(found, Parts)
    assert model.network.input_names == ("source", "target")
    assert model.network.output_names == ("left", "right")


@pytest.mark.parametrize(
    ("model", "inputs"), [(Estimate(), (X,)), (Halves(), (X, OTHER))], ids=["dict", "named"]
)
def test_names_travel_through_checkpoints(tmp_path: Path, model: Any, inputs: Any):
    model.build(*inputs)
    before = model(*inputs)
    bm.save(model, tmp_path / "model")
    again = bm.load(tmp_path / "model")
    found = again(*inputs)
    assert again.network.input_names == model.network.input_names
    assert again.network.output_names == model.network.output_names
    if isinstance(before, dict):
        assert list(found) == list(before)
        before, found = tuple(before.values()), tuple(found.values())
    else:
        assert found.left is found[0]
        assert found._fields == before._fields
    for ours, theirs in zip(before, found, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    bm.save(again, tmp_path / "copy")
    assert bm.load(tmp_path / "copy").network.output_names == model.network.output_names


def test_graphs_of_older_files_have_no_form():
    @dataclass(frozen=True)
    class Two(bm.Layer):
        def __call__(self, x: Any) -> Any:
            return x, x + 1.0

    for layer, kind in ((bm.layers.Relu(), "single"), (Two(), "tuple")):
        network, arrays = layer.build(bm.Spec(("N", 3))), {}
        entry = encode_graph(network.trace(training=False), arrays)
        del entry["form"]
        assert decode_graph(entry, {"x": network.inputs[0]}, {}, arrays, {"core": None}).form.kind == kind


@pytest.mark.parametrize(
    "form",
    [
        {"kind": "dict", "names": ["a"]},
        {"kind": "dict", "names": ["a", "a"]},
        {"kind": "single", "names": []},
        {"kind": ["dict"], "names": ["a", "b"]},
        {"kind": "dict", "names": [1, 2]},
        {"kind": "tuple", "names": ["a", "b"]},
        "dict",
    ],
)
def test_a_form_that_does_not_fit_is_refused(form: Any):
    network = Estimate().build(bm.Spec(("N", 3)))
    entry = {**encode_graph(network.trace(training=False), {}), "form": form}
    with pytest.raises(CheckpointError, match="form|output's name"):
        decode_graph(entry, {"x": network.inputs[0]}, network.parameters, {}, {"core": None})


@pytest.mark.parametrize("result", [{}, (), {"a": 1}, {1: "x"}, {"": "x"}, None, (("x",),)], ids=repr)
def test_what_a_model_cannot_return_is_refused(result: Any):
    @dataclass(frozen=True)
    class Odd(bm.Layer):
        def __call__(self, x: Any) -> Any:
            if isinstance(result, dict):
                return {key: x if value == "x" else value for key, value in result.items()}
            return result

    with pytest.raises(GraphError, match="returned"):
        Odd()(X)


# Training -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("model", "x"), [(Estimate(), X), (Halves(), (X, OTHER))], ids=["dict", "named"])
def test_a_loss_of_one_output_says_what_to_do(loss: str, model: Any, x: Any):
    for train in (
        lambda: bm.compile(model, loss, "sgd")(x, Y),
        lambda: bm.Trainer(model, loss, "sgd").fit((x, Y), verbose=False),
        lambda: bm.value_and_grad(model, loss)(x, Y),
    ):
        with pytest.raises(GraphError, match="returns 2 outputs .(mean, spread|left, right).") as caught:
            train()
        assert "pass a loss for each: loss=" in str(caught.value)


def test_a_loss_of_ones_own_that_takes_one_output_says_the_same():
    @dataclass(frozen=True)
    class Plain(bm.Loss):
        def each(self, prediction: Any, target: Any) -> Any:
            return bm.ops.square(prediction.astype("float32") - target)

    with pytest.raises(GraphError, match="returns 2 outputs.*Plain takes one"):
        bm.compile(Estimate(), Plain(), "sgd")(X, X[:, :2])


@pytest.mark.parametrize(
    ("model", "x", "key"), [(Estimate(), X, "mean"), (Halves(), (X, OTHER), 0)], ids=["dict", "named"]
)
def test_a_loss_of_ones_own_gets_them_as_the_model_returns_them(model: Any, x: Any, key: Any):
    trainer = bm.Trainer(model, FirstOf(key), bm.optimizers.SGD(0.05))
    history = trainer.fit((x, X[:, :2]), 3, verbose=False, validation=(x, X[:, :2]))
    assert history["loss"][-1] < history["loss"][0]
    found = trainer.predict(x, batch_size=3)
    whole = trainer.network(*(x if isinstance(x, tuple) else (x,)))
    assert type(found) is type(whole)
    np.testing.assert_allclose(found[key], whole[key], rtol=1e-6)


# Several inputs -------------------------------------------------------------------------------------------


def losses(x: Any, y: Any = Y) -> list[float]:
    step = bm.compile(Scores(), "cross_entropy", "sgd")
    trainer = bm.Trainer(Scores(), "cross_entropy", "sgd")
    trainer.fit((x, y), verbose=False)
    return [
        step(x, y),
        bm.value_and_grad(Scores(), "cross_entropy")(x, y)[0],
        trainer.evaluate((x, y))["loss"],
    ]


def test_a_list_of_arrays_is_several_inputs_where_the_model_takes_as_many():
    assert losses([X, OTHER]) == losses((X, OTHER))
    assert losses([X.tolist(), OTHER.tolist()]) == losses((X, OTHER))


def test_a_list_is_one_array_where_the_model_takes_one():
    two_rows = X[:2].tolist()
    step = bm.compile(bm.layers.Dense(2), "cross_entropy", "sgd")
    assert step(two_rows, [0, 1]) == bm.compile(bm.layers.Dense(2), "cross_entropy", "sgd")(X[:2], Y[:2])


def test_too_many_inputs_say_what_a_tuple_is():
    step = bm.compile(bm.layers.Dense(2), "cross_entropy", "sgd")
    step(X, Y)
    with pytest.raises(ShapeError, match="takes 1 input, got 2.*\n.*a tuple stands for several inputs"):
        step((X, X), Y)
    with pytest.raises(ShapeError, match="called on 1 input: missing.*'narrow'; it takes wide, narrow"):
        bm.compile(Scores(), "cross_entropy", "sgd")(X, Y)


def test_one_number_for_all_samples_is_an_input():
    @dataclass(frozen=True)
    class Scaled(bm.Layer):
        def __call__(self, n: Any, x: Any) -> Any:
            return bm.layers.Dense(2)(x * n)

    def built() -> Any:
        return Scaled().build(bm.Spec(()), bm.Spec(("N", 3)))

    network = built()
    np.testing.assert_allclose(network(2.0, X), network(np.float32(1.0), X * 2), rtol=1e-6)
    step = bm.compile(network, "cross_entropy", "sgd")
    losses = [step((np.float32(2.0), X), Y) for _ in range(3)]
    assert losses[2] < losses[0]
    assert bm.value_and_grad(built(), "cross_entropy")((2.0, X), Y)[0] == losses[0]
    each = bm.compile(built(), "cross_entropy", "sgd").gradients((2.0, X), Y, per_sample=True)[0]
    assert each.mean() == pytest.approx(losses[0], rel=1e-6)
    with pytest.raises(ShapeError, match="empty"):
        step((np.float32(2.0), X[:0]), Y[:0])
    with pytest.raises(DataError, match="not an array of samples"):
        bm.Trainer(built(), "cross_entropy", "sgd").fit(((2.0, X), Y), verbose=False)
