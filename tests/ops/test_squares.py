"""The sum of squares in float64: no number is too large or too small, and none is lost."""

from __future__ import annotations

import numpy as np
import pytest

from bigmodel_core.errors import DtypeError
from bigmodel_core.graph import Graph
from bigmodel_core.graph.spec import Spec
from bigmodel_core.ops.squares import SumOfSquares
from bigmodel_core.testing import check_gradients, compute


@pytest.mark.parametrize("count", [0, 1, 17, 16_384, 16_385, 100_003])
@pytest.mark.parametrize("scale", [1e-40, 1e-30, 1.0, 1e30, 3e37])
def test_against_numpy(count: int, scale: float) -> None:
    x = (np.random.default_rng(count).standard_normal(count) * scale).astype("float32")
    found = compute(SumOfSquares(), x)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, (x.astype("float64") ** 2).sum(), rtol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_so(bad: float) -> None:
    x = np.ones(20_000, "float32")
    x[19_999] = bad
    assert not np.isfinite(compute(SumOfSquares(), x))


def test_the_gradient() -> None:
    check_gradients(SumOfSquares(), [np.random.default_rng(0).standard_normal((3, 5))])


def test_integers_are_refused() -> None:
    with pytest.raises(DtypeError, match="SumOfSquares needs floats"):
        SumOfSquares()(Graph().input("x", Spec((3,), "int64")))
