"""Random dense networks of every kind of layer: the file computes the same at any size, and comes back."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bigmodel_core as bm
from bigmodel_core import ops
from tests.onnx.conftest import each, run

PIECES = (
    "dense",
    "relu",
    "gelu",
    "tanh",
    "silu",
    "softmax",
    "layer_norm",
    "dropout",
    "residual",
    "fold",
    "mean",
    "concatenate",
    "slice",
    "scale",
    "shared",
)


@dataclass(frozen=True)
class Shared(bm.Layer):
    """One layer applied twice."""

    inner: bm.Layer

    def __call__(self, x: bm.Value) -> bm.Value:
        return self.inner(ops.tanh(self.inner(x)))


@dataclass(frozen=True)
class Random(bm.Layer):
    """A network made of named pieces; several inputs are joined, several outputs taken on the way."""

    pieces: tuple[tuple[str, int], ...]
    outputs: int

    def __call__(self, *inputs: bm.Value) -> Any:
        x = inputs[0] if len(inputs) == 1 else ops.concatenate(inputs, -1)
        taken = []
        for place, (piece, width) in enumerate(self.pieces):
            x = self._applied(piece, width, x)
            if place < self.outputs - 1:
                taken.append(x)
        return (*taken, x) if taken else x

    def _applied(self, piece: str, width: int, x: bm.Value) -> bm.Value:
        layers = bm.layers
        last = int(x.shape[-1])
        if piece == "dense":
            return layers.Dense(width)(x)
        if piece == "layer_norm":
            return layers.LayerNorm()(x)
        if piece == "dropout":
            return layers.Dropout(0.3)(x)
        if piece == "residual":
            return x + layers.Dense(last)(ops.relu(x))
        if piece == "fold":
            return ops.flatten(x) if x.ndim > 2 else x.reshape(x.shape[0], 1, last)
        if piece == "mean":
            return x - ops.mean(x, -1, keepdims=True)
        if piece == "concatenate":
            return ops.concatenate([x, ops.absolute(x)], -1)
        if piece == "slice":
            return x[..., last // 2 :]
        if piece == "scale":
            return x * self.parameter(f"scale_{last}", (last,), 0.5) + 0.1
        if piece == "shared":
            return Shared(layers.Dense(last))(x)
        return getattr(ops, piece)(x)


models = st.tuples(
    st.lists(st.tuples(st.sampled_from(PIECES), st.integers(1, 9)), min_size=1, max_size=8),
    st.integers(1, 2),
    st.integers(1, 3),
    st.sampled_from([(), (2,)]),
    st.sampled_from([13, 16, 17, 18, 20, 21]),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(models)
def test_random_networks_agree_and_come_back(description: Any) -> None:
    pieces, inputs, outputs, middle, opset = description
    model = Random(tuple(pieces), outputs)
    specs = [bm.Spec(("N", *middle, 3 + place)) for place in range(inputs)]
    model.build(*specs, seed=len(pieces))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        bm.export(model, path, opset=opset)
        again = bm.from_onnx(path)
        for batch in (1, 2, 7):
            generator = np.random.default_rng(batch)
            arrays = [
                generator.standard_normal(spec.bind({"N": batch}).shape).astype("float32") for spec in specs
            ]
            expected, returned = each(model(*arrays)), each(again(*arrays))
            for found, wanted, back in zip(run(path, *arrays), expected, returned, strict=True):
                scale = max(1.0, float(np.abs(wanted).max()))
                np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5 * scale)
                np.testing.assert_allclose(back, wanted, rtol=1e-4, atol=1e-5 * scale)
