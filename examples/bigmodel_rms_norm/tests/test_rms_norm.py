"""The plugin keeps every promise of the conformance kit, and none of its checks is skipped."""

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_rms_norm import RmsNormGradOp, RmsNormOp, RootMeanSquareNorm


def normalised(x, epsilon=1e-5):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon)


def gradient(dy, x, epsilon=1e-5):
    rate = 1 / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon)
    return rate * dy - x * rate**3 * (dy * x).mean(-1, keepdims=True)


@bm.testing.parametrize_checks(
    RootMeanSquareNorm(), inputs=[(4, 7)], reference=lambda x, state: normalised(x) * state["scale"]
)
def test_conformance(check):
    check()


@pytest.mark.parametrize("shape", [(5, 1), (3, 4, 6), (70, 130)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_rank_equals_numpy(shape, dtype):
    random = np.random.default_rng(0)
    dy, x = (random.normal(size=shape).astype(dtype) for _ in range(2))
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(
        bm.testing.compute(RmsNormOp(1e-5), x), normalised(x.astype("float64")), atol=tolerance
    )
    np.testing.assert_allclose(
        bm.testing.compute(RmsNormGradOp(1e-5), dy, x),
        gradient(dy.astype("float64"), x.astype("float64")),
        atol=tolerance,
    )
