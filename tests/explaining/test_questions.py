"""What may be asked: which class, of which output, by which method; and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.data.encoding import Encoding
from bigmodel_core.errors import DataError, ShapeError, UnknownNameError, UsageError
from tests.explaining import models


def test_the_most_probable_class_is_explained_unless_another_is_asked_for() -> None:
    model = models.perceptron()
    scores = models.numpy_scores(model, models.TABLE)
    found = bm.explain(model, models.TABLE, "saliency")
    assert found.target.tolist() == scores.argmax(1).tolist()
    np.testing.assert_allclose(found.outputs, scores.max(1), rtol=1e-4)


def test_a_list_has_a_target_for_each_sample() -> None:
    model = models.perceptron()
    found = bm.explain(model, models.TABLE, "saliency", target=[2, 0, 1, 1, 0])
    wanted = models.numpy_scores(model, models.TABLE)[np.arange(5), [2, 0, 1, 1, 0]]
    np.testing.assert_allclose(found.outputs, wanted, rtol=1e-4)


def test_the_other_of_two_classes_that_share_a_score_has_the_other_sign() -> None:
    model = models.built(bm.layers.Dense(1), bm.Spec(("N", 4)))
    model.network.encoding = Encoding(task="binary", labels=("no", "yes"))
    yes, no = (bm.explain(model, models.TABLE, target=label) for label in ("yes", "no"))
    np.testing.assert_allclose(yes.values, -no.values, rtol=1e-5)
    np.testing.assert_allclose(yes.outputs, model(models.TABLE)[:, 0], rtol=1e-5)


def test_the_last_step_that_holds_a_token_is_explained() -> None:
    model = bm.models.build("gpt", vocabulary=9, context=8, layers=1, heads=2, width=8)
    models.built(model, bm.Spec(("N", "T"), "int64"))
    found = bm.explain(model, models.TOKENS, "saliency")
    assert found.target[:, 0].tolist() == [4, 2]
    np.testing.assert_allclose(found.outputs[1], model(models.TOKENS[1:, :3])[0, 2].max(), rtol=1e-4)


class Two(bm.Layer):
    def __call__(self, x: Any) -> Any:
        return {"first": bm.layers.Dense(2)(x), "second": bm.layers.Dense(3)(x)}


def test_one_of_several_outputs_is_explained() -> None:
    model = models.built(Two(), bm.Spec(("N", 4)))
    found = bm.explain(model, models.TABLE, target=2, output="second")
    np.testing.assert_allclose(found.outputs, model(models.TABLE)["second"][:, 2], rtol=1e-5)


def test_a_model_of_a_fixed_batch_is_explained() -> None:
    free = models.perceptron()
    fixed = bm.clone(free)
    fixed.build(bm.Spec((5, 4)))
    wanted = bm.explain(free, models.TABLE, target=0).values
    np.testing.assert_allclose(bm.explain(fixed, models.TABLE, target=0).values, wanted, rtol=1e-5)


def test_a_trainer_is_explained() -> None:
    model = models.perceptron()
    trainer = bm.Trainer(model, "cross_entropy", "sgd")
    np.testing.assert_array_equal(
        bm.explain(trainer, models.TABLE).values, bm.explain(model, models.TABLE).values
    )


def test_json_can_hold_an_attribution() -> None:
    import json

    found = bm.explain(models.perceptron(), models.TABLE, "shapley:exact=0,pairs=2").to_dict()
    again = json.loads(json.dumps(found))
    assert np.shape(again["values"]) == (5, 4) and again["method"] == "shapley"


def test_a_notebook_shows_the_first_sample() -> None:
    table = bm.explain(models.perceptron(), models.TABLE)
    assert repr(table) == "<Attribution by integrated-gradients: x (5, 4)>"
    assert all(f"{value:.3f}"[:-1] in table._repr_html_() for value in table.values[0])
    image = bm.explain(models.convolutions(), models.IMAGES)
    assert image._repr_html_().count("<rect") >= 64


REFUSED = [
    ("saliency", {"target": 3}, UsageError, "target: there is no class 3: the model has 3.*use 0 to 2"),
    ("saliency", {"target": -1}, UsageError, "there is no class -1"),
    ("saliency", {"target": "cat"}, UsageError, "there is no class 'cat'"),
    ("saliency", {"target": 1.5}, UsageError, "the target is 1.5"),
    ("saliency", {"target": [0, 1]}, UsageError, "2 targets for 5 samples"),
    ("saliency", {"target": (1, 2)}, UsageError, r"no place in an output of \(3,\)"),
    ("saliency", {"output": "z"}, UnknownNameError, "no output 'z'.*use one of y"),
    ("saliency", {"baseline": np.zeros(3)}, UsageError, r"baseline \(3,\) does not fit the input \(5, 4\)"),
    ("saliency", {"baseline": (0, 0)}, UsageError, "2 baselines for 1 inputs"),
    ("saliency", {"target": "--1"}, UsageError, "there is no class '--1'"),
    ("saliency", {"target": "²"}, UsageError, "there is no class '²'"),
    ("saliency", {"metric": "accuracy"}, UsageError, "metric: .*true targets, and there are none"),
    ("salience", {}, UnknownNameError, "salience.*saliency"),
    ("grad-cam", {}, UsageError, "grad-cam: the model takes no image"),
    ("attention", {}, UsageError, "the model has no attention"),
    ("permutation", {}, UsageError, "no true targets"),
    ("permutation", {"y": np.zeros(5, int), "metric": "confusion_matrix"}, UsageError, "no number that is"),
    ("integrated-gradients:steps=0", {}, bm.errors.ConfigError, "steps"),
]


@pytest.mark.parametrize(("method", "options", "error", "says"), REFUSED)
def test_what_makes_no_sense_is_refused(method: str, options: Any, error: Any, says: str) -> None:
    with pytest.raises(error, match=f"(?s){says}"):
        bm.explain(models.perceptron(), models.TABLE, method, **options)


def test_what_does_not_fit_the_model_is_refused() -> None:
    images = models.convolutions()
    with pytest.raises(UnknownNameError, match=r"(?s)no layer 'conv2d_7'.*conv2d_1"):
        bm.explain(images, models.IMAGES, "grad-cam:layer=conv2d_7")
    with pytest.raises(UsageError, match=r"dense_1: it returns \(3,\), which are no feature maps"):
        bm.explain(images, models.IMAGES, "grad-cam:layer=dense_1")
    with pytest.raises(UsageError, match="first layer does not multiply"):
        bm.explain(images, models.IMAGES, "weights")
    with pytest.raises(UsageError, match="first layer does not multiply one table"):
        bm.explain(bm.layers.Dense(3), models.TABLE[:, None], "weights")
    with pytest.raises(ShapeError):
        bm.explain(images, models.TABLE)
    with pytest.raises(DataError, match="no sample"):
        bm.explain(images, models.IMAGES[:0])
    with pytest.raises(UsageError, match="nothing says how a text becomes a sample"):
        bm.explain(images, "a text")
    with pytest.raises(UsageError, match=r"baseline is float64, and the input holds tokens"):
        bm.explain(models.reader(), models.TOKENS, baseline=0.5)
    with pytest.raises(DataError, match="9"):
        bm.explain(models.reader(), models.TOKENS, baseline=9)
    with pytest.raises(UsageError, match="samples have tokens"):
        bm.explain(models.reader(), models.TOKENS, "permutation", y=np.zeros(2, int))


class Parity(bm.Layer):
    def __call__(self, x: Any) -> Any:
        return bm.ops.sum((x % 2).astype("float32"), axis=1)


def test_tokens_without_an_embedding_are_refused() -> None:
    model = models.built(Parity(), bm.Spec(("N", 5), "int64"))
    with pytest.raises(UsageError, match="looks up no embedding"):
        bm.explain(model, np.abs(models.TOKENS))


# Activations -----------------------------------------------------------------------------------------------


def test_activations_are_what_numpy_computes() -> None:
    model = models.perceptron()
    found = bm.activations(model, models.TABLE)
    assert list(found) == ["dense_1", "tanh_1", "dense_2"]
    np.testing.assert_allclose(found["tanh_1"], np.tanh(found["dense_1"].astype(np.float64)), rtol=1e-5)
    np.testing.assert_allclose(found["dense_2"], models.numpy_scores(model, models.TABLE), rtol=1e-4)


def test_a_layer_of_activations_is_named_as_elsewhere() -> None:
    with pytest.raises(UnknownNameError, match=r"(?s)no layer 'dense_9'.*dense_1"):
        bm.activations(models.perceptron(), models.TABLE, "dense_9")
    with pytest.raises(bm.errors.GraphError, match="called 3 times"):
        bm.activations(models.reused(), (np.abs(models.TOKENS),) * 2, "hidden")


def test_gradients_of_a_model_that_remembers() -> None:
    model = bm.models.build("gpt", vocabulary=9, context=8, layers=1, heads=2, width=8)
    models.built(model, bm.Spec(("N", "T"), "int64"))
    tokens = np.abs(models.TOKENS)
    slopes = bm.gradients(model, tokens, wrt="embedding", weights=np.eye(9, dtype="float32")[2])
    assert slopes.shape == (2, 5, 8)
    assert np.abs(slopes[:, 4]).max() > 0
