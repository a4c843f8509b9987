"""Second derivatives on the CUDA device are those of the CPU; an op without a kernel is made of others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import bigmodel_core.ops as o

RNG = np.random.default_rng(3)
LSTM = {"x": (2, 2, 2), "w": (2, 8), "r": (2, 8), "b": (8,), "c": (8,)}
CASES: dict[str, tuple[Callable[..., Any], dict[str, np.ndarray]]] = {
    "layer norm": (
        lambda x, s, b: o.tanh(o.layer_norm(o.stop_gradient(x) * x, s, b)),
        {"x": RNG.standard_normal((3, 4)), "s": RNG.standard_normal(4), "b": RNG.standard_normal(4)},
    ),
    "softmax": (lambda x: o.softmax(o.gelu(x)), {"x": RNG.standard_normal((3, 4))}),
    "recurrent": (
        lambda x, **weights: o.recurrent("lstm", x, *weights.values())[0],
        {name: RNG.standard_normal(shape) for name, shape in LSTM.items()},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_second_derivatives_are_those_of_the_cpu(name: str, both: Any) -> None:
    function, arrays = CASES[name]

    def first(x: Any, **others: Any) -> Any:
        return o.gradients(o.sum(o.square(function(x, **others))), x)

    arrays = {key: array.astype("float32") for key, array in arrays.items()}
    both.assert_same(first, arrays, 2e-4, 2e-5, free=False)  # and its gradients
