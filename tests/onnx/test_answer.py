"""Raw input in, label and probability out, in stock ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.data.data import Data
from bigmodel_core.data.split import Split
from bigmodel_core.errors import ConfigError, ExportError, ShapeError
from bigmodel_onnx import Onnx
from tests.onnx.conftest import Function, run

IMAGES = bm.Preprocessing(
    1 / 255, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4), raw_dtype="uint8", raw_shape=(3, 4, 4)
)


def _classifier(classes: int = 3) -> bm.Layer:
    model = bm.Sequential(bm.layers.Flatten(), bm.layers.Dense(classes))
    model.build(bm.Spec(("N", 3, 4, 4)), seed=2)
    return model


def _expected(model: bm.Layer, raw: np.ndarray) -> np.ndarray:
    """Normalisation, the affine map and softmax in NumPy and float64."""
    x = raw.astype("float64") / 255
    x = (x - np.reshape([0.4, 0.5, 0.6], (3, 1, 1))) / np.reshape([0.2, 0.3, 0.4], (3, 1, 1))
    scores = x.reshape(len(x), -1) @ model.state()["dense_1/weight"] + model.state()["dense_1/bias"]
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def test_an_image_of_bytes_gives_label_and_probability(tmp_path: Path) -> None:
    model = _classifier()
    report = bm.export(
        model,
        tmp_path / "model.onnx",
        with_preprocessing=True,
        preprocessing=IMAGES,
        labels=("cat", "dog", "fox"),
    )
    assert report.outputs == ("label", "probability", "probabilities")
    for batch in (1, 2, 7):
        raw = np.random.default_rng(batch).integers(0, 256, (batch, 3, 4, 4)).astype("uint8")
        label, probability, probabilities = run(tmp_path / "model.onnx", raw)
        expected = _expected(model, raw)
        assert label.dtype == np.int64
        np.testing.assert_array_equal(label, expected.argmax(1))
        np.testing.assert_allclose(probability, expected.max(1), rtol=1e-4)
        np.testing.assert_allclose(probabilities, expected, rtol=1e-4, atol=1e-6)


def test_the_input_is_of_the_raw_type_and_steps_that_do_nothing_are_left_out(tmp_path: Path) -> None:
    plain = bm.Preprocessing(1.0, mean=(0.0,), std=(1.0,), raw_dtype="uint8", raw_shape=(3, 4, 4))
    report = bm.export(_classifier(), tmp_path / "model.onnx", with_preprocessing=True, preprocessing=plain)
    assert report.operators == {"Cast": 1, "Flatten": 1, "Gemm": 1, "Softmax": 1, "ArgMax": 1, "ReduceMax": 1}
    (item,) = Onnx().describe(tmp_path / "model.onnx")["inputs"]
    assert (item["dtype"], item["shape"]) == ("uint8", ["N", 3, 4, 4])
    assert onnx.load(tmp_path / "model.onnx").graph.node[0].name == "preprocessing/Cast"


def test_a_model_that_ends_with_softmax_gets_no_second_one(tmp_path: Path) -> None:
    model = bm.Sequential(bm.layers.Flatten(), bm.layers.Dense(3), bm.layers.Softmax())
    model.build(bm.Spec(("N", 3, 4, 4)))
    report = bm.export(model, tmp_path / "model.onnx", with_preprocessing=True, preprocessing=IMAGES)
    assert report.operators["Softmax"] == 1


@pytest.mark.parametrize("shape", [(1,), ()])
@pytest.mark.parametrize("sigmoid", [False, True])
def test_one_score_answers_yes_or_no(tmp_path: Path, shape: tuple[int, ...], sigmoid: bool) -> None:
    def score(x: bm.Value) -> bm.Value:
        y = (x * 2.0).reshape("N", *shape)
        return ops.sigmoid(y) if sigmoid else y

    model = Function(score)
    model.build(bm.Spec(("N", 1)))
    steps = bm.Preprocessing(raw_dtype="float32", raw_shape=(1,))
    bm.export(model, tmp_path / "m.onnx", with_preprocessing=True, preprocessing=steps, labels=("no", "yes"))
    label, probability, probabilities = run(tmp_path / "m.onnx", np.float32([[-1], [0.5]]))
    chance = 1 / (1 + np.exp([2.0, -1.0]))
    assert label.tolist() == [0, 1]
    np.testing.assert_allclose(probability, [1 - chance[0], chance[1]], rtol=1e-5)
    np.testing.assert_allclose(probabilities, chance, rtol=1e-5)


def test_regression_takes_raw_input_and_gives_numbers(tmp_path: Path) -> None:
    model = bm.Sequential(bm.layers.Dense(1))
    model.build(bm.Spec(("N", 2)))
    steps = bm.Preprocessing(mean=(1.0, 2.0), std=(3.0, 4.0), raw_dtype="float64", raw_shape=(2,))
    report = bm.export(
        model, tmp_path / "m.onnx", with_preprocessing=True, preprocessing=steps, task="regression"
    )
    assert report.outputs == ("y",)
    raw = np.array([[1.0, 2.0], [4.0, 6.0]])
    weight = model.state()["dense_1/weight"].astype("float64")
    np.testing.assert_allclose(
        run(tmp_path / "m.onnx", raw)[0], [[0.0], [weight.sum()]], rtol=1e-5, atol=1e-6
    )


def test_a_data_set_says_what_is_needed(tmp_path: Path) -> None:
    raw = np.random.default_rng(0).integers(0, 256, (8, 3, 4, 4)).astype("uint8")
    train = Split(IMAGES.apply(raw), np.arange(8) % 3)
    data = Data(
        "pets", train, train, labels=("cat", "dog", "fox"), preprocessing=IMAGES, input_meaning="a photo"
    )
    bm.export(_classifier(), tmp_path / "model.onnx", with_preprocessing=True, data=data)
    metadata = Onnx().describe(tmp_path / "model.onnx")["metadata"]
    assert metadata["labels"] == ["cat", "dog", "fox"]
    assert (metadata["dataset"], metadata["input_meaning"]) == ("pets", "a photo")
    assert (metadata["task"], metadata["input"]) == ("classification", "raw")
    assert bm.Preprocessing.from_dict(metadata["preprocessing"]) == IMAGES


def test_the_preprocessing_is_needed_and_has_to_fit(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Fix: pass preprocessing"):
        bm.export(_classifier(), tmp_path / "model.onnx", with_preprocessing=True)
    other = bm.Preprocessing(raw_shape=(5,))
    with pytest.raises(ExportError, match=r"raw samples are \(5,\), the model takes \(N, 3, 4, 4\)"):
        bm.export(_classifier(), tmp_path / "model.onnx", with_preprocessing=True, preprocessing=other)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "details", [{"labels": ("a", "b")}, {"task": "binary"}, {"task": "clustering"}, {"labels": ("a",) * 4}]
)
def test_labels_and_task_have_to_fit_the_scores(tmp_path: Path, details: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        bm.export(
            _classifier(), tmp_path / "model.onnx", with_preprocessing=True, preprocessing=IMAGES, **details
        )


# Predictions -----------------------------------------------------------------------------------------------


def test_a_session_answers_with_names(tmp_path: Path) -> None:
    model = _classifier()
    labels = ("cat", "dog", "fox")
    bm.export(model, tmp_path / "raw.onnx", with_preprocessing=True, preprocessing=IMAGES, labels=labels)
    bm.export(model, tmp_path / "plain.onnx", labels=labels)
    raw = np.random.default_rng(1).integers(0, 256, (4, 3, 4, 4)).astype("uint8")
    expected = _expected(model, raw)
    for name, given in (("raw.onnx", raw), ("plain.onnx", IMAGES.apply(raw))):
        answers = Onnx().session(tmp_path / name).classify(given)
        assert [answer.label for answer in answers] == [labels[index] for index in expected.argmax(1)]
        np.testing.assert_allclose([answer.probability for answer in answers], expected.max(1), rtol=1e-4)


def test_a_session_refuses_what_does_not_fit(tmp_path: Path) -> None:
    bm.export(_classifier(), tmp_path / "raw.onnx", with_preprocessing=True, preprocessing=IMAGES)
    session = Onnx().session(tmp_path / "raw.onnx")
    with pytest.raises(ShapeError, match=r"expected \(N, 3, 4, 4\), got \(2, 4, 4\)"):
        session.run(np.zeros((2, 4, 4), "uint8"))
    with pytest.raises(bm.errors.DtypeError, match="expected uint8, got float64"):
        session.run(np.full((1, 3, 4, 4), 0.5))
    with pytest.raises(bm.errors.DtypeError, match="expected uint8"):
        session.run(np.full((1, 3, 4, 4), 300))
    assert session.run(np.full((1, 3, 4, 4), 200))["label"].shape == (1,)


def test_scores_that_are_no_classes_are_not_classified(tmp_path: Path) -> None:
    model = bm.layers.Dense(1)
    model.build(bm.Spec(("N", 2)))
    bm.export(model, tmp_path / "m.onnx")
    with pytest.raises(ExportError, match="not the scores of classes"):
        Onnx().session(tmp_path / "m.onnx").classify(np.zeros((2, 2), "float32"))


def test_the_most_probable_span_of_texts(tmp_path: Path) -> None:
    model = bm.models.build("bert-spans", vocabulary=9, context=16, layers=1, heads=2, width=8)
    model.build(*model.input_spec())
    generator = np.random.default_rng(0)
    model.load_state({key: generator.normal(0, 1, array.shape) for key, array in model.state().items()})
    bm.export(model, tmp_path / "model.onnx", with_preprocessing=True)
    tokens, segments = generator.integers(0, 9, (20, 7)), np.zeros((20, 7), "int64")
    start, end, probability = run(tmp_path / "model.onnx", tokens, np.ones_like(tokens), segments)
    scores = model(tokens, segments)
    for row in range(20):
        first, last = (np.exp(scores[name][row].astype(float)) for name in ("start", "end"))
        chances = {
            (a, b): first[a] / first.sum() * last[b] / last.sum() for a in range(7) for b in range(a, 7)
        }
        assert (start[row], end[row]) == max(chances, key=lambda pair: chances[pair])
        assert probability[row] == pytest.approx(max(chances.values()), rel=1e-4)
    assert (np.argmax(scores["start"], 1) > np.argmax(scores["end"], 1)).any(), "the order matters nowhere"


@pytest.mark.parametrize("name", ["gpt", "transformer"])
def test_a_model_that_writes_texts_has_no_labels(name: str, tmp_path: Path) -> None:
    model = bm.models.build(name, layers=1, heads=2, width=8, vocabulary=9)
    model.build(*model._input_specs())
    with pytest.raises(ConfigError, match="writes texts"):
        bm.export(model, tmp_path / "model.onnx", with_preprocessing=True)
    assert not list(tmp_path.iterdir())
