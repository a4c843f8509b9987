"""Two classes by one logit from Python: targets of every shape and type, metrics, probabilities, export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import BigmodelWarning, ConfigError, DataError, GraphError, ShapeError, UsageError

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(80, 3)).astype("float32")
Y = (X[:, 0] + GENERATOR.normal(0, 0.5, 80) > 0).astype("int64")
METRICS = ["accuracy", "precision", "recall", "f1", "auc"]


@dataclass(frozen=True)
class Flat(bm.Layer):
    """One logit a sample, without an axis for it."""

    def __call__(self, x: Any) -> Any:
        return bm.ops.reshape(bm.layers.Dense(1)(x), (x.shape[0],))


def trained(model: Any, y: np.ndarray) -> Any:
    trainer = bm.Trainer(model, "binary_cross_entropy", bm.optimizers.Adam(0.05), METRICS)
    trainer.fit((X, y), 8, 16, validation=(X, y), verbose=False)
    return trainer


@pytest.mark.parametrize("dtype", ["int64", "bool", "uint8", "float32", "float64"])
@pytest.mark.parametrize("shape", [(80,), (80, 1)])
@pytest.mark.parametrize("layer", [bm.layers.Dense, Flat])
def test_targets_of_every_shape_and_type_train_and_measure_alike(layer: Any, shape: Any, dtype: str) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    trainer = trained(
        bm.layers.Dense(1) if layer is bm.layers.Dense else Flat(), Y.astype(dtype).reshape(shape)
    )
    found = trainer.evaluate((X, Y.astype(dtype).reshape(shape)), batch_size=7)
    scores = trainer.predict(X).reshape(-1).astype("float64")
    wide = np.log1p(np.exp(-np.abs(scores))) + np.maximum(scores, 0) - scores * Y
    average = "macro"
    expected = {
        "loss": wide.mean(),
        "accuracy": sklearn.accuracy_score(Y, scores > 0),
        "precision": sklearn.precision_score(Y, scores > 0, average=average),
        "recall": sklearn.recall_score(Y, scores > 0, average=average),
        "f1": sklearn.f1_score(Y, scores > 0, average=average),
        "auc": sklearn.roc_auc_score(Y, scores),
    }
    assert found == pytest.approx(expected, rel=1e-5)
    assert trainer.history["val_auc"][-1] == pytest.approx(expected["auc"], abs=1e-12)
    assert found["auc"] > 0.85


def test_one_logit_trains_as_in_pytorch(torch: Any) -> None:
    network = bm.layers.Dense(1).build(bm.Spec(("N", 3)))
    start = network.state()
    theirs = torch.nn.Linear(3, 1)
    with torch.no_grad():
        theirs.weight.copy_(torch.tensor(start["weight"].T))
        theirs.bias.copy_(torch.tensor(start["bias"]))
    step = bm.compile(network, "binary_cross_entropy", bm.optimizers.SGD(0.5))
    optimizer = torch.optim.SGD(theirs.parameters(), 0.5)
    loss = torch.nn.BCEWithLogitsLoss()
    for _ in range(5):
        value = loss(theirs(torch.tensor(X))[:, 0], torch.tensor(Y, dtype=torch.float32))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        assert step(X, Y) == pytest.approx(value.item(), rel=1e-5)
    np.testing.assert_allclose(network.state()["weight"].T, theirs.weight.detach().numpy(), rtol=1e-4)


def test_predictions_of_one_shape_against_targets_of_another_are_never_broadcast() -> None:
    step = bm.compile(bm.layers.Dense(3), "binary_cross_entropy", "sgd")
    for wrong in (Y, Y[:, None], np.stack([Y, Y], 1)):
        with pytest.raises(ShapeError):
            step(X, wrong)
    with pytest.raises(DataError, match="label 2"):
        bm.compile(bm.layers.Dense(1), "binary_cross_entropy", "sgd")(X, np.full(80, 2))


# Probabilities ----------------------------------------------------------------------------------------------


def softmax(scores: np.ndarray) -> np.ndarray:
    scipy = pytest.importorskip("scipy.special")
    return scipy.softmax(scores.astype("float64"), -1)


@pytest.mark.parametrize("model", [bm.layers.Dense(1), Flat()], ids=["(N, 1)", "(N,)"])
def test_the_probabilities_of_two_classes_have_two_columns(model: Any) -> None:
    scipy = pytest.importorskip("scipy.special")
    trainer = trained(model, Y)
    found = trainer.predict_proba(X, batch_size=13)
    of_one = scipy.expit(trainer.predict(X).reshape(-1).astype("float64"))
    assert (found.shape, found.dtype) == ((80, 2), np.dtype("float64"))
    np.testing.assert_allclose(found, np.stack([1 - of_one, of_one], 1), rtol=1e-12)
    np.testing.assert_array_equal(found.argmax(1), trainer.predict(X).reshape(-1) > 0)


@pytest.mark.parametrize("shape", [(6, 4), (6, 5, 4)])
def test_the_probabilities_of_classes_are_the_softmax_of_their_scores(shape: tuple[int, ...]) -> None:
    x = GENERATOR.normal(size=(*shape[:-1], 2)).astype("float32") * 50
    trainer = bm.Trainer(bm.layers.Dense(4), "cross_entropy", "sgd")
    trainer.fit((x, np.zeros(shape[:-1], int)), verbose=False)
    found = trainer.predict_proba(x)
    np.testing.assert_allclose(found, softmax(trainer.predict(x)), rtol=1e-9, atol=1e-300)
    np.testing.assert_allclose(found.sum(-1), 1)


@pytest.mark.parametrize(("last", "outputs"), [("softmax", 3), ("sigmoid", 1)])
def test_a_model_that_makes_probabilities_itself_is_taken_at_its_word(last: str, outputs: int) -> None:
    end = {"softmax": bm.layers.Softmax, "sigmoid": bm.layers.Sigmoid}[last]()
    model = bm.Sequential(bm.layers.Dense(outputs), end)
    model(X)
    found = bm.Trainer(model, "mean_squared_error").predict_proba(X)
    assert found.shape == (80, max(outputs, 2))
    np.testing.assert_allclose(found[:, -1], model(X)[:, -1], rtol=1e-6)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("last", "loss", "units"), [("Softmax", "cross_entropy", 2), ("Sigmoid", "binary_cross_entropy", 1)]
)
def test_probabilities_that_are_made_twice_are_told_of_when_a_step_is_built(
    last: str, loss: str, units: int
) -> None:
    def ends(end: Any) -> Any:
        return bm.Sequential(bm.layers.Dense(units), end, bm.layers.Flatten())

    step = bm.compile(ends(getattr(bm.layers, last)()), loss, "sgd")
    with pytest.warns(BigmodelWarning) as caught:
        step(X, Y)
    (text,) = (str(warning.message) for warning in caught)
    name, kind = last.lower(), type(step.loss).__name__
    assert text.startswith(f"{name}_1 ({last}): the model ends in a {name}, but {kind} takes scores")
    assert f"Train without the {name}" in text
    step.gradients(X, Y)  # which makes another program, and says nothing more
    for end, other in ((bm.layers.Tanh(), loss), (getattr(bm.layers, last)(), "hinge")):
        bm.compile(ends(end), other, "sgd")(X, Y)


def test_the_output_whose_probabilities_are_made_twice_is_named() -> None:
    @dataclass(frozen=True)
    class Two(bm.Layer):
        def __call__(self, x: Any) -> Any:
            return {"kind": bm.ops.softmax(bm.layers.Dense(2)(x)), "size": bm.ops.softmax(x)}

    trainer = bm.Trainer(Two(), {"kind": "cross_entropy", "size": "huber"}, "sgd")
    with pytest.warns(BigmodelWarning, match="the output 'kind' ends in a softmax") as caught:
        trainer.fit((X, {"kind": Y, "size": X}), verbose=False)
    assert len(caught) == 1


def test_numbers_have_no_probabilities() -> None:
    for loss in ("mean_squared_error", "hinge"):
        trainer = bm.Trainer(bm.layers.Dense(1), loss, "sgd")
        trainer.fit((X, Y if loss == "hinge" else X[:, :1]), verbose=False)
        with pytest.raises(UsageError, match="which probabilities"):
            trainer.predict_proba(X)


def test_of_several_outputs_one_has_to_be_meant() -> None:
    @dataclass(frozen=True)
    class Two(bm.Layer):
        def __call__(self, x: Any) -> Any:
            return {"a": x, "b": x}

    Two().build(bm.Spec(("N", 3)))
    model = Two()
    model(X)
    with pytest.raises(GraphError, match=r"returns 2 outputs \(a, b\)"):
        bm.Trainer(model, "cross_entropy").predict_proba(X)


# Models and data --------------------------------------------------------------------------------------------


def data(task: Any) -> bm.Data:
    split = bm.Split(X, Y)
    return bm.Data("two", split, split, labels=("no", "yes"), task=task)


@pytest.mark.parametrize("name", ["mlp", "logistic-regression", "lenet", "resnet20", "lstm-classifier"])
def test_models_take_one_score_for_binary_data(name: str) -> None:
    model = bm.models.build(name)
    fitted = model.fitted(data("binary"))
    assert (fitted.classes, fitted.usual_loss) == (1, "binary_cross_entropy")
    for changed in (
        model.fitted(data("classification")),
        model.fitted(data("binary"), bm.losses.CrossEntropy()),
        model.fitted(data("binary"), bm.losses.Hinge()),
    ):
        assert (changed.classes, changed.usual_loss) == (2, "cross_entropy")
    assert model.fitted(data("classification"), bm.losses.BinaryCrossEntropy()).classes == 1


def test_a_model_that_insists_on_two_scores_keeps_them() -> None:
    @dataclass(frozen=True)
    class Strict(bm.Model):
        classes: int = 4

        def __post_init__(self) -> None:
            if self.classes < 2:
                raise ConfigError("at least two.")

    assert Strict().fitted(data("binary")).classes == 2


def test_a_trainer_takes_the_loss_of_one_score_by_itself(tmp_path: Path) -> None:
    two = data("binary")
    trainer = bm.Trainer(bm.models.build("mlp").fitted(two), metrics=["auc"])
    trainer.fit(two, 3, verbose=False, validation=0.25)
    assert isinstance(trainer.step.loss, bm.losses.BinaryCrossEntropy)
    steps = bm.Preprocessing(raw_dtype="float32", raw_shape=(3,))
    bm.export(trainer.network, tmp_path / "m.onnx", with_preprocessing=True, preprocessing=steps)
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    label, probability, _ = session.run(None, {"x": X})
    chances = trainer.predict_proba(X)
    np.testing.assert_array_equal(label, chances.argmax(1))
    np.testing.assert_allclose(probability, chances.max(1), rtol=1e-5)
