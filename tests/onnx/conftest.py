"""What the ONNX tests share: a layer made of a function, and runs of ONNX Runtime without the exporter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm


@dataclass(frozen=True)
class Function(bm.Layer):
    """A layer that applies a function to its inputs; the function may ask the layer for parameters."""

    function: Callable[..., Any]
    wants_layer: bool = False

    def __call__(self, *inputs: Any) -> Any:
        return self.function(self, *inputs) if self.wants_layer else self.function(*inputs)


def run(path: Path | str, *arrays: np.ndarray) -> list[np.ndarray]:
    """The outputs of a file in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_inputs()]
    return [np.asarray(item) for item in session.run(None, dict(zip(names, arrays, strict=True)))]


def each(outputs: Any) -> tuple[Any, ...]:
    """The outputs of a model as a tuple, of one output, too."""
    return outputs if isinstance(outputs, tuple) else (outputs,)


@pytest.fixture
def mlp() -> bm.Layer:
    """A small classifier with parameters that are not all drawn alike."""
    model = bm.Sequential(
        bm.layers.Dense(8),
        bm.layers.Relu(),
        bm.layers.LayerNorm(),
        bm.layers.Dropout(0.5),
        bm.layers.Dense(3),
    )
    model.build(bm.Spec(("N", 5)), seed=3)
    generator = np.random.default_rng(0)
    model.load_state(
        {key: value + generator.normal(0, 0.1, value.shape) for key, value in model.state().items()}
    )
    return model
