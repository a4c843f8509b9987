"""Convolutions and pools with a free length, height and width: built, trained, exported, read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import ShapeError
from tests.onnx.conftest import run

layers = bm.layers


def of_sequences() -> bm.Layer:
    return bm.Sequential(
        layers.Conv1d(6, 3, padding="same"),
        layers.BatchNorm(),
        layers.Relu(),
        layers.Conv1d(8, 3, dilation=2, padding=1),
        layers.MaxPool1d(3, 1, 1),
        layers.AveragePool1d(2, 1),
        layers.GlobalAveragePool(),
        layers.Dense(2),
    )


def of_images() -> bm.Layer:
    return bm.Sequential(
        layers.Conv2d(4, 3, padding=1),
        layers.BatchNorm(),
        layers.Relu(),
        layers.ConvTranspose2d(3, 3, 2, 1, 1),
        layers.Upsample2d(2),
        layers.ZeroPad2d((1, 0, 2, 1)),
        layers.AveragePool2d(3, 1),
        layers.MaxPool2d(2, 1),
        layers.Conv2d(2, 2, padding="same"),
    )


CASES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "sequences": (of_sequences, ("N", 4, "T")),
    "images": (of_images, ("N", 3, "H", "W")),
}


def draw(shape: tuple[Any, ...], **sizes: int) -> np.ndarray:
    known = [sizes.get(dim, dim) for dim in shape]
    return np.random.default_rng(sum(sizes.values())).normal(size=known).astype("float32")


@pytest.mark.parametrize("name", CASES)
def test_one_model_computes_what_models_of_fixed_sizes_compute(name: str) -> None:
    make, shape = CASES[name]
    free = make().build(bm.Spec(shape), seed=3)
    for sizes in ({"T": 9, "H": 5, "W": 8}, {"T": 14, "H": 9, "W": 6}):
        fixed = make().build(bm.Spec(tuple(sizes.get(dim, dim) for dim in shape)), seed=3)
        x = draw(shape, N=3, **sizes)
        np.testing.assert_allclose(free(x), fixed(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_training_at_changing_sizes_is_training_at_fixed_ones(name: str) -> None:
    """Losses and weights after steps at two sizes, beside models of each size with the same weights."""
    whole, shape = CASES[name]

    def make() -> bm.Layer:
        return bm.Sequential(whole(), layers.GlobalAveragePool()) if len(shape) == 4 else whole()

    model = make()
    model.build(bm.Spec(shape), seed=3)
    loss, optimizer = bm.losses.get("mean_squared_error")(), bm.optimizers.SGD(0.01)
    step = bm.compile(model, loss=loss, optimizer=optimizer)
    state = model.state()
    for sizes in ({"T": 9, "H": 5, "W": 8}, {"T": 14, "H": 9, "W": 6}, {"T": 9, "H": 5, "W": 8}):
        x = draw(shape, N=4, **sizes)
        fixed = make()
        fixed.build(bm.Spec(tuple(sizes.get(dim, dim) for dim in shape)))
        fixed.load_state(state)
        y = np.zeros_like(fixed(x))
        alone = bm.compile(fixed, loss=loss, optimizer=optimizer)(x, y)
        np.testing.assert_allclose(step(x, y), alone, rtol=1e-5)
        state = model.state()
        for key, array in fixed.state().items():
            np.testing.assert_allclose(state[key], array, rtol=1e-4, atol=1e-6, err_msg=key)


@pytest.mark.parametrize("name", CASES)
def test_the_file_runs_at_any_size_and_comes_back(name: str, tmp_path: Path) -> None:
    make, shape = CASES[name]
    model = make().build(bm.Spec(shape), seed=3)
    report = bm.export(model, tmp_path / "model.onnx")
    again = bm.from_onnx(tmp_path / "model.onnx")
    for sizes in ({"T": 7, "H": 5, "W": 8}, {"T": 31, "H": 12, "W": 6}):
        x = draw(shape, N=2, **sizes)
        wanted = model(x)
        np.testing.assert_allclose(run(tmp_path / "model.onnx", x)[0], wanted, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(again(x), wanted, rtol=1e-4, atol=1e-5)
    assert bm.export(again, tmp_path / "again.onnx").operators == report.operators


def test_a_file_of_long_filters_is_compared_at_sizes_that_fit_them(tmp_path: Path) -> None:
    model = layers.Conv1d(2, 20).build(bm.Spec(("N", 1, "T")))
    assert list(bm.export(model, tmp_path / "model.onnx").differences) == ["N = 1, T = 65", "N = 7, T = 67"]


def test_strides_are_fine_where_the_size_is_a_multiple() -> None:
    model = bm.Sequential(layers.Upsample2d(2), layers.MaxPool2d(2), layers.Conv2d(3, 1))
    network = model.build(bm.Spec(("N", 4, "H", "W")))
    assert network.outputs[0].shape == ("N", 3, "H", "W")
    assert network(draw(("N", 4, "H", "W"), N=2, H=5, W=3)).shape == (2, 3, 5, 3)


@pytest.mark.parametrize("steps", [2, 4])
def test_sequences_shorter_than_a_filter_are_refused(steps: int) -> None:
    network = layers.Conv1d(3, 5).build(bm.Spec(("N", 2, "T")))
    with pytest.raises(ShapeError, match=r"would be -2 with T = 2|does not fit an image of 1 x 4"):
        network(np.zeros((1, 2, steps), "float32"))
