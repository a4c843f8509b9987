"""The layer keeps every promise of the conformance kit; distances and their gradients are NumPy's."""

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.testing import compute, compute_gradients, parametrize_checks
from bigmodel_distances import ManhattanOp, Prototypes, PullOp, composed, composed_pull


def differences(x, points):
    return x[:, None].astype("float64") - points.astype("float64")


def reference(x, state):
    return -np.abs(differences(x, state["points"])).mean(-1) * state["sharpness"]


@parametrize_checks(Prototypes(5), inputs=[(4, 7)], reference=reference)
def test_conformance(check):
    check()


SIZES = [(1, 1, 1), (3, 2, 5), (65, 9, 30), (40, 131, 6)]


@pytest.mark.parametrize(("rows", "features", "count"), SIZES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_distances_and_gradients_equal_numpy(rows, features, count, dtype):
    random = np.random.default_rng(0)
    x, points = (random.standard_normal((n, features)).astype(dtype) for n in (rows, count))
    dy = random.standard_normal((rows, count)).astype(dtype)
    points[0, 0] = x[0, 0]  # where the gradient is 0
    apart, rtol = differences(x, points), 1e-5 if dtype == "float32" else 1e-13
    pull = (dy[..., None] * np.sign(apart)).sum(1)
    for distances, pulled in ((ManhattanOp(), PullOp()), (composed, composed_pull)):
        np.testing.assert_allclose(compute(distances, x, points), np.abs(apart).sum(-1), rtol=rtol)
        np.testing.assert_allclose(compute(pulled, dy, x, points), pull, rtol=rtol, atol=20 * rtol)


def test_both_gradients_and_that_of_the_gradient_are_those_of_the_composition():
    random = np.random.default_rng(1)
    x, points, dy = (random.standard_normal(shape) for shape in ((6, 5), (4, 5), (6, 4)))
    for ours, theirs, arrays in (
        (ManhattanOp(), composed, (x, points)),
        (PullOp(), composed_pull, (dy, x, points)),
    ):
        found, expected = compute_gradients(ours, *arrays), compute_gradients(theirs, *arrays)
        assert len(found) == len(arrays)
        for left, right in zip(found, expected, strict=True):
            np.testing.assert_allclose(left, right, atol=1e-12)


def test_wrong_inputs_are_named():
    with pytest.raises(bm.errors.ShapeError, match="expected floats"):
        Prototypes(3).build(bm.Spec(("N", 4, 5)))
    with pytest.raises(bm.errors.ShapeError, match="as many features"):
        compute(ManhattanOp(), np.ones((2, 3)), np.ones((2, 4)))
