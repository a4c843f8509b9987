"""`bm.gradients`, and `bm.value_and_grad` for more than parameters: against PyTorch, and what is refused."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import DtypeError, GraphError, ShapeError, UnknownNameError, UsageError
from bigmodel_core.graph import Value
from bigmodel_core.nn.network import Network

IMAGES = np.random.default_rng(0).normal(size=(3, 1, 6, 6)).astype("float32")
ONE_HOT = np.eye(4, dtype="float32")


@dataclass(frozen=True)
class Tail(bm.Layer):
    def __call__(self, x: Value) -> Value:
        return bm.layers.Dense(4)(bm.layers.Flatten()(x))


@dataclass(frozen=True)
class Classifier(bm.Layer):
    """A convolution and scores of four classes."""

    features: bm.Layer
    tail: bm.Layer

    def __call__(self, x: Value) -> Value:
        return self.tail(self.features(x))


def classifier() -> bm.Layer:
    features = bm.Sequential(bm.layers.Conv2d(5, 3, padding=1), bm.layers.BatchNorm(), bm.layers.Silu())
    model = Classifier(features, Tail())
    model.build(bm.Spec(("N", 1, 6, 6)), seed=1)
    return model


def in_torch(torch: Any, model: Any) -> dict[str, Any]:
    """The values of the classifier in PyTorch, by path, with their gradients kept."""
    state = {path: torch.tensor(a, requires_grad=True) for path, a in model.state().items()}
    x = torch.tensor(IMAGES, requires_grad=True)
    f = torch.nn.functional
    y = f.conv2d(x, state["features/conv2d_1/weight"], state["features/conv2d_1/bias"], padding=1)
    norm = [
        state[f"features/batch_norm_1/{name}"]
        for name in ("running_mean", "running_variance", "scale", "shift")
    ]
    features = f.silu(f.batch_norm(y, norm[0].detach(), norm[1].detach(), *norm[2:], False, 0.0, 1e-5))
    scores = features.flatten(1) @ state["tail/dense_1/weight"] + state["tail/dense_1/bias"]
    return {**state, "x": x, "features/conv2d_1": y, "features": features, "tail": scores}


def assert_near(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_a_saliency_map_is_that_of_pytorch(torch: Any) -> None:
    model = classifier()
    values = in_torch(torch, model)
    (expected,) = torch.autograd.grad(values["tail"][:, 2].sum(), values["x"])
    assert_near(bm.gradients(model, IMAGES, weights=ONE_HOT[2]), expected)


def test_the_output_is_summed_unless_it_is_weighted(torch: Any) -> None:
    model = classifier()
    values = in_torch(torch, model)
    (expected,) = torch.autograd.grad(values["tail"].sum(), values["x"])
    assert_near(bm.gradients(model, IMAGES), expected)
    weights = np.random.default_rng(3).normal(size=(3, 4))
    values = in_torch(torch, model)
    (expected,) = torch.autograd.grad((values["tail"] * torch.tensor(weights)).sum(), values["x"])
    assert_near(bm.gradients(model, IMAGES, weights=weights), expected)


@pytest.mark.parametrize(
    ("of", "wrt"),
    [
        (None, "features/conv2d_1"),
        (None, "features"),
        ("tail", "features/silu_1"),
        ("features", "x"),
        ("features", "features/conv2d_1/weight"),
        ("features/conv2d_1", "x"),
        ("y", "tail/dense_1/weight"),
    ],
)
def test_gradients_of_anything_for_anything(torch: Any, of: str | None, wrt: str) -> None:
    """Outputs, layers inside, inputs and parameters, by their names."""
    model = classifier()
    values = in_torch(torch, model)
    aliases = {None: "tail", "y": "tail", "features/silu_1": "features"}
    (expected,) = torch.autograd.grad(values[aliases.get(of, of)].sum(), values[aliases.get(wrt, wrt)])
    assert_near(bm.gradients(model, IMAGES, of=of, wrt=wrt), expected)


def test_a_sequence_of_names_gives_a_dict() -> None:
    model = classifier()
    found = bm.gradients(model, IMAGES, wrt=["features", "x"])
    assert list(found) == ["features", "x"]
    np.testing.assert_array_equal(found["x"], bm.gradients(model, IMAGES))
    np.testing.assert_array_equal(found["features"], bm.gradients(model, IMAGES, wrt="features"))


def test_nothing_of_the_model_changes() -> None:
    model = classifier()
    before = model.state()
    bm.gradients(model, IMAGES, wrt=("features", "tail/dense_1/bias"))
    after = model.state()
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[path], after[path]) for path in before)


def test_a_model_is_built_if_it_was_not() -> None:
    model = bm.layers.Dense(2)
    found = bm.gradients(model, np.ones((3, 4), "float32"))
    np.testing.assert_allclose(found, np.tile(model.state()["weight"].sum(1), (3, 1)), rtol=1e-6)


def test_the_program_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = classifier()
    first = bm.gradients(model, IMAGES)
    monkeypatch.setattr(Network, "traced_into", None)
    np.testing.assert_array_equal(bm.gradients(model, IMAGES), first)
    assert bm.gradients(model, IMAGES[:2], weights=ONE_HOT[0]).shape == (2, 1, 6, 6)


def test_a_loaded_model_has_the_same_rights(tmp_path: Path) -> None:
    """What a layer computed is found by its path, also where there are no layers."""
    model = classifier()
    file = io.BytesIO()
    bm.save(model, file)
    file.seek(0)
    bm.export(model, tmp_path / "model.onnx", fold=False)
    expected = bm.gradients(model, IMAGES, wrt="features/conv2d_1", weights=ONE_HOT[1])
    loaded = bm.load(file)
    found = bm.gradients(loaded, IMAGES, wrt="features/conv2d_1", weights=ONE_HOT[1])
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
    read = bm.from_onnx(tmp_path / "model.onnx")
    saliency = bm.gradients(read, IMAGES, weights=ONE_HOT[1])
    np.testing.assert_allclose(
        saliency, bm.gradients(model, IMAGES, weights=ONE_HOT[1]), rtol=1e-4, atol=1e-5
    )


# Several inputs and outputs -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pair(bm.Layer):
    """Scores of words with a context, and the context again."""

    def __call__(self, words: Value, context: Value) -> dict[str, Value]:
        rows = bm.layers.Embedding(7, 3)(words)
        return {"scores": bm.layers.Dense(2)(rows * context), "context": context * context}


WORDS = np.array([1, 5, 1])
CONTEXT = np.random.default_rng(1).normal(size=(3, 3)).astype("float32")


def test_integer_inputs_have_none() -> None:
    model = Pair()
    words, context = bm.gradients(model, (WORDS, CONTEXT), of="context")
    assert words is None
    np.testing.assert_allclose(context, 2 * CONTEXT, rtol=1e-6)


def test_the_rows_of_an_embedding_have_gradients() -> None:
    model = Pair()
    found = bm.gradients(model, (WORDS, CONTEXT), of="scores", wrt="embedding_1")
    weight = model.state()["dense_1/weight"].sum(1)
    np.testing.assert_allclose(found, weight * CONTEXT, rtol=1e-5)


def test_all_outputs_are_added_up() -> None:
    model = Pair()
    both = bm.gradients(model, (WORDS, CONTEXT), wrt="context")
    parts = [bm.gradients(model, (WORDS, CONTEXT), of=name, wrt="context") for name in ("scores", "context")]
    np.testing.assert_allclose(both, parts[0] + parts[1], rtol=1e-5)


def test_a_layer_that_returns_several_values_has_as_many_gradients() -> None:
    @dataclass(frozen=True)
    class Two(bm.Layer):
        def __call__(self, x: Value) -> tuple[Value, Value]:
            return x * 2, bm.ops.argmax(x, 1)

    @dataclass(frozen=True)
    class Whole(bm.Layer):
        two: bm.Layer

        def __call__(self, x: Value) -> Value:
            doubled, best = self.two(x)
            return doubled * doubled + best.astype("float32").reshape(-1, 1)

    found, nothing = bm.gradients(Whole(Two()), CONTEXT, wrt="two")
    assert nothing is None
    np.testing.assert_allclose(found, 4 * CONTEXT, rtol=1e-6)


# What is refused ------------------------------------------------------------------------------------------


def test_unknown_names_are_errors_with_the_nearest() -> None:
    model = classifier()
    with pytest.raises(UnknownNameError, match=r"no layer, parameter or input 'features/conv_1'"):
        bm.gradients(model, IMAGES, wrt="features/conv_1")
    with pytest.raises(UnknownNameError) as caught:
        bm.gradients(model, IMAGES, wrt="features/conv_1")
    assert "features/conv2d_1" in str(caught.value)
    with pytest.raises(UnknownNameError, match="no layer or output 'tial'") as caught:
        bm.gradients(model, IMAGES, of="tial")
    assert "tail" in (caught.value.fix or "")


def test_what_comes_behind_is_an_error() -> None:
    with pytest.raises(GraphError, match="'features' is not computed from 'tail'"):
        bm.gradients(classifier(), IMAGES, of="features", wrt="tail")


def test_a_layer_called_on_several_values_is_an_error() -> None:
    @dataclass(frozen=True)
    class Twins(bm.Layer):
        tower: bm.Layer

        def __call__(self, a: Value, b: Value) -> Value:
            return self.tower(a) * self.tower(b)

    model = Twins(bm.layers.Dense(2))
    with pytest.raises(GraphError, match="tower: it is called 2 times"):
        bm.gradients(model, (CONTEXT, CONTEXT), wrt="tower")
    first, second = bm.gradients(model, (CONTEXT, CONTEXT))
    np.testing.assert_allclose(first, second, rtol=1e-6)


def test_weights_must_fit_the_output() -> None:
    model = classifier()
    with pytest.raises(ShapeError, match=r"the weights are \(5,\), and the output is \(3, 4\)"):
        bm.gradients(model, IMAGES, weights=np.ones(5))
    with pytest.raises(UsageError, match="there are 2"):
        bm.gradients(Pair(), (WORDS, CONTEXT), weights=np.ones(2))


def test_integers_have_no_gradients() -> None:
    with pytest.raises(DtypeError, match="no float input"):
        bm.gradients(bm.layers.Embedding(7, 3), WORDS)
    with pytest.raises(DtypeError, match="'words' has the type int64"):
        bm.gradients(Pair(), (WORDS, CONTEXT), wrt="words")

    @dataclass(frozen=True)
    class Best(bm.Layer):
        def __call__(self, x: Value) -> Value:
            return bm.ops.argmax(bm.layers.Dense(3)(x), 1)

    with pytest.raises(DtypeError, match="the output has no float type"):
        bm.gradients(Best(), CONTEXT)


def test_a_parameter_that_is_not_trained_has_no_gradient() -> None:
    with pytest.raises(GraphError, match="running_mean' is a parameter that is not trained"):
        bm.gradients(classifier(), IMAGES, wrt="features/batch_norm_1/running_mean")


def test_wrt_is_a_name_or_names() -> None:
    for wrong in ([], [1], 3):
        with pytest.raises(UsageError, match="pass a path"):
            bm.gradients(classifier(), IMAGES, wrt=wrong)  # type: ignore[arg-type]  # on purpose


# value_and_grad -------------------------------------------------------------------------------------------


def test_the_gradient_of_a_loss_for_inputs_and_layers(torch: Any) -> None:
    """As an adversarial example needs it."""
    model, labels = classifier(), np.array([0, 3, 1])
    loss, found = bm.value_and_grad(model, "cross_entropy", wrt=["x", "features"])(IMAGES, labels)
    values = in_torch(torch, model)
    expected = torch.nn.functional.cross_entropy(values["tail"], torch.tensor(labels))
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    assert list(found) == ["x", "features"]
    for name, right in zip(found, torch.autograd.grad(expected, [values[n] for n in found]), strict=True):
        np.testing.assert_allclose(found[name], right.numpy(), rtol=1e-4, atol=1e-6)


def test_value_and_grad_knows_the_names_too() -> None:
    with pytest.raises(UnknownNameError, match="no layer, parameter or input 'feature'"):
        bm.value_and_grad(classifier(), "cross_entropy", wrt=["feature"])(IMAGES, np.array([0, 3, 1]))


def test_the_summary_of_a_model_with_gradients_shows_what_layers_return() -> None:
    @dataclass(frozen=True)
    class Slope(bm.Layer):
        energy: bm.Layer

        def __call__(self, x: Value) -> Value:
            return bm.ops.gradients(bm.ops.sum(self.energy(x)), x)

    model = Slope(bm.Sequential(bm.layers.Dense(5), bm.layers.Tanh(), bm.layers.Dense(1)))
    summary = model.build(bm.Spec(("N", 3))).summary()
    assert {row.path: row.output for row in summary.rows} == {
        "": ("N", 3),
        "energy/dense_1": ("N", 5),
        "energy/tanh_1": ("N", 5),
        "energy/dense_2": ("N", 1),
    }
