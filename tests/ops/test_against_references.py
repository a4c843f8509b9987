"""Every op: forward against NumPy in float64, gradients against finite differences and PyTorch."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest

from bigmodel_core import ops
from bigmodel_core.kernels.borders import MODES
from bigmodel_core.kernels.interpolation import METHODS
from bigmodel_core.testing import check_gradients, compute
from bigmodel_core.testing.evaluate import Evaluation
from tests.ops.resize_reference import resized
from tests.ops.rotary_reference import turned
from tests.ops.scan_reference import scanned, torch_scanned
from tests.ops.scatter_reference import scattered

Arrays = list[np.ndarray]
erf = np.vectorize(math.erf, otypes=[float])


@dataclass(frozen=True)
class Case:
    """An op on some arrays, with what NumPy and PyTorch say.

    Args:
        name: for the test's id.
        function: of Values.
        numpy: of float64 arrays.
        torch: the same in PyTorch, of (torch, tensors...); None where it has no such function.
        arrays: what it is tested on.
        is_differentiable: whether gradients flow.
    """

    name: str
    function: Callable[..., Any]
    numpy: Callable[..., Any]
    torch: Callable[..., Any] | None
    arrays: Arrays
    is_differentiable: bool = True


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def positive(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).uniform(0.3, 2.0, shape)


def whole(below: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).integers(0, below, shape)


def softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def rms_norm(x: np.ndarray, scale: Any, axis: Any = -1, epsilon: float = 1e-6) -> np.ndarray:
    return x / np.sqrt((x * x).mean(axis, keepdims=True) + epsilon) * scale


def torch_turned(torch: Any, x: Any) -> Any:
    """As in transformers' Llama."""
    speed = 1.0 / (1e4 ** (torch.arange(0, 6, 2, dtype=torch.float64) / 6))
    angles = torch.outer(torch.arange(5, dtype=torch.float64), speed)
    both = torch.cat((angles, angles), -1)
    return x * both.cos() + torch.cat((-x[..., 3:], x[..., :3]), -1) * both.sin()


def local_response_norm(x: np.ndarray, size: int, alpha: float, beta: float, k: float) -> np.ndarray:
    padded = np.pad(x * x, [(0, 0), (size // 2, (size - 1) // 2), *[(0, 0)] * (x.ndim - 2)])
    means = sum(padded[:, place : place + x.shape[1]] for place in range(size)) / size
    found: np.ndarray = x / (k + alpha * means) ** beta
    return found


QUERIES = (normal(2, 2, 3, 4), normal(2, 2, 5, 4, seed=1), normal(2, 2, 5, 3, seed=2))
SPLIT = (0, 2, 1, 3)
BEFORE = np.arange(5) <= np.arange(3)[:, None] + 2  # the last step sees the last key
MASK = np.array([[1, -1, 1, -1, 1], [-1, -1, -1, -1, -1], [1, 1, 1, 1, -1]])


def attention(q: Any, k: Any, v: Any, seen: Any = True, scale: Any = None, more: Any = 0.0) -> np.ndarray:
    scores = q @ k.swapaxes(-1, -2) * (scale or q.shape[-1] ** -0.5) + more
    seen = np.broadcast_to(seen, scores.shape)
    powers = np.exp(scores - scores.max(-1, keepdims=True)) * seen
    found: np.ndarray = powers / np.where(seen.any(-1, keepdims=True), powers.sum(-1, keepdims=True), 1) @ v
    return found


def torch_attention(**options: Any) -> Callable[..., Any]:
    return lambda torch, *x: torch.nn.functional.scaled_dot_product_attention(*x, **options)


def layer_norm(x: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    center = x - x.mean(-1, keepdims=True)
    return center / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * scale + shift


def cross_entropy(x: np.ndarray, y: np.ndarray, smoothing: float) -> np.ndarray:
    goal = np.eye(x.shape[-1])[y] * (1 - smoothing) + smoothing / x.shape[-1]
    return -(goal * np.log(softmax(x))).sum(-1)


def hinge(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    wrong = np.where(np.eye(x.shape[-1])[y] > 0, -np.inf, x).max(-1)
    return np.maximum(0, 1 + wrong - np.take_along_axis(x, y[..., None], -1)[..., 0])


TORCH = {"add": "sum", "max": "amax", "min": "amin"}
"""What PyTorch calls the reductions of scatter."""


def torch_hinge(torch: Any, x: Any, y: Any) -> Any:
    right = x.gather(1, y[:, None])[:, 0]
    wrong = x.masked_fill(torch.nn.functional.one_hot(y, x.shape[1]).bool(), -torch.inf).amax(1)
    return torch.relu(1 + wrong - right)


A, B, ROW, COLUMN = normal(3, 5), normal(3, 5, seed=1), normal(5, seed=2), normal(3, 1, seed=3)
CUBE = normal(2, 3, 4)
ZEROS = np.array([[1.5, 0, -2], [0, 0, 3], [2, 1, 0.5], [-1.0, 2, 0]])
I, J = whole(50, 3, 5) - 25, whole(7, 3, 5) * 2 - 7  # an odd divisor is never 0


def functional(name: str, **options: Any) -> Callable[..., Any]:
    return lambda torch, *x: getattr(torch.nn.functional, name)(*x, **options)


def plain(name: str, **options: Any) -> Callable[..., Any]:
    return lambda torch, *x: getattr(torch, name)(*x, **options)


EQUATIONS: list[tuple[Any, ...]] = [
    ("bhqd,bhkd->bhqk", (2, 2, 3, 4), (2, 2, 5, 4)),
    ("ji,kj->ki", (3, 2), (4, 3)),
    ("bij,jk->bik", (2, 3, 4), (4, 5)),
    ("ijk,jil->kl", (2, 3, 4), (3, 2, 5)),
    ("ij,jk,kl->il", (2, 3), (3, 4), (4, 2)),
    ("i,ij,j->", (3,), (3, 4), (4,)),
    ("i,j->ji", (3,), (4,)),
    ("bi,bi->b", (3, 4), (3, 4)),
    ("iij,jk->ki", (3, 3, 2), (2, 4)),
    ("ii", (4, 4)),
    ("...ij,...jk->...ik", (2, 1, 3, 4), (5, 4, 2)),
    ("b...d,d->...b", (2, 3, 4), (4,)),
]

UNARY = [
    ("negate", ops.negate, np.negative, plain("neg"), A),
    ("log1p", ops.log1p, np.log1p, plain("log1p"), A / 4),
    ("expm1", ops.expm1, np.expm1, plain("expm1"), A),
    ("erf", ops.erf, erf, plain("erf"), A),
    ("absolute", ops.absolute, np.abs, plain("abs"), A),
    ("square", ops.square, np.square, plain("square"), A),
    ("exp", ops.exp, np.exp, plain("exp"), A),
    ("log", ops.log, np.log, plain("log"), positive(3, 5)),
    ("sqrt", ops.sqrt, np.sqrt, plain("sqrt"), positive(3, 5)),
    ("sin", ops.sin, np.sin, plain("sin"), 3 * A),
    ("cos", ops.cos, np.cos, plain("cos"), 3 * A),
    (
        "clip",
        lambda x: ops.clip(x, -0.5, 0.7),
        lambda x: np.clip(x, -0.5, 0.7),
        plain("clamp", min=-0.5, max=0.7),
        A,
    ),
    (
        "clip above",
        lambda x: ops.clip(x, None, 0.3),
        lambda x: np.clip(x, None, 0.3),
        plain("clamp", max=0.3),
        A,
    ),
    ("power 3", lambda x: x**3, lambda x: x**3, plain("pow", exponent=3), A),
    ("relu", ops.relu, lambda x: np.maximum(x, 0), plain("relu"), A),
    (
        "leaky_relu",
        lambda x: ops.leaky_relu(x, 0.2),
        lambda x: np.where(x > 0, x, 0.2 * x),
        functional("leaky_relu", negative_slope=0.2),
        A,
    ),
    (
        "elu",
        lambda x: ops.elu(x, 1.3),
        lambda x: np.where(x > 0, x, 1.3 * np.expm1(x)),
        functional("elu", alpha=1.3),
        A,
    ),
    ("sigmoid", ops.sigmoid, lambda x: 1 / (1 + np.exp(-x)), plain("sigmoid"), A),
    ("tanh", ops.tanh, np.tanh, plain("tanh"), A),
    ("gelu", ops.gelu, lambda x: x * 0.5 * (1 + erf(x / math.sqrt(2))), functional("gelu"), A),
    (
        "gelu_tanh",
        ops.gelu_tanh,
        lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
        functional("gelu", approximate="tanh"),
        A,
    ),
    ("silu", ops.silu, lambda x: x / (1 + np.exp(-x)), functional("silu"), A),
    ("softplus", ops.softplus, lambda x: np.logaddexp(x, 0), functional("softplus"), A),
    ("softsign", ops.softsign, lambda x: x / (1 + np.abs(x)), functional("softsign"), A),
    (
        "huber",
        lambda x: ops.huber(x, 0.7),
        lambda x: np.where(np.abs(x) <= 0.7, x * x / 2, 0.7 * (np.abs(x) - 0.35)),
        lambda torch, x: torch.nn.functional.huber_loss(x, torch.zeros_like(x), reduction="none", delta=0.7),
        A,
    ),
]

BINARY = [
    ("add", ops.add, np.add, plain("add")),
    ("subtract", ops.subtract, np.subtract, plain("sub")),
    ("multiply", ops.multiply, np.multiply, plain("mul")),
    ("divide", ops.divide, np.divide, plain("div")),
    ("maximum", ops.maximum, np.maximum, plain("maximum")),
    ("minimum", ops.minimum, np.minimum, plain("minimum")),
]


def _states(scan: Any, tanh: Any, x: Any, w: Any) -> Any:
    def cell(state: Any, row: Any) -> Any:
        new = tanh(state @ w + row)
        return new, state + new * row

    return scan(cell, x[0] * 0.5, x)[1]


def _ends(scan: Any, tanh: Any, x: Any, h: Any, w: Any) -> Any:
    """Backwards along columns, with weights that are transposed at each step, and two states."""

    def cell(carry: Any, parts: Any) -> Any:
        (state, mean), (row, factor) = carry, parts
        state = tanh(state @ w.T) * factor + row
        return (state, 0.5 * mean + state), row

    (state, mean), rows = scan(cell, (h, h), (x, x * x), 1, True)
    return state * mean + rows.sum(1)


def _loop_in_loop(scan: Any, tanh: Any, x: Any, h: Any) -> Any:
    def outer(total: Any, rows: Any) -> Any:
        return scan(lambda c, row: (tanh(c + row * total.sum()), c * h), total[0], rows)[0] + total, rows[0]

    last, rows = scan(outer, h, x)
    return last * rows.sum(0)


def _weights(scan: Any, tanh: Any, x: Any, w: Any, b: Any) -> Any:
    """Weights that a step multiplies by twice, once transposed, and adds as well."""

    def cell(state: Any, row: Any) -> Any:
        new = tanh((state @ w + row) @ w * b) + b
        return new, new @ w.T + w[0]

    return scan(cell, x[0], x)[1]


LOOPS: list[tuple[str, Callable[..., Any], Arrays]] = [
    ("scan", _states, [normal(4, 2, 3), normal(3, 3)]),
    ("scan backwards", _ends, [normal(2, 4, 3), normal(2, 3), normal(3, 3)]),
    ("scan of weights", _weights, [normal(3, 2, 3), normal(3, 3, seed=2), normal(3, seed=1)]),
    ("scan in scan", _loop_in_loop, [normal(3, 2, 4), normal(2, 4)]),
    ("scan of one step", _states, [normal(1, 2, 3), normal(3, 3)]),
]

CASES = [
    *(Case(name, function, numpy, torch, [x]) for name, function, numpy, torch, x in UNARY),
    *(Case(name, function, numpy, torch, [A, B]) for name, function, numpy, torch in BINARY),
    Case("add a row", ops.add, np.add, plain("add"), [A, ROW]),
    Case("multiply by a column", ops.multiply, np.multiply, plain("mul"), [COLUMN, A]),
    Case("divide outer", ops.divide, np.divide, plain("div"), [ROW, 3 + COLUMN]),
    Case("power", ops.power, np.power, plain("pow"), [positive(3, 5), B]),
    Case("mod", ops.mod, np.mod, plain("remainder"), [3 * A, B]),
    Case("mod by a row", lambda x, y: x % y, np.mod, plain("remainder"), [3 * A, ROW]),
    Case("floor_divide", operator.floordiv, np.floor_divide, plain("floor_divide"), [3 * A, B], False),
    Case("floor_divide by 0.1", lambda x: x // 0.1, lambda x: x // 0.1, None, [np.arange(6.0)], False),
    Case("mod of integers", ops.mod, np.mod, plain("remainder"), [I, J], False),
    Case("floor_divide integers", ops.floor_divide, np.floor_divide, plain("floor_divide"), [I, J], False),
    Case("round", ops.round, np.round, plain("round"), [np.round(8 * A) / 2], False),
    Case("round decimals", lambda x: round(x, 1), lambda x: np.round(x, 1), None, [A], False),
    Case("number left", lambda x: 2.0 - x / 3, lambda x: 2 - x / 3, lambda torch, x: 2 - x / 3, [A]),
    Case(
        "where",
        lambda c, a, b: ops.where(c, a, b),
        lambda c, a, b: np.where(c, a, b),
        lambda torch, c, a, b: torch.where(c, a, b),
        [A > 0, A, ROW],
    ),
    Case(
        "binary_cross_entropy",
        ops.binary_cross_entropy,
        lambda x, y: np.logaddexp(0, x) - x * y,
        functional("binary_cross_entropy_with_logits", reduction="none"),
        [3 * A, positive(3, 5) / 2],
    ),
    Case("sum", ops.sum, np.sum, plain("sum"), [CUBE]),
    Case("sum rows", lambda x: ops.sum(x, -1), lambda x: x.sum(-1), plain("sum", dim=-1), [CUBE]),
    Case("sum columns", lambda x: ops.sum(x, 0), lambda x: x.sum(0), plain("sum", dim=0), [CUBE]),
    Case(
        "sum apart",
        lambda x: ops.sum(x, (0, 2), keepdims=True),
        lambda x: x.sum((0, 2), keepdims=True),
        plain("sum", dim=(0, 2), keepdim=True),
        [CUBE],
    ),
    Case("mean", lambda x: ops.mean(x, 1), lambda x: x.mean(1), plain("mean", dim=1), [CUBE]),
    Case("max", lambda x: ops.max(x, 1), lambda x: x.max(1), plain("amax", dim=1), [CUBE]),
    Case("min", lambda x: ops.min(x, -1), lambda x: x.min(-1), plain("amin", dim=-1), [CUBE]),
    *(
        Case(
            name,
            partial(build, ops.scan, ops.tanh),
            partial(build, scanned, np.tanh),
            lambda torch, *x, build=build: build(torch_scanned(torch), torch.tanh, *x),
            arrays,
        )
        for name, build, arrays in LOOPS
    ),
    Case("cumsum", ops.cumsum, lambda x: np.cumsum(x, -1), plain("cumsum", dim=-1), [CUBE]),
    Case("cumsum columns", lambda x: ops.cumsum(x, 1), lambda x: x.cumsum(1), plain("cumsum", dim=1), [CUBE]),
    Case(
        "cumsum of others, reversed",
        lambda x: ops.cumsum(x, 0, reverse=True, exclusive=True),
        lambda x: np.cumsum(x[::-1], 0)[::-1] - x,
        lambda torch, x: x.flip(0).cumsum(0).flip(0) - x,
        [CUBE],
    ),
    Case("prod", ops.prod, np.prod, plain("prod"), [A]),
    Case("prod columns", lambda x: ops.prod(x, 1), lambda x: x.prod(1), plain("prod", dim=1), [CUBE]),
    Case(
        "prod of one 0", lambda x: ops.prod(x, 0), lambda x: x.prod(0), plain("prod", dim=0), [ZEROS[:, :2]]
    ),
    Case("prod of zeros", lambda x: ops.prod(x, -1), lambda x: x.prod(-1), plain("prod", dim=-1), [ZEROS]),
    Case(
        "prod apart",
        lambda x: ops.prod(x, (0, 2), keepdims=True),
        lambda x: x.prod((0, 2), keepdims=True),
        lambda torch, x: x.prod(0, keepdim=True).prod(2, keepdim=True),
        [CUBE],
    ),
    Case("var", lambda x: ops.var(x, 1), lambda x: x.var(1), plain("var", dim=1, correction=0), [CUBE]),
    Case(
        "var of a sample",
        lambda x: x.var((0, 2), ddof=1, keepdims=True),
        lambda x: x.var((0, 2), ddof=1, keepdims=True),
        plain("var", dim=(0, 2), keepdim=True),
        [CUBE],
    ),
    Case("std", lambda x: ops.std(x, -1), lambda x: x.std(-1), plain("std", dim=-1, correction=0), [CUBE]),
    *(
        Case(
            f"norm {ord}",
            lambda x, ord=ord: ops.norm(x, ord, 1),  # type: ignore[misc]  # mypy infers no lambda with defaults
            lambda x, ord=ord: np.linalg.norm(x, ord, 1),  # type: ignore[misc]  # as above
            lambda torch, x, ord=ord: torch.linalg.vector_norm(x, ord, 1),  # type: ignore[misc]  # as above
            [CUBE],
        )
        for ord in (2, 1, 3, np.inf, -np.inf)
    ),
    Case(
        "logsumexp",
        lambda x: ops.logsumexp(900 * x, 1),
        lambda x: np.logaddexp.reduce(900 * x, 1),
        lambda torch, x: torch.logsumexp(900 * x, 1),
        [CUBE],
    ),
    Case(
        "logsumexp of all",
        lambda x: ops.logsumexp(x, keepdims=True),
        lambda x: np.log(np.exp(x).sum(keepdims=True)),
        lambda torch, x: torch.logsumexp(x, (0, 1, 2), keepdim=True),
        [CUBE],
    ),
    Case("any", lambda x: ops.any(x, 1), lambda x: x.any(1), plain("any", dim=1), [np.round(A / 2)], False),
    Case("all", lambda x: ops.all(x, 1), lambda x: x.all(1), plain("all", dim=1), [np.round(2 * A)], False),
    Case("all apart", lambda x: (x > -1).all((0, 2)), lambda x: (x > -1).all((0, 2)), None, [CUBE], False),
    Case("argmax", lambda x: ops.argmax(x, 1), lambda x: x.argmax(1), plain("argmax", dim=1), [CUBE], False),
    Case("argmin", lambda x: ops.argmin(x, 1), lambda x: x.argmin(1), plain("argmin", dim=1), [CUBE], False),
    *(
        Case(
            f"sort {axis}",
            lambda x, axis=axis: ops.sort(x, axis),
            lambda x, axis=axis: np.sort(x, axis),
            lambda torch, x, axis=axis: torch.sort(x, axis)[0],
            [CUBE],
        )
        for axis in (0, 1, -1)
    ),
    Case(
        "sort descending",
        lambda x: ops.sort(x, 1, True),
        lambda x: -np.sort(-x, 1),
        lambda torch, x: torch.sort(x, 1, True)[0],
        [CUBE],
    ),
    Case(
        "argsort",
        lambda x: ops.argsort(x, 1),
        lambda x: np.argsort(x, 1, kind="stable"),
        plain("argsort", dim=1, stable=True),
        [np.round(CUBE)],
        False,
    ),
    Case(
        "top_k",
        lambda x: ops.top_k(x, 2, 1)[0],
        lambda x: -np.sort(-x, 1)[:, :2],
        lambda torch, x: torch.topk(x, 2, 1)[0],
        [CUBE],
    ),
    Case("floor", ops.floor, np.floor, plain("floor"), [3 * A], False),
    Case("ceil", ops.ceil, np.ceil, plain("ceil"), [3 * A], False),
    Case("sign", ops.sign, np.sign, plain("sign"), [np.round(A)], False),
    Case("less", ops.less, np.less, plain("lt"), [A, B], False),
    Case("less_equal", ops.less_equal, np.less_equal, plain("le"), [np.round(A), np.round(B)], False),
    Case("greater", ops.greater, np.greater, plain("gt"), [A, ROW], False),
    Case(
        "greater_equal", ops.greater_equal, np.greater_equal, plain("ge"), [np.round(A), np.round(B)], False
    ),
    Case("equal", operator.eq, np.equal, plain("eq"), [np.round(A), np.round(B)], False),
    Case("not_equal", operator.ne, np.not_equal, plain("ne"), [np.round(A), np.round(B)], False),
    Case("not a number", lambda x: x != 1, lambda x: x != 1, plain("ne", other=1), [np.round(A)], False),
    Case("and", ops.logical_and, np.logical_and, plain("logical_and"), [A > 0, B > 0], False),
    Case("xor", ops.logical_xor, np.logical_xor, plain("logical_xor"), [A > 0, B > 0], False),
    Case("or", ops.logical_or, np.logical_or, plain("logical_or"), [A > 0, B > 0], False),
    Case("not", ops.logical_not, np.logical_not, plain("logical_not"), [A > 0], False),
    Case("matmul", ops.matmul, np.matmul, plain("matmul"), [normal(3, 4), normal(4, 5)]),
    Case("matmul by a vector", ops.matmul, np.matmul, plain("matmul"), [normal(2, 3, 4), normal(4)]),
    Case("matmul of a vector", ops.matmul, np.matmul, plain("matmul"), [normal(4), normal(2, 4, 5)]),
    Case("matmul of vectors", ops.matmul, np.matmul, plain("matmul"), [normal(4), normal(4, seed=1)]),
    Case("vector of NumPy", lambda x: ROW @ (x @ ROW * x.T), lambda x: ROW @ (x @ ROW * x.T), None, [A]),
    Case(
        "clip between arrays",
        lambda x, low: ops.clip(x, low - 1.0, ROW + 1.0),
        lambda x, low: np.clip(x, low - 1, ROW + 1),
        lambda torch, x, low: torch.clamp(x, low - 1, torch.as_tensor(ROW + 1)),
        [A, COLUMN],
    ),
    Case(
        "clip of integers",
        lambda i: ops.clip(i, 2, ops.constant(5)),
        lambda i: np.clip(i, 2, 5),
        plain("clamp", min=2, max=5),
        [whole(9, 3, 5)],
        False,
    ),
    Case("matmul batched", ops.matmul, np.matmul, plain("matmul"), [normal(2, 3, 4), normal(2, 4, 5)]),
    Case("matmul shared", ops.matmul, np.matmul, plain("matmul"), [normal(2, 3, 4), normal(4, 5)]),
    Case("matmul repeated", ops.matmul, np.matmul, plain("matmul"), [normal(3, 4), normal(2, 4, 5)]),
    Case("matmul broadcast", ops.matmul, np.matmul, plain("matmul"), [normal(2, 1, 3, 4), normal(5, 4, 2)]),
    Case(
        "matmul transposed left",
        lambda a, b: ops.linear.MatMul(True, False)(a, b),
        lambda a, b: a.T @ b,
        lambda torch, a, b: a.T @ b,
        [normal(4, 3), normal(4, 5)],
    ),
    Case(
        "matmul transposed both",
        lambda a, b: ops.linear.MatMul(True, True)(a, b),
        lambda a, b: a.T @ b.T,
        lambda torch, a, b: a.T @ b.T,
        [normal(4, 3), normal(5, 4)],
    ),
    Case(
        "affine",
        ops.affine,
        lambda x, w, b: x @ w + b,
        lambda torch, x, w, b: x @ w + b,
        [normal(2, 3, 4), normal(4, 5), normal(5)],
    ),
    Case("affine without bias", ops.affine, np.matmul, plain("matmul"), [normal(3, 4), normal(4, 5)]),
    *(
        Case(
            f"einsum {equation}",
            lambda *v, equation=equation: ops.einsum(equation, *v),
            lambda *v, equation=equation: np.einsum(equation, *v),
            lambda torch, *v, equation=equation: torch.einsum(equation, *v),
            [normal(*shape, seed=seed) for seed, shape in enumerate(shapes)],
        )
        for equation, *shapes in EQUATIONS
    ),
    Case("softmax", ops.softmax, softmax, plain("softmax", dim=-1), [CUBE]),
    Case(
        "softmax middle",
        lambda x: ops.softmax(x, 1),
        lambda x: softmax(x, 1),
        plain("softmax", dim=1),
        [CUBE],
    ),
    Case("log_softmax", ops.log_softmax, lambda x: np.log(softmax(x)), plain("log_softmax", dim=-1), [CUBE]),
    Case(
        "cross_entropy",
        ops.cross_entropy,
        lambda x, y: cross_entropy(x, y, 0),
        functional("cross_entropy", reduction="none"),
        [A, whole(5, 3)],
    ),
    Case(
        "cross_entropy of labels that count",
        lambda x, y: ops.cross_entropy(x, y, 0.2, 3),
        lambda x, y: np.where(y == 3, 0, cross_entropy(x, y, 0.2)),
        functional("cross_entropy", reduction="none", label_smoothing=0.2, ignore_index=3),
        [normal(6, 4), np.array([3, 0, 2, 3, 3, 1])],
    ),
    Case(
        "cross_entropy smoothed",
        lambda x, y: ops.cross_entropy(x, y, 0.2),
        lambda x, y: cross_entropy(x, y, 0.2),
        functional("cross_entropy", reduction="none", label_smoothing=0.2),
        [A, whole(5, 3)],
    ),
    Case("multi_class_hinge", ops.multi_class_hinge, hinge, torch_hinge, [2 * A, whole(5, 3)]),
    Case(
        "layer_norm",
        ops.layer_norm,
        layer_norm,
        lambda torch, x, scale, shift: torch.nn.functional.layer_norm(x, (4,), scale, shift),
        [CUBE, normal(4), normal(4, seed=1)],
    ),
    Case(
        "rms_norm",
        ops.rms_norm,
        rms_norm,
        lambda torch, x, scale: torch.nn.functional.rms_norm(x, (4,), scale, 1e-6),
        [CUBE, normal(4)],
    ),
    Case(
        "rotary",
        lambda x: ops.rotary(x, ops.positions(x, 2)),
        turned,
        torch_turned,
        [normal(2, 3, 5, 6)],
    ),
    Case(
        "rotary of heads that are split",  # steps lie before heads
        lambda x, i: ops.transpose(
            ops.rotary(ops.transpose(x, SPLIT), i, 50.0, 4, interleaved=True)
            + ops.rotary(ops.transpose(x, SPLIT), i[0]),
            SPLIT,
        ),
        lambda x, i: (
            turned(x.transpose(SPLIT), i[:, None], 50.0, 4, True) + turned(x.transpose(SPLIT), i[0])
        ).transpose(SPLIT),
        None,
        [normal(2, 3, 2, 6), whole(9, 2, 3)],
    ),
    Case(
        "rotary of neighbours, some of them",
        lambda x, i: ops.rotary(x, i, 50.0, 4, interleaved=True),
        lambda x, i: turned(x, i[:, None], 50.0, 4, True),
        None,
        [normal(2, 3, 5, 6), whole(40, 2, 5)],
    ),
    Case(
        "rotary of samples without heads",
        lambda x, i: ops.rotary(x, i, 100.0, 2),
        lambda x, i: turned(x, i, 100.0, 2),
        None,
        [normal(2, 5, 6), whole(40, 2, 5)],
    ),
    Case(
        "rms_norm along two axes",
        lambda x, scale: ops.rms_norm(x, scale, (1, 2)) + ops.rms_norm(x, epsilon=0.1),
        lambda x, scale: rms_norm(x, scale, (1, 2)) + rms_norm(x, 1, -1, 0.1),
        lambda torch, x, scale: (
            torch.nn.functional.rms_norm(x, (3, 4), scale, 1e-6)
            + torch.nn.functional.rms_norm(x, (4,), None, 0.1)
        ),
        [CUBE, normal(3, 4)],
    ),
    *(
        Case(
            f"local_response_norm of {size}",
            lambda x, size=size: ops.local_response_norm(x, size, 0.3, 0.6, 2.0),
            lambda x, size=size: local_response_norm(x, size, 0.3, 0.6, 2.0),
            lambda torch, x, size=size: torch.nn.functional.local_response_norm(x, size, 0.3, 0.6, 2.0),
            [normal(2, 4, 3)],
        )
        for size in (2, 3)
    ),
    Case("attention", ops.attention, attention, torch_attention(), [*QUERIES]),
    Case(
        "attention to what came before",
        lambda q, k, v: ops.attention(q, k, v, causal=True, scale=0.3),
        lambda q, k, v: attention(q, k, v, BEFORE, 0.3),
        lambda torch, *x: torch_attention(attn_mask=torch.from_numpy(BEFORE), scale=0.3, enable_gqa=True)(
            torch, *x
        ),
        [QUERIES[0], QUERIES[1][:, :1], QUERIES[2][:, :1]],
    ),
    Case(
        "attention under a mask",  # the second step sees nothing
        lambda q, k, v, m: ops.attention(q, k, v, m > 0),
        lambda q, k, v, m: attention(q, k, v, m > 0),
        lambda torch, q, k, v, m: torch_attention(attn_mask=m > 0)(torch, q, k, v),
        [*QUERIES, MASK],
    ),
    Case(
        "attention with numbers added",
        ops.attention,
        lambda q, k, v, m: attention(q, k, v, True, None, m),
        lambda torch, q, k, v, m: torch_attention(attn_mask=m)(torch, q, k, v),
        [*QUERIES, normal(3, 5)],
    ),
    Case("gather", ops.gather, lambda t, i: t[i], lambda torch, t, i: t[i], [A, whole(3, 2, 4)]),
    *(
        Case(
            f"gather along {axis}",
            lambda x, i, axis=axis: ops.gather(x, i, axis),
            lambda x, i, axis=axis: np.take(x, i, axis),
            lambda torch, x, i, axis=axis: torch.index_select(x, axis, i),
            [CUBE, whole(3, 7)],
        )
        for axis in (1, -1)
    ),
    *(
        Case(
            f"take_along_axis {axis}",
            lambda x, i, axis=axis: ops.take_along_axis(x, i, axis),
            lambda x, i, axis=axis: np.take_along_axis(x, i, axis),
            lambda torch, x, i, axis=axis: torch.take_along_dim(x, i, axis),
            [CUBE, whole(2, *shape)],
        )
        for axis, shape in ((0, (5, 3, 4)), (1, (1, 5, 4)), (-1, (2, 3, 1)))
    ),
    Case(
        "gather_nd",
        ops.gather_nd,
        lambda x, i: x[i[..., 0], i[..., 1]],
        lambda torch, x, i: x[i[..., 0], i[..., 1]],
        [CUBE, whole(2, 3, 5, 2)],
    ),
    Case(
        "one_hot",
        lambda i: ops.one_hot(i, 4, "int64"),
        lambda i: np.eye(4, dtype=int)[i],
        lambda torch, i: torch.nn.functional.one_hot(i, 4),
        [whole(4, 2, 5)],
        False,
    ),
    *(
        Case(
            f"scatter {reduce} along {axis}",
            lambda x, i, u, axis=axis, reduce=reduce: ops.scatter(x, i, u, axis, reduce),
            lambda x, i, u, axis=axis, reduce=reduce: scattered(x, i, u, axis, reduce),
            lambda torch, x, i, u, axis=axis, reduce=reduce: x.scatter_reduce(axis, i, u, TORCH[reduce]),
            [CUBE, whole(2, *shape), normal(*shape)],
        )
        for axis, shape in ((0, (5, 3, 4)), (2, (2, 3, 6)))
        for reduce in TORCH
    ),
    Case(
        "scatter",
        lambda x, i, u: ops.scatter(x, i, u, 1),
        lambda x, i, u: scattered(x, i, u, 1),
        lambda torch, x, i, u: x.scatter(1, i, u),
        [CUBE, np.argsort(normal(2, 3, 4), 1)[:, :2], normal(2, 2, 4)],
    ),
    Case(
        "reshape",
        lambda x: ops.reshape(x, (4, -1)),
        lambda x: x.reshape(4, 6),
        plain("reshape", shape=(4, 6)),
        [CUBE],
    ),
    Case("flatten", ops.flatten, lambda x: x.reshape(2, 12), plain("flatten", start_dim=1), [CUBE]),
    Case(
        "transpose",
        lambda x: ops.transpose(x, (2, 0, 1)),
        lambda x: x.transpose(2, 0, 1),
        plain("permute", dims=(2, 0, 1)),
        [CUBE],
    ),
    Case(
        "broadcast_to",
        lambda x: ops.broadcast_to(x, (2, 3, 5)),
        lambda x: np.broadcast_to(x, (2, 3, 5)),
        plain("broadcast_to", size=(2, 3, 5)),
        [COLUMN],
    ),
    Case("squeeze", lambda x: ops.squeeze(x, 1), lambda x: x[:, 0], plain("squeeze", dim=1), [COLUMN]),
    Case(
        "expand_dims",
        lambda x: ops.expand_dims(x, (0, -1)),
        lambda x: np.expand_dims(x, (0, -1)),
        lambda torch, x: x[None, ..., None],
        [A],
    ),
    Case(
        "flip", lambda x: ops.flip(x, (0, 2)), lambda x: x[::-1, :, ::-1], plain("flip", dims=(0, 2)), [CUBE]
    ),
    Case(
        "slice backwards",
        lambda x: x[:, ::-1, 2::-2],
        lambda x: x[:, ::-1, 2::-2],
        lambda torch, x: x.flip(1)[..., [2, 0]],
        [CUBE],
    ),
    Case(
        "roll",
        lambda x: ops.roll(x, (4, -1), (1, 2)),
        lambda x: np.roll(x, (4, -1), (1, 2)),
        plain("roll", shifts=(4, -1), dims=(1, 2)),
        [CUBE],
    ),
    Case("roll all", lambda x: ops.roll(x, 5), lambda x: np.roll(x, 5), plain("roll", shifts=5), [CUBE]),
    Case(
        "tile",
        lambda x: ops.tile(x, (2, 1, 3)),
        lambda x: np.tile(x, (2, 1, 3)),
        plain("tile", dims=(2, 1, 3)),
        [A],
    ),
    *(
        Case(
            f"pad {mode}",
            lambda x, mode=mode: ops.pad(x, ((1, 2), (2, 1), (3, 0)), mode),
            lambda x, mode=mode: np.pad(x, ((1, 2), (2, 1), (3, 0)), mode),
            lambda torch, x, mode=mode: torch.nn.functional.pad(
                x[None], (3, 0, 2, 1, 1, 2), {"edge": "replicate"}.get(mode, mode)
            )[0],
            [normal(3, 3, 4)],
        )
        for mode in MODES
    ),
    Case(
        "pad by less than nothing",
        lambda x: ops.pad(x, {0: -1, -1: (2, -1)}, value=1.5),
        lambda x: np.pad(x[1:-1, :-1], ((0, 0), (2, 0)), constant_values=1.5),
        lambda torch, x: torch.nn.functional.pad(x, (2, -1, -1, -1), value=1.5),
        [A],
    ),
    *(
        Case(
            f"resize {method} {sizes} {align_corners or ''}",
            lambda x, s=sizes, m=method, a=align_corners: ops.resize(x, s, m, a),
            lambda x, s=sizes, m=method, a=align_corners: resized(x, s, m, a),
            lambda torch, x, s=sizes, m=method, a=align_corners: torch.nn.functional.interpolate(
                x, s, mode={3: "trilinear"}.get(len(s), m) if m == "bilinear" else m, align_corners=a or None
            ),
            [
                normal(1, 2, 3, 4, 2)[..., : 1 if len(sizes) == 2 else 2].reshape(
                    (1, 2, 3, 4, 2)[: 2 + len(sizes)]
                )
            ],
        )
        for method, sizes, align_corners in [
            *((method, sizes, False) for method in METHODS for sizes in ((5, 3), (2, 8))),
            *((method, (5, 3), True) for method in METHODS[2:]),
            *((method, (4, 3, 3), False) for method in METHODS[::2]),
        ]
    ),
    Case("triu", lambda x: ops.triu(x, 1), lambda x: np.triu(x, 1), plain("triu", diagonal=1), [CUBE]),
    Case("tril", ops.tril, np.tril, plain("tril"), [CUBE]),
    Case(
        "stack",
        lambda a, b: ops.stack([a, b, np.ones((3, 5))], 1),
        lambda a, b: np.stack([a, b, np.ones((3, 5))], 1),
        lambda torch, a, b: torch.stack([a, b, torch.ones(3, 5, dtype=a.dtype)], 1),
        [A, B],
    ),
    Case(
        "split",
        lambda x: (
            ops.concatenate(ops.split(x, (1, 3), 2)[::-1], 2) * ops.concatenate(ops.split(x, 2, -1), -1)
        ),
        lambda x: np.concatenate(np.split(x, (1, 3), 2)[::-1], 2) * x,
        lambda torch, x: torch.cat(x.tensor_split((1, 3), 2)[::-1], 2) * x,
        [CUBE],
    ),
    Case(
        "arange",
        lambda x: (
            ops.arange(2, 9, 3) * ops.arange(0.0, 1.5, 0.5, x.dtype).astype("int64") + x.astype("int64")
        ),
        lambda x: np.arange(2, 9, 3) * np.arange(0, 1.5, 0.5).astype(int) + x.astype(int),
        None,
        [A[:, :3]],
        False,
    ),
    Case(
        "full",
        lambda x: x + ops.full(x.shape, 0.5, x.dtype),
        lambda x: x + 0.5,
        lambda torch, x: x + 0.5,
        [A],
    ),
    Case(
        "eye",
        lambda x: x * ops.eye(3, 5, 1, x.dtype),
        lambda x: x * np.eye(3, 5, 1),
        lambda torch, x: x * torch.eye(6, dtype=x.dtype)[1:4, :5],
        [A],
    ),
    Case(
        "constant",
        lambda x: x * ops.constant([0.1, 0.2, 0.3, 0.4, 0.5], x.dtype) + ops.constant(np.arange(5), x.dtype),
        lambda x: x * np.arange(1, 6) / 10 + np.arange(5),
        lambda torch, x: x * torch.arange(1, 6) / 10 + torch.arange(5),
        [A],
    ),
    Case(
        "arrays in the place of values",
        lambda x: np.array([[2.0, 0.5]]) @ (x[:2] - np.array([[0.1], [0.3]])) * np.arange(5) % np.array(3),
        lambda x: np.array([[2.0, 0.5]]) @ (x[:2] - np.array([[0.1], [0.3]])) * np.arange(5) % 3,
        None,
        [A],
    ),
    Case("zeros_like", lambda x: x + ops.zeros_like(x), lambda x: x, lambda torch, x: x + 0, [A]),
    Case(
        "concatenate",
        lambda a, b, c: ops.concatenate([a, b, c], 1),
        lambda a, b, c: np.concatenate([a, b, c], 1),
        lambda torch, a, b, c: torch.cat([a, b, c], 1),
        [A, COLUMN, B],
    ),
    Case(
        "slice",
        lambda x: x[1:, :: np.int64(2), np.array(-1)],
        lambda x: x[1:, ::2, -1],
        lambda torch, x: x[1:, ::2, -1],
        [CUBE],
    ),
    Case(
        "update_slice",
        lambda x, y: ops.update_slice(x, y, (1, 2)),
        lambda x, y: np.block([[x[:1, :]], [x[1:3, :2], y, x[1:3, 4:]]]),
        lambda torch, x, y: torch.cat([x[:1], torch.cat([x[1:, :2], y, x[1:, 4:]], 1)], 0),
        [A, normal(2, 2, seed=9)],
    ),
    Case(
        "index",
        lambda x: x[..., None, 1],
        lambda x: x[..., None, 1],
        lambda torch, x: x[..., None, 1],
        [CUBE],
    ),
    Case(
        "cast",
        lambda x: (x * 3).astype("int64").astype("float64"),
        lambda x: np.trunc(x * 3),
        lambda torch, x: torch.trunc(x * 3),
        [A],
        False,
    ),
]

every = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
differentiable = pytest.mark.parametrize(
    "case", [case for case in CASES if case.is_differentiable], ids=lambda case: case.name
)


def as_type(arrays: Arrays, dtype: str) -> Arrays:
    return [array.astype(dtype) if array.dtype.kind == "f" else array for array in arrays]


@every
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 3e-6), ("float64", 1e-13)])
def test_forward(case: Case, dtype: str, tolerance: float) -> None:
    """In float64 the program has gradients, too, where there are any: it is that of the tests below."""
    arrays = as_type(case.arrays, dtype)
    expected = np.asarray(case.numpy(*as_type(arrays, "float64")))
    if dtype == "float64" and case.is_differentiable:
        (found,), _ = Evaluation(case.function, arrays).run(arrays)
    else:
        found = compute(case.function, *arrays)
    assert found.shape == expected.shape
    if expected.dtype.kind == "f" and case.name != "cast":
        assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * 3)


@differentiable
def test_gradient_equals_finite_differences(case: Case) -> None:
    check_gradients(case.function, case.arrays)


@differentiable
def test_forward_and_gradient_equal_pytorch(case: Case, torch: Any) -> None:
    if case.torch is None:
        pytest.skip("PyTorch has no such function")
    tensors = [torch.tensor(array, requires_grad=array.dtype.kind == "f") for array in case.arrays]
    output = case.torch(torch, *tensors)
    evaluation = Evaluation(case.function, case.arrays)
    (found,), (_, *gradients) = evaluation.run(case.arrays)
    np.testing.assert_allclose(found, output.detach().numpy(), rtol=1e-10, atol=1e-12)
    weights = np.random.default_rng(1).uniform(0.5, 1.5, output.shape)  # what Evaluation weights outputs by
    (output * torch.tensor(weights)).sum().backward()
    for position, gradient in zip(evaluation.wrt, gradients, strict=True):
        np.testing.assert_allclose(gradient, tensors[position].grad.numpy(), rtol=1e-9, atol=1e-11)


def test_every_public_op_is_here() -> None:
    tested = {case.name.split()[0] for case in CASES}
    tested |= {"logical_and", "logical_or", "logical_xor", "logical_not"}
    elsewhere = {
        "dropout",
        "normal",
        "uniform",
        "label_values",
        "reduce_to",
        "non_max_suppression",
        "ctc_loss",
    }  # tests of their own; reduce_to by every broadcast
    elsewhere |= {"gradients", "stop_gradient", "positions"}  # positions have no gradient
    elsewhere |= {
        "recurrent",
        "conv2d",
        "conv_transpose2d",
        "conv3d",
        "conv_transpose3d",
        "max_pool",
        "max_pool3d",
        "average_pool",
        "average_pool3d",
        "adaptive_average_pool",
    }
    elsewhere |= {
        "global_average_pool",
        "zero_pad",
        "upsample_nearest",
        "batch_norm",
        "fixed_norm",
        "size_of",
    }
    assert set(ops.__all__) - tested - elsewhere == set()
