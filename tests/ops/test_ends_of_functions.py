"""Functions near 0 and at infinity: digits that a plain formula loses, and NaN that it makes up."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bigmodel_core import ops
from bigmodel_core.testing import compute, compute_gradients

INF, NAN = np.inf, np.nan
BOTH = pytest.mark.parametrize("dtype", ["float32", "float64"])


def slope(function: Callable[..., Any], *arrays: np.ndarray) -> list[np.ndarray]:
    return compute_gradients(lambda *values: ops.sum(function(*values)), *arrays)


@BOTH
def test_expm1_keeps_its_digits_everywhere(dtype: str) -> None:
    sizes = np.logspace(-37, 1.94, 3000)
    x = np.concatenate([-sizes, sizes, [0.0, -0.0, 88.7, -1e4, -INF, INF, NAN]]).astype(dtype)
    expected = np.expm1(x.astype(np.longdouble))
    found = compute(ops.expm1, x)
    np.testing.assert_allclose(found, expected.astype(dtype), rtol=3 * np.finfo(dtype).eps)
    assert np.signbit(found[-6])


@BOTH
def test_exp_is_right_to_the_last_float_at_both_ends(dtype: str) -> None:
    kind = np.finfo(dtype)
    ends = np.log(kind.smallest_subnormal, dtype="float64"), np.log(kind.max, dtype="float64")
    x = np.concatenate([np.linspace(*ends, 3001), ends[1] - np.logspace(-4, 0, 500)])[:-1].astype(dtype)
    x = x[x < ends[1]]
    expected = np.exp(x.astype(np.longdouble)).astype(dtype)
    assert np.isfinite(expected).all()
    found = compute(ops.exp, x)
    np.testing.assert_allclose(found, expected, rtol=1.5 * kind.eps, atol=kind.smallest_subnormal)
    np.testing.assert_array_equal(compute(ops.exp, np.array([-1e4, 1e4, -INF, INF], dtype)), [0, INF, 0, INF])


ALL_SIZES = np.random.default_rng(0).integers(0, 0x7F800000, 400_000).astype("uint32").view("float32")
"""Numbers of every exponent."""
USUAL = np.linspace(-20, 20, 400_001, dtype="float32")
_erf = np.vectorize(math.erf, otypes=["float64"])


@pytest.mark.parametrize(
    ("name", "exact", "x", "units"),
    [
        ("log", np.log, np.concatenate([ALL_SIZES, np.abs(USUAL)]), 1.0),
        ("log1p", np.log1p, np.concatenate([ALL_SIZES, -ALL_SIZES, USUAL]), 1.5),
        ("erf", _erf, np.concatenate([ALL_SIZES[:9999], -ALL_SIZES[:9999], USUAL[::20] / 4]), 1.1),
        ("sin", np.sin, np.concatenate([ALL_SIZES, -ALL_SIZES, USUAL]), 1.7),
        ("cos", np.cos, np.concatenate([ALL_SIZES, -ALL_SIZES, USUAL]), 1.7),
    ],
)
@np.errstate(all="ignore")
def test_functions_of_float32_are_right_to_the_last_digits(
    name: str, exact: Callable[..., Any], x: np.ndarray, units: float
) -> None:
    ends = np.array([0, -0.0, -1, -2, 1e-45, -1e-45, 3.4e38, -3.4e38, INF, -INF, NAN], "float32")
    x = np.concatenate([x, ends])
    expected = exact(x.astype("float64"))
    found = compute(getattr(ops, name), x)
    near = expected.astype("float32")
    is_number = np.isfinite(near)
    np.testing.assert_array_equal(found[~is_number], near[~is_number])
    apart = np.abs(found.astype("float64") - expected)[is_number] / np.spacing(np.abs(near[is_number]))
    assert apart.max() <= units
    np.testing.assert_array_equal(np.signbit(found[-11:-9]), np.signbit(near[-11:-9]))  # of 0 and -0


@BOTH
def test_elu_keeps_its_digits_near_0(dtype: str) -> None:
    x = -np.logspace(-30, 2, 500).astype(dtype)
    expected = 0.7 * np.expm1(x.astype("float64"))
    np.testing.assert_allclose(compute(lambda v: ops.elu(v, 0.7), x), expected, rtol=4 * np.finfo(dtype).eps)
    np.testing.assert_allclose(compute(ops.elu, np.array([-1e-7], dtype)), [-1e-7], rtol=1.5e-7)


@BOTH
def test_the_slope_of_elu_far_below_0_is_an_exponential(dtype: str) -> None:
    x = np.array([-1e-3, -1, -20, -40, -80], dtype)
    (found,) = slope(lambda v: ops.elu(v, 1.5), x)
    np.testing.assert_allclose(found, 1.5 * np.exp(x.astype("float64")), rtol=1e-6)


@BOTH
def test_nan_passes_elu_and_softplus(dtype: str) -> None:
    x = np.array([NAN, INF, -INF], dtype)
    np.testing.assert_array_equal(compute(ops.elu, x), [NAN, INF, -1])
    np.testing.assert_array_equal(compute(ops.softplus, x), [NAN, INF, 0])
    np.testing.assert_array_equal(slope(ops.softplus, x)[0], [NAN, 1, 0])


@BOTH
def test_powers_at_0(dtype: str) -> None:
    """As PyTorch 2.13 has it: where 0 ** b does not change with a number, the slope is 0."""
    base, exponent = np.array([0, 0, 0, 2, 3], dtype), np.array([0, 1, 2, 0, 2], dtype)
    to_base, to_exponent = slope(ops.power, base, exponent)
    np.testing.assert_allclose(to_base, [0, 1, 0, 0, 6])
    np.testing.assert_allclose(to_exponent, [0, 0, 0, np.log(2), 9 * np.log(3)], rtol=1e-6)


@BOTH
def test_powers_equal_pytorch(dtype: str, torch: Any) -> None:
    base = np.array([0, 0, 0, 0, 0, -2, -2, -2, 2, 2, INF], dtype)
    exponent = np.array([0, 0.5, 1, 2, -1, 3, 2, 0.5, 0, -3, 0], dtype)
    a, b = (torch.tensor(x, requires_grad=True) for x in (base, exponent))
    torch.pow(a, b).sum().backward()
    to_base, to_exponent = slope(ops.power, base, exponent)
    np.testing.assert_allclose(to_base, a.grad.numpy(), rtol=1e-6)
    np.testing.assert_allclose(to_exponent, b.grad.numpy(), rtol=1e-6)
    for whole in (0, 1, 2, 3, -1, 0.5):
        leaf = torch.tensor(base[4:], requires_grad=True)
        torch.pow(leaf, whole).sum().backward()
        (found,) = slope(lambda v, power=whole: v**power, base[4:])
        np.testing.assert_allclose(found, leaf.grad.numpy(), rtol=1e-6, err_msg=str(whole))


@BOTH
def test_binary_cross_entropy_of_certain_logits(dtype: str) -> None:
    x = np.array([-INF, INF, INF, -INF, -1e30, NAN], dtype)
    target = np.array([0, 1, 0, 1, 0, 0], dtype)
    np.testing.assert_array_equal(compute(ops.binary_cross_entropy, x, target), [0, 0, INF, INF, 0, NAN])
    (found,) = slope(lambda v: ops.binary_cross_entropy(v, v.node.graph.constant(target)), x)
    np.testing.assert_array_equal(found, [0, 0, 1, -1, 0, NAN])


@BOTH
def test_softmax_and_cross_entropy_of_excluded_classes(dtype: str) -> None:
    """A logit of -infinity takes a class out, as masks do."""
    x, label = np.array([[0.5, -INF, 1.5]], dtype), np.array([2])
    share = np.exp(1.5) / (np.exp(0.5) + np.exp(1.5))
    np.testing.assert_allclose(compute(ops.softmax, x), [[1 - share, 0, share]], rtol=1e-6)
    np.testing.assert_allclose(
        compute(ops.log_softmax, x), [[np.log1p(-share), -INF, np.log(share)]], rtol=1e-6
    )
    (found,) = slope(lambda v: ops.cross_entropy(v, v.node.graph.constant(label)), x)
    np.testing.assert_allclose(found, [[1 - share, 0, share - 1]], rtol=1e-6)
    (found,) = slope(lambda v: ops.log_softmax(v)[:, 2], x)
    np.testing.assert_allclose(found, [[share - 1, 0, 1 - share]], rtol=1e-6)


@BOTH
def test_log1p_keeps_its_digits_near_0(dtype: str) -> None:
    sizes = np.logspace(-37, -0.01, 500)
    x = np.concatenate([-sizes, sizes, [-1.0, 1e30, INF, NAN, 0.0]]).astype(dtype)
    with np.errstate(divide="ignore"):
        expected = np.log1p(x.astype(np.longdouble)).astype(dtype)
    np.testing.assert_allclose(compute(ops.log1p, x), expected, rtol=4 * np.finfo(dtype).eps)


@BOTH
def test_halves_are_rounded_to_the_even_one(dtype: str) -> None:
    x = np.array([-3.5, -2.5, -0.5, -0.4, 0.5, 1.5, 2.5, 2.51, 8388609.0, 1e30, -INF, INF, NAN], dtype)
    np.testing.assert_array_equal(compute(ops.round, x), np.round(x))
    np.testing.assert_array_equal(compute(lambda v: ops.round(v / 8, 2), x[:8]), np.round(x[:8] / 8, 2))


@BOTH
def test_quotients_follow_python(dtype: str) -> None:
    numbers = np.array([-7.5, -2, -0.3, 0.3, 1, 2, 6, 1e9 + 1, INF, -INF, NAN, 0], dtype)
    a, b = (grid.reshape(-1) for grid in np.meshgrid(numbers, numbers))
    with np.errstate(all="ignore"):
        wanted = a // b, a % b
    found = compute(lambda a, b: (a // b, a % b), a, b)
    np.testing.assert_array_equal(found[0], wanted[0])
    np.testing.assert_allclose(found[1], wanted[1], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_quotients_of_integers_follow_python_and_are_0_by_0(dtype: str) -> None:
    least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    numbers = np.array([least, most, most - 1, 0, 1, 2, 7, 100, *([-1, -3] if least else [])], dtype)
    a, b = (grid.reshape(-1) for grid in np.meshgrid(numbers, numbers))
    with np.errstate(all="ignore"):
        wanted = a // b, a % b
    for found, right in zip(compute(lambda a, b: (a // b, a % b), a, b), wanted, strict=True):
        np.testing.assert_array_equal(found, right)


@BOTH
def test_logsumexp_of_infinities(dtype: str) -> None:
    x = np.array([[-INF, -INF], [-INF, 3], [INF, 3], [1e30, 1e30], [NAN, 0]], dtype)
    found = compute(lambda v: ops.logsumexp(v, 1), x)
    np.testing.assert_allclose(found, np.array([-INF, 3, INF, 1e30, NAN], dtype), rtol=1e-6)
    (gradient,) = slope(lambda v: ops.logsumexp(v, 1), x[:2])
    np.testing.assert_array_equal(gradient, [[0, 0], [0, 1]])


@pytest.mark.parametrize(
    "function",
    [ops.norm, lambda x: ops.norm(x, 1), lambda x: ops.norm(x, INF), lambda x: ops.norm(x, 1.5), ops.std],
    ids=["norm 2", "norm 1", "norm inf", "norm 1.5", "std"],
)
def test_what_is_no_distance_from_0_has_the_value_and_gradient_0(function: Any) -> None:
    zeros = np.zeros(4)
    assert compute(function, zeros) == 0
    np.testing.assert_array_equal(slope(function, zeros), [zeros])
    assert np.isnan(compute(function, np.array([0.0, NAN])))


def test_reductions_of_no_numbers() -> None:
    x = np.zeros((2, 0))
    for mine, numpy in ((ops.prod, np.prod), (ops.any, np.any), (ops.all, np.all), (ops.cumsum, np.cumsum)):
        np.testing.assert_array_equal(compute(lambda v, f=mine: f(v, 1), x), numpy(x, 1))
        np.testing.assert_array_equal(compute(lambda v, f=mine: f(v, 0), x), numpy(x, 0))
    np.testing.assert_array_equal(slope(lambda v: ops.prod(v, 1), x), [x])
    assert compute(lambda v: ops.var(v, ddof=2), np.ones(3)) == 0
    assert np.isnan(compute(lambda v: ops.var(v, ddof=1), np.ones(1)))


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_sums_and_products_of_integers_keep_their_type(dtype: str) -> None:
    x = np.array([[3, 1, 2], [4, 0, 5]], dtype)
    for mine, numpy in ((ops.cumsum, np.cumsum), (ops.prod, np.prod)):
        for axis in (0, 1):
            found = compute(lambda v, f=mine, axis=axis: f(v, axis), x)
            np.testing.assert_array_equal(found, numpy(x, axis))
            assert found.dtype == dtype


@pytest.mark.parametrize("shape", [(3, 400, 1), (2, 40, 300), (1, 7, 600)])
def test_sums_up_to_each_number_of_wide_and_long_arrays(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    wide = x.astype("float64")
    np.testing.assert_allclose(compute(lambda v: ops.cumsum(v, 1), x), wide.cumsum(1), rtol=1e-6, atol=1e-6)
