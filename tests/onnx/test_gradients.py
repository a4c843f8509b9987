"""Models that return gradients, such as a force that is the slope of an energy, in files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import ExportError
from bigmodel_core.graph import Value
from tests.onnx.conftest import run


@dataclass(frozen=True)
class Force(bm.Layer):
    """The negative slope of a scalar for each sample."""

    energy: bm.Layer

    def __call__(self, x: Value) -> Value:
        return -ops.gradients(ops.sum(self.energy(x)), x)


@dataclass(frozen=True)
class Activations(bm.Layer):
    """Every activation, and what else has a gradient op."""

    def __call__(self, x: Value) -> Value:
        found = [
            *(ops.relu(x), ops.leaky_relu(x, 0.2), ops.elu(x, 0.7), ops.sigmoid(x), ops.tanh(x), ops.silu(x)),
            *(ops.gelu(x), ops.gelu_tanh(x), ops.softplus(x), ops.softsign(x), ops.absolute(x)),
            *(ops.clip(x, -0.5, 0.5), ops.maximum(x, 0.1), ops.minimum(x, 0.2)),
            *(ops.softmax(x), ops.log_softmax(x)),
        ]
        scale = self.parameter("scale", x.shape[-1:], 0.5)
        normal = ops.layer_norm(x, scale, scale)
        return ops.square(ops.concatenate(found, 1)) + ops.concatenate([normal] * len(found), 1)


@dataclass(frozen=True)
class Picked(bm.Layer):
    """Elements of an array that are picked by numbers, some of them twice."""

    def __call__(self, x: Value) -> Value:
        x = x * x + 0.1  # above 0, for powers
        columns = ops.gather(x, np.array([[0, 2], [2, 3]]), 1)
        places = ops.gather_nd(x, np.array([[0, 1], [0, 1], [0, 3]]))
        lines = ops.take_along_axis(x, ops.argsort(x, 1)[:, :2], 1)
        rows = ops.gather(x, ops.argmax(x, 0))
        parts = [x[:, 1:3], x[:, ::-2], x[1:, -1], x[:-1] ** x[1:, ::-1]]
        found = [columns**3, ops.exp(places), ops.sin(lines), rows**2, *(part**3 for part in parts)]
        return ops.sum(ops.concatenate([part.reshape(-1) for part in found]))


MODELS = {
    "picked elements": (Picked(), ("N", 4)),
    "activations": (bm.Sequential(bm.layers.Dense(6), Activations()), ("N", 4)),
    "images": (
        bm.Sequential(
            *(bm.layers.Conv2d(4, 3, stride=2, padding=1), bm.layers.BatchNorm(), bm.layers.Silu()),
            *(bm.layers.Flatten(), bm.layers.Dense(1)),
        ),
        ("N", 2, 6, 6),
    ),
}


@pytest.mark.parametrize("opset", [13, 17, 20])
@pytest.mark.parametrize("name", MODELS)
def test_a_slope_is_in_the_file(name: str, opset: int, tmp_path: Path) -> None:
    energy, shape = MODELS[name]
    model = Force(energy)
    model.build(bm.Spec(shape))
    bm.export(model, tmp_path / "force.onnx", opset=opset)
    x = np.random.default_rng(1).normal(size=(3, *shape[1:])).astype("float32")
    (found,) = run(tmp_path / "force.onnx", x)
    np.testing.assert_allclose(found, model(x), rtol=1e-4, atol=1e-5)


def test_a_second_derivative_is_in_the_file(tmp_path: Path) -> None:
    model = Force(Force(bm.Sequential(bm.layers.Dense(6), bm.layers.Gelu(), bm.layers.Dense(1))))
    x = np.random.default_rng(1).normal(size=(3, 4)).astype("float32")
    expected = model(x)
    bm.export(model, tmp_path / "force.onnx")
    np.testing.assert_allclose(run(tmp_path / "force.onnx", x)[0], expected, rtol=1e-4, atol=1e-5)


def test_what_operators_do_not_give_is_an_error_that_names_the_layer(tmp_path: Path) -> None:
    model = Force(bm.layers.LSTM(3))
    model.build(bm.Spec(("N", 3, 2)))
    with pytest.raises(ExportError, match="energy .LSTM.: a gradient needs what this op keeps for it"):
        bm.export(model, tmp_path / "force.onnx")


def test_gradients_without_a_lowering_are_named(tmp_path: Path) -> None:
    model = Force(bm.layers.MaxPool2d(2))
    model.build(bm.Spec(("N", 2, 4, 4)))
    with pytest.raises(ExportError, match="energy .MaxPool2d.: _MaxPoolGrad"):
        bm.export(model, tmp_path / "force.onnx")
