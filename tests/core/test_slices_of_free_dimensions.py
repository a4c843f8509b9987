"""Slices of a dimension that is only known when the model runs are cut at its ends, as NumPy cuts them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import ShapeError
from tests.onnx.conftest import run

BOUNDS = [
    *((None, 10), (2, None), (None, 1), (1, -1), (5, 10), (None, -2), (-3, None), (-1, None)),
    *((-2, -1), (-5, -4), (3, -2), (-3, 2), (4, 2), (-1, -3), (1, 2**40)),
]


BACKWARDS = [
    *((None, None, -1), (None, None, -2), (-2, None, -1), (3, None, -3), (None, -4, -1), (None, 0, -1)),
    *((5, -3, -2), (-3, 0, -2), (3, 0, -1), (0, None, -1), (2**40, None, -1), (2, 4, -1)),
]


@dataclass(frozen=True)
class Part(bm.Layer):
    """A part of each sequence, doubled."""

    start: Any = None
    stop: Any = None
    step: Any = None

    def __call__(self, x: Any) -> Any:
        return x[:, self.start : self.stop : self.step] * 2.0


@pytest.mark.parametrize(("start", "stop"), BOUNDS)
def test_slices_are_those_of_numpy_and_of_onnx_runtime(start: Any, stop: Any, tmp_path: Path) -> None:
    model = Part(start, stop)
    model.build(bm.Spec(("N", "T", 2)))
    bm.export(model, tmp_path / "model.onnx")
    again = bm.from_onnx(tmp_path / "model.onnx")
    bm.export(again, tmp_path / "again.onnx")
    for length in range(1, 8):
        x = np.random.default_rng(length).normal(size=(2, length, 2)).astype("float32")
        wanted = x[:, start:stop] * 2
        for found in (
            model(x),
            again(x),
            *(run(tmp_path / name, x)[0] for name in ("model.onnx", "again.onnx")),
        ):
            np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(("start", "stop", "step"), BACKWARDS)
def test_slices_backwards_are_those_of_numpy(start: Any, stop: Any, step: int, tmp_path: Path) -> None:
    model = Part(start, stop, step)
    model.build(bm.Spec(("N", "T", 2)))
    bm.export(model, tmp_path / "model.onnx")
    again = bm.from_onnx(tmp_path / "model.onnx")
    for length in range(1, 8):
        x = np.random.default_rng(length).normal(size=(2, length, 2)).astype("float32")
        wanted = x[:, start:stop:step] * 2
        for found in (model(x), again(x), run(tmp_path / "model.onnx", x)[0]):
            np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("start", "stop"), [(start, stop) for start, stop in BOUNDS if (start, stop) != (-3, 2)]
)
def test_the_file_has_the_bounds_as_they_were_written(start: Any, stop: Any, tmp_path: Path) -> None:
    model = Part(start, stop)
    model.build(bm.Spec(("N", "T", 2)))
    bm.export(model, tmp_path / "model.onnx")
    found = [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node]
    assert found in (["Slice", "Mul"], ["Gather", "Mul"])


def test_a_slice_of_a_slice_is_cut_twice() -> None:
    @dataclass(frozen=True)
    class Twice(bm.Layer):
        def __call__(self, x: Any) -> Any:
            return x[:, :5][:, -3:] + x[:, 1:][:, :2][:, :1]

    model = Twice()
    with pytest.raises(ShapeError, match=r"min\(T, 3\)"):
        model.build(bm.Spec(("N", "T")))


@dataclass(frozen=True)
class Sum(bm.Layer):
    """The sum over the steps."""

    def __call__(self, x: Any) -> Any:
        return bm.ops.sum(x, 1)


@pytest.mark.parametrize("size", [1, 2, 4, 9])
def test_gradients_of_a_slice_that_was_cut_go_where_it_came_from(size: int) -> None:
    """The mean over samples of (the sum of 2 w x over what is left)^2, differentiated by w."""
    model = bm.Sequential(bm.layers.Dense(1, use_bias=False), Part(None, 3), Sum())
    model.build(bm.Spec(("N", "T", 1)))
    x = np.random.default_rng(0).normal(size=(2, size, 1)).astype("float32")
    _, slopes = bm.value_and_grad(model, "mean_squared_error")(x, np.zeros((2, 1), "float32"))
    ((path, slope),) = slopes.items()
    wanted = (8 * model.state()[path] * x[:, :3].sum(1) ** 2).mean()
    np.testing.assert_allclose(slope.item(), wanted.item(), rtol=1e-5)


def test_one_element_that_is_not_there_is_refused() -> None:
    @dataclass(frozen=True)
    class Third(bm.Layer):
        def __call__(self, x: Any) -> Any:
            return x[:, 2] * 2.0

    model = Third()
    model.build(bm.Spec(("N", "T")))
    assert model(np.ones((1, 3), "float32")).tolist() == [2]
    with pytest.raises(ShapeError, match="runs past axis 1"):
        model(np.ones((1, 2), "float32"))
