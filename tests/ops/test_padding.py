"""Borders are NumPy's, whatever the shape, the mode and the form of the widths; free sizes are checked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import ShapeError
from bigmodel_core.kernels.borders import MODES
from bigmodel_core.testing import compute
from bigmodel_core.testing.evaluate import Evaluation


@st.composite
def borders(draw: Any) -> tuple[tuple[int, ...], list[tuple[int, int]], str]:
    mode = draw(st.sampled_from(MODES))
    shape = tuple(draw(st.lists(st.integers(0, 5), min_size=1, max_size=4)))
    most = [{"constant": 4, "reflect": size - 1, "edge": min(size, 1) * 4}[mode] for size in shape]
    widths = [
        (draw(st.integers(0, max(n, 0))), draw(st.integers(0, max(n, 0)))) if draw(st.booleans()) else (0, 0)
        for n in most
    ]
    return shape, widths, mode


@settings(max_examples=60)
@given(borders())
def test_any_borders_are_those_of_numpy(drawn: Any) -> None:
    shape, widths, mode = drawn
    x = np.random.default_rng(0).normal(size=shape)
    evaluation = Evaluation(lambda x: ops.pad(x, widths, mode), [x])
    (found,), (_, gradient) = evaluation.run([x])
    expected = np.pad(x, widths, mode)
    np.testing.assert_array_equal(found, expected)
    weights = np.random.default_rng(1).uniform(0.5, 1.5, expected.shape)  # what Evaluation weights outputs by
    places = np.pad(np.arange(1, x.size + 1).reshape(shape), widths, mode)
    sums = np.bincount(places.reshape(-1), weights.reshape(-1), x.size + 1)[1:]
    np.testing.assert_allclose(gradient, sums.reshape(shape), rtol=1e-12)


FORMS: dict[str, Any] = {
    "number": 1,
    "pair": (1, 2),
    "list of one": [2],
    "one pair for all": ((1, 2),),
    "pairs": ((1, 0), (0, 2)),
    "numbers in lists": [[1], [2]],
    "array": np.array([[1, 0], [2, 1]]),
    "NumPy's integer": np.int32(1),
}


@pytest.mark.parametrize("form", FORMS)
def test_widths_have_all_forms_that_numpy_takes(form: str) -> None:
    x = np.arange(6).reshape(2, 3)
    found = compute(lambda x: ops.pad(x, FORMS[form], value=9), x)
    np.testing.assert_array_equal(found, np.pad(x, FORMS[form], constant_values=9))
    assert found.dtype == x.dtype


def test_axes_may_be_named() -> None:
    x = np.arange(6).reshape(2, 3)
    found = compute(lambda x: ops.pad(x, {-1: (0, 2), 0: 1}, "edge"), x)
    np.testing.assert_array_equal(found, np.pad(x, ((1, 1), (0, 2)), "edge"))


@pytest.mark.parametrize("shape", [(70_000,), (3, 40_000, 2)], ids=str)
@pytest.mark.parametrize("mode", MODES)
def test_long_rows_that_are_cut(shape: tuple[int, ...], mode: str) -> None:
    x = np.random.default_rng(0).normal(size=shape)
    widths = {len(shape) - 2 if len(shape) > 1 else 0: (513, 20_001)}
    wanted = [widths.get(axis, (0, 0)) for axis in range(len(shape))]
    np.testing.assert_array_equal(compute(lambda x: ops.pad(x, widths, mode), x), np.pad(x, wanted, mode))


def test_a_free_axis_may_turn_out_too_short() -> None:
    mirrored = bm.function(lambda x: ops.pad(x, ((0, 0), (2, 1)), "reflect"))
    x = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(mirrored(x), np.pad(x, ((0, 0), (2, 1)), "reflect"))
    model = Mirrored()
    model.build(("N", "T"))
    with pytest.raises(ShapeError, match=r"Pad by \(2, 1\) in the mode reflect needs 3 numbers along axis 1"):
        model(np.ones((2, 2), "float32"))


class Mirrored(bm.Layer):
    """Steps mirrored at both ends."""

    def __call__(self, x: Any) -> Any:
        return ops.pad(x, {1: (2, 1)}, "reflect")
