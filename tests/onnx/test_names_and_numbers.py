"""What exported files call inputs and outputs, which labels they carry, and numbers they must not have."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, ExportError
from bigmodel_onnx.verify import difference

X = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
OTHER = np.random.default_rng(1).normal(size=(5, 2)).astype("float32")
RAW = bm.Preprocessing(raw_dtype="float32", raw_shape=(3,))


@dataclass(frozen=True)
class Towers(bm.Layer):
    """Two inputs, two outputs by name."""

    def __call__(self, left: Any, right: Any) -> Any:
        return {"left_score": bm.layers.Dense(2)(left), "both": bm.ops.concatenate([left, right])}


Pair = namedtuple("Pair", ["mean", "spread"])


@dataclass(frozen=True)
class Named(bm.Layer):
    """A named tuple, one field of which is called like the input."""

    def __call__(self, x: Any) -> Any:
        return {"x": x * 2.0, "mean": x} if x.shape[-1] == 2 else Pair(x * 2.0, x)


def session(path: Path) -> Any:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def names(path: Path) -> tuple[list[str], list[str]]:
    found = session(path)
    return [item.name for item in found.get_inputs()], [item.name for item in found.get_outputs()]


@pytest.mark.parametrize("way", ["at once", "through a checkpoint"])
def test_arguments_and_keys_name_inputs_and_outputs(tmp_path: Path, way: str) -> None:
    model: Any = Towers()
    expected = model(X, OTHER)
    if way == "through a checkpoint":
        bm.save(model, tmp_path / "model")
        model = bm.load(tmp_path / "model")
    report = bm.export(model, tmp_path / "m.onnx")
    assert names(tmp_path / "m.onnx") == (["left", "right"], ["left_score", "both"])
    assert report.outputs == ("left_score", "both")
    found = session(tmp_path / "m.onnx").run(None, {"right": OTHER, "left": X})
    for wanted, got in zip(expected.values(), found, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_one_input_is_x_and_one_output_y(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class One(bm.Layer):
        def __call__(self, image: Any) -> Any:
            return image * 2.0

    model = One()
    model.build(bm.Spec(("N", 3)))
    bm.export(model, tmp_path / "m.onnx")
    assert names(tmp_path / "m.onnx") == (["x"], ["y"])


def test_fields_name_outputs_and_never_take_an_input_s_name(tmp_path: Path) -> None:
    for width, expected in ((3, ["mean", "spread"]), (2, ["x_output", "mean"])):
        model = Named()
        model.build(bm.Spec(("N", width)))
        bm.export(model, tmp_path / f"{width}.onnx")
        assert names(tmp_path / f"{width}.onnx") == (["x"], expected)


def test_a_single_output_may_have_a_name(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Logits(bm.Layer):
        def __call__(self, x: Any) -> Any:
            return {"logits": bm.layers.Dense(2)(x)}

    model = Logits()
    model.build(bm.Spec(("N", 3)))
    bm.export(model, tmp_path / "m.onnx", labels=("a", "b"))
    assert names(tmp_path / "m.onnx") == (["x"], ["logits"])
    bm.export(model, tmp_path / "p.onnx", labels=("a", "b"), with_preprocessing=True, preprocessing=RAW)
    assert names(tmp_path / "p.onnx")[1] == ["label", "probability", "probabilities"]


# Labels -----------------------------------------------------------------------------------------------------


def classifier(outputs: int) -> bm.Layer:
    model = bm.Sequential(bm.layers.Dense(outputs))
    model.build(bm.Spec(("N", 3)))
    return model


@pytest.mark.parametrize(("outputs", "count"), [(3, 2), (3, 4), (1, 3), (1, 1), (2, 3), (3, 0)])
@pytest.mark.parametrize("more", [{}, {"with_preprocessing": True, "preprocessing": RAW}])
def test_labels_of_another_number_than_the_classes_are_refused(
    tmp_path: Path, outputs: int, count: int, more: Any
) -> None:
    labels = tuple(f"class {number}" for number in range(count))
    classes = max(outputs, 2)
    with pytest.raises(ConfigError, match=f"there are {count} labels, but {classes} classes"):
        bm.export(classifier(outputs), tmp_path / "m.onnx", labels=labels, **more)
    assert not list(tmp_path.iterdir())


def test_labels_that_come_with_data_are_counted_too(tmp_path: Path) -> None:
    split = bm.Split(X, np.array([0, 1, 2, 0, 1]))
    data = bm.Data("three", split, split, labels=("a", "b", "c"))
    with pytest.raises(ConfigError, match="3 labels, but 5 classes"):
        bm.export(classifier(5), tmp_path / "m.onnx", data=data)


@pytest.mark.parametrize(("outputs", "labels"), [(1, ("no", "yes")), (3, ("a", "b", "c"))])
def test_labels_for_every_class_are_kept(tmp_path: Path, outputs: int, labels: tuple[str, ...]) -> None:
    bm.export(classifier(outputs), tmp_path / "m.onnx", labels=labels)


def test_labels_of_steps_and_pixels_are_counted_along_their_axis(tmp_path: Path) -> None:
    tagger = bm.Sequential(bm.layers.Dense(4))
    tagger.build(bm.Spec(("N", "T", 3)))
    bm.export(tagger, tmp_path / "t.onnx", labels=tuple("abcd"))
    pixels = bm.Sequential(bm.layers.Conv2d(4, 1))
    pixels.build(bm.Spec(("N", 3, 5, 5)))
    bm.export(pixels, tmp_path / "p.onnx", labels=tuple("abcd"))
    with pytest.raises(ConfigError, match="3 labels"):
        bm.export(pixels, tmp_path / "q.onnx", labels=tuple("abc"))


# Two classes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [None, "binary", "classification"])
@pytest.mark.parametrize("outputs", [1, 2])
def test_two_classes_by_one_score_or_two(tmp_path: Path, outputs: int, task: str | None) -> None:
    model = classifier(outputs)
    path = tmp_path / "m.onnx"
    bm.export(model, path, labels=("no", "yes"), task=task, with_preprocessing=True, preprocessing=RAW)
    label, probability, chances = session(path).run(None, {"x": X})
    scores = model(X).astype("float64")
    of_yes = 1 / (1 + np.exp(-(scores[:, 0] if outputs == 1 else scores[:, 1] - scores[:, 0])))
    np.testing.assert_allclose(chances if outputs == 1 else chances[:, 1], of_yes, rtol=1e-5)
    np.testing.assert_array_equal(label, of_yes > 0.5)
    np.testing.assert_allclose(probability, np.maximum(of_yes, 1 - of_yes), rtol=1e-5)


def test_a_score_of_zero_is_class_0_in_files_as_in_metrics(tmp_path: Path) -> None:
    model = classifier(1)
    model.load_state({path: array * 0 for path, array in model.state().items()})
    bm.export(model, tmp_path / "m.onnx", labels=("no", "yes"), with_preprocessing=True, preprocessing=RAW)
    label, probability, _ = session(tmp_path / "m.onnx").run(None, {"x": X})
    assert label.tolist() == [0] * 5
    assert bm.metrics.Accuracy()(model(X), np.zeros(5, int)) == 1.0
    np.testing.assert_array_equal(probability, 0.5)


# NaN and infinity -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parameters_that_are_no_numbers_are_named(tmp_path: Path, value: float, dtype: str) -> None:
    model = bm.Sequential(bm.layers.Dense(4), bm.layers.BatchNorm(), bm.layers.Dense(2))
    model.build(bm.Spec(("N", 3), dtype), dtype=dtype)
    for path in ("dense_2/weight", "batch_norm_1/running_variance"):
        state = model.state()
        changed = {**state, path: state[path].copy()}
        changed[path].flat[0] = value
        model.load_state(changed)
        with pytest.raises(ExportError, match=f"{path}: the parameter holds {value}; 1 of its"):
            bm.export(model, tmp_path / "m.onnx")
        model.load_state(state)
    assert not list(tmp_path.iterdir())


def test_a_model_that_gives_no_number_proves_nothing(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Never(bm.Layer):
        def __call__(self, x: Any) -> Any:
            return bm.ops.log(-1.0 - x * x)

    model = Never()
    model.build(bm.Spec(("N", 3)))
    with pytest.raises(ExportError, match="nothing to compare the file with.*nan for every sample"):
        bm.export(model, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_nan_differs_from_every_number(odd: float) -> None:
    numbers = np.array([1.0, 2.0, 3.0], "float32")
    spoilt = numbers.copy()
    spoilt[1] = odd
    for got, wanted in ((spoilt, numbers), (numbers, spoilt)):
        gap, allowed = difference(got, wanted)
        assert gap > allowed
    assert difference(spoilt, spoilt.copy())[0] == 0.0
