"""What an op computes for its gradient alone is left out where nothing reads it; the other outputs stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bigmodel_core import ops
from bigmodel_core.testing.evaluate import Evaluation
from tests.ops import recurrent_reference


def check(function: Any, *arrays: np.ndarray) -> None:
    """The outputs have the same bits whether gradients are computed beside them or not."""
    alone, _ = Evaluation(function, arrays, differentiate=False).run(arrays)
    beside, _ = Evaluation(function, arrays, differentiate=True).run(arrays)
    for a, b in zip(alone, beside, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("window", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (5, 3, 2), ((7, 1), 1, 0)], ids=str
)
def test_the_largest_numbers_without_their_places(window: Any, stride: int, padding: int, dtype: str) -> None:
    x = np.random.default_rng(0).integers(-3, 3, (2, 19, 11, 13)).astype(dtype)  # many are equal
    x[0, :, 3, 4] = np.nan
    x[1, 2] = -np.inf

    def function(x: Any) -> Any:
        return ops.max_pool(x, window, stride, padding)

    check(function, x)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("features", [5, 3000])
@pytest.mark.parametrize("cell", list(recurrent_reference.GATES))
def test_a_recurrence_without_gates_and_states_of_all_steps(cell: str, features: int, reverse: bool) -> None:
    random = np.random.default_rng(0)
    width = 64 * recurrent_reference.GATES[cell]
    for steps, batch in ((1, 2), (4, 3), (5, 9)):
        x = random.standard_normal((steps, batch, features)).astype("float32")
        weights = [
            (random.standard_normal(shape) / 20).astype("float32")
            for shape in ((features, width), (64, width), (width,), (width,))
        ]
        initial = [random.standard_normal((batch, 64)).astype("float32") for _ in range(2)]
        lengths = random.integers(0, steps + 1, batch)

        def function(x: Any, w: Any, r: Any, b: Any, c: Any, lengths: Any, *initial: Any) -> Any:
            y, last = ops.recurrent(cell, x, w, r, b, c, lengths, initial, reverse)
            return (y, *last)

        check(function, x, *weights, lengths, *(initial if cell == "lstm" else initial[:1]))
