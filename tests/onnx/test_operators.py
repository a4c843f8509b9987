"""Every op that a model can use computes in ONNX Runtime what NumPy computes, in old and new opsets."""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.kernels.borders import MODES
from bigmodel_core.kernels.interpolation import METHODS
from bigmodel_core.ops.scatter import REDUCTIONS
from bigmodel_core.ops.squares import SumOfSquares
from tests.onnx.conftest import Function, each, run
from tests.ops.attention_reference import attention
from tests.ops.boxes_reference import kept_boxes
from tests.ops.resize_reference import matrix, resized
from tests.ops.rotary_reference import turned
from tests.ops.scan_reference import loops, scanned
from tests.ops.scatter_reference import scattered

OPSETS = (13, 15, 17, 18, 20, 23)

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _softmax(x: np.ndarray, axis: int) -> np.ndarray:
    powers = np.exp(x - x.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


def _normal(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


def _bytes(i: Any) -> Any:
    """Bytes, some of them above 127, from ones that are 0 or more."""
    return (i * 50).astype("uint8")


def _ends(i: Any) -> tuple[Any, Any]:
    """Small integers, and those at the ends of int64, from ones that are 0 or more."""
    return 3 - i, i % 2 * 2 - i - (2**63 - 2)  # -1 among the former, the least among the latter


@np.errstate(all="ignore")
def _mod(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.mod(a, b)


@np.errstate(all="ignore")
def _floor_divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.floor_divide(a, b)


def _unit(x: np.ndarray, axes: Any = -1) -> np.ndarray:
    return x / np.sqrt((x * x).mean(axes, keepdims=True) + 1e-6)


def _among(x: np.ndarray, before: int, after: int) -> np.ndarray:
    """1 + half of the mean square of so many channels before each, itself, and after."""
    padded = np.pad(x * x, ((0, 0), (before, after), *[(0, 0)] * (x.ndim - 2)))
    count = before + 1 + after
    return 1 + 0.5 * sum(padded[:, place : place + x.shape[1]] for place in range(count)) / count


def _attention(q: np.ndarray, k: np.ndarray, mask: np.ndarray) -> np.ndarray:
    steps = np.arange(q.shape[2])
    powers = np.exp(q @ k.swapaxes(2, 3) / 2) * (mask & (steps <= steps[:, None]))
    return powers @ k / np.maximum(powers.sum(-1, keepdims=True), 1e-30)


def _copies(x: np.ndarray, widths: Any, mode: Any) -> np.ndarray:
    """How often each number is in the padded array."""
    outside = {"constant_values": x.size} if mode == "constant" else {}
    places = np.pad(np.arange(x.size).reshape(x.shape), widths, mode, **outside)
    return np.bincount(places.reshape(-1), minlength=x.size + 1)[:-1].reshape(x.shape)


def _scaled(x: np.ndarray, scale: float) -> np.ndarray:
    """Bilinear, by a scale that counts, rather than the sizes that it leads to, rounded down."""
    for axis in (2, 3):
        size = x.shape[axis]
        places = (np.arange(int(size * scale)) + 0.5) / scale - 0.5
        weights = np.maximum(0, 1 - np.abs(places.clip(0, size - 1)[:, None] - np.arange(size)))
        x = np.moveaxis(np.tensordot(weights, x, (1, axis)), 0, axis)
    return x


def _transposed(dy: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    for axis in (2, 3):
        weights = matrix(shape[axis], dy.shape[axis], "bilinear")
        dy = np.moveaxis(np.tensordot(weights.T, dy, (1, axis)), 0, axis)
    return dy


X = ("N", 3, 4)
Case = tuple[Callable[..., Any], Callable[..., Any], tuple[Any, ...]]
CASES: dict[str, Case] = {
    "add": (lambda x, y: x + y, lambda x, y: x + y, (X, (3, 1))),
    "subtract": (lambda x: 1 - x, lambda x: 1 - x, (X,)),
    "multiply": (lambda x, y: x * y, lambda x, y: x * y, (X, (4,))),
    "divide": (lambda x: x / (x * x + 1), lambda x: x / (x * x + 1), (X,)),
    "power": (lambda x: (x * x + 1) ** 1.7, lambda x: (x * x + 1) ** 1.7, (X,)),
    "maximum": (lambda x: ops.maximum(x, 0.3), lambda x: np.maximum(x, 0.3), (X,)),
    "minimum": (lambda x: ops.minimum(x, 0.3), lambda x: np.minimum(x, 0.3), (X,)),
    "negate": (lambda x: -x, lambda x: -x, (X,)),
    "sign": (ops.sign, np.sign, (X,)),
    "absolute": (ops.absolute, np.abs, (X,)),
    "round": (ops.round, np.round, (X,)),
    "log1p": (lambda x: ops.log1p(x * x - 0.9), lambda x: np.log1p(x * x - 0.9), (X,)),
    "log1p near 0": (
        lambda x: ops.log1p(x * 1e-6) * 1e6,
        lambda x: np.log1p(x * 1e-6) * 1e6,
        (X,),
    ),
    "expm1": (lambda x: ops.expm1(x * 1e-6) * 1e6, lambda x: np.expm1(x * 1e-6) * 1e6, (X,)),
    "erf": (ops.erf, _erf, (X,)),
    "mod": (lambda x, y: x % y, lambda x, y: x % y, (X, (4,))),
    "floor_divide": (lambda x, y: x // (y * y + 0.5), lambda x, y: x // (y * y + 0.5), (X, (4,))),
    "division of integers": (
        lambda i, j: ((i - 3) % (j - 3), (i - 3) // (j - 3)),
        lambda i, j: (_mod(i - 3, j - 3), _floor_divide(i - 3, j - 3)),
        (bm.Spec(("N", 9), "int64"), bm.Spec(("N", 9), "int64")),
    ),
    "division of the ends of integers": (
        lambda i, j: tuple(f(a, b) for a in _ends(i) for b in _ends(j) for f in (ops.mod, ops.floor_divide)),
        lambda i, j: tuple(f(a, b) for a in _ends(i) for b in _ends(j) for f in (_mod, _floor_divide)),
        (bm.Spec(("N", 9), "int64"), bm.Spec(("N", 9), "int64")),
    ),
    "division by infinity": (
        lambda x, y: (x % (y / 0.0), x // (y / 0.0), (x * 1e-30) % y, (x * 1e-30) // y),
        lambda x, y: (
            *(np.mod(x, np.inf * y), np.floor_divide(x, np.inf * y)),
            *(np.mod(x * 1e-30, y), np.floor_divide(x * 1e-30, y)),
        ),
        (X, (4,)),
    ),
    "division of bytes": (
        lambda i: ((i % 4).astype("int64"), (i // 4).astype("int64")),
        lambda i: (i % 4, i // 4),
        (bm.Spec(("N", 9), "uint8"),),
    ),
    "exp": (ops.exp, np.exp, (X,)),
    "log": (lambda x: ops.log(ops.absolute(x) + 0.1), lambda x: np.log(np.abs(x) + 0.1), (X,)),
    "sqrt": (lambda x: ops.sqrt(x * x), lambda x: np.abs(x), (X,)),
    "square": (ops.square, np.square, (X,)),
    "sum_of_squares": (SumOfSquares(), lambda x: np.square(x.astype("float64")).sum(), (X,)),
    "sin": (ops.sin, np.sin, (X,)),
    "cos": (ops.cos, np.cos, (X,)),
    "floor": (ops.floor, np.floor, (X,)),
    "ceil": (ops.ceil, np.ceil, (X,)),
    "clip": (lambda x: ops.clip(x, -0.5, 0.5), lambda x: np.clip(x, -0.5, 0.5), (X,)),
    "clip to arrays": (
        lambda x, low: (ops.clip(x, low, 0.5), ops.clip(x, None, 0.5)),
        lambda x, low: (np.minimum(np.maximum(x, low), 0.5), np.minimum(x, 0.5)),
        (X, (4,)),
    ),
    "relu": (ops.relu, lambda x: np.maximum(x, 0), (X,)),
    "leaky_relu": (lambda x: ops.leaky_relu(x, 0.2), lambda x: np.where(x > 0, x, 0.2 * x), (X,)),
    "elu": (lambda x: ops.elu(x, 0.7), lambda x: np.where(x > 0, x, 0.7 * np.expm1(x)), (X,)),
    "sigmoid": (ops.sigmoid, lambda x: 1 / (1 + np.exp(-x)), (X,)),
    "tanh": (ops.tanh, np.tanh, (X,)),
    "gelu": (ops.gelu, lambda x: 0.5 * x * (1 + _erf(x / math.sqrt(2))), (X,)),
    "gelu_tanh": (
        ops.gelu_tanh,
        lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
        (X,),
    ),
    "slope of gelu": (
        lambda x: ops.gradients(ops.sum(ops.gelu(x)), x),
        lambda x: 0.5 * (1 + _erf(x / math.sqrt(2))) + x * np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi),
        (X,),
    ),
    "silu": (ops.silu, lambda x: x / (1 + np.exp(-x)), (X,)),
    "softplus": (ops.softplus, lambda x: np.logaddexp(0, x), (X,)),
    "softsign": (ops.softsign, lambda x: x / (1 + np.abs(x)), (X,)),
    "comparisons": (
        lambda x, y: tuple(
            ops.cast(value, "float32")
            for value in (x < y, x <= y, x > y, x >= y, ops.equal(x, y), ops.not_equal(x, y))
        ),
        lambda x, y: (x < y, x <= y, x > y, x >= y, x == y, x != y),
        (X, X),
    ),
    "logic": (
        lambda x: ops.logical_or(ops.logical_and(x > -1, x < 0), ops.logical_not(x < 1)),
        lambda x: ((x > -1) & (x < 0)) | ~(x < 1),
        (X,),
    ),
    "xor": (lambda x, y: (x > 0) ^ (y > 0), lambda x, y: (x > 0) ^ (y > 0), (X, X)),
    "where": (lambda x, y: ops.where(x > y, x, 0.0), lambda x, y: np.where(x > y, x, 0), (X, (4,))),
    "cast": (lambda x: ops.cast(x * 10, "int32"), lambda x: np.trunc(x * 10), (X,)),
    "stop_gradient": (lambda x: ops.stop_gradient(x) * 2, lambda x: x * 2, (X,)),
    "integers": (lambda i: (i + i) * i - 1, lambda i: (i + i) * i - 1, (bm.Spec(("N", 3), "int64"),)),
    "sum": (lambda x: ops.sum(x, 1), lambda x: x.sum(1), (X,)),
    "sum_apart": (lambda x: ops.sum(x, (0, 2)), lambda x: x.sum((0, 2)), (X,)),
    "sum_all": (lambda x: ops.sum(x), lambda x: x.sum(), (X,)),
    "mean": (lambda x: ops.mean(x, -1, keepdims=True), lambda x: x.mean(-1, keepdims=True), (X,)),
    "mean_apart": (
        lambda x: ops.mean(x, (0, 2), keepdims=True),
        lambda x: x.mean((0, 2), keepdims=True),
        (X,),
    ),
    "mean_free": (lambda x: ops.mean(x, 0), lambda x: x.mean(0), (X,)),
    "max": (lambda x: ops.max(x, 2), lambda x: x.max(2), (X,)),
    "min": (lambda x: ops.min(x, (1, 2)), lambda x: x.min((1, 2)), (X,)),
    "extremes of truth values": (
        lambda x: (ops.max(x > 0, 2), ops.min(x > 0, (1, 2)), ops.argmax(x > 0, 1), ops.argmin(x > 0, -1)),
        lambda x: ((x > 0).max(2), (x > 0).min((1, 2)), (x > 0).argmax(1), (x > 0).argmin(-1)),
        (X,),
    ),
    "where of truth values": (
        lambda x, y: (ops.where(x > y, x > 0, y > 0), ops.tril(x > 0, -1)),
        lambda x, y: (np.where(x > y, x > 0, y > 0), np.tril(x > 0, -1)),
        (X, (4,)),
    ),
    "argmax": (lambda x: ops.argmax(x, 1), lambda x: x.argmax(1), (X,)),
    "scan": (
        lambda x, i, w: tuple(loops(ops.tanh, ops.scan, x, i, w, 1)),
        lambda x, i, w: tuple(loops(np.tanh, scanned, x, i, w, 1)),
        (("N", "T", 4), bm.Spec(("N", "T"), "int64"), (4, 4)),
    ),
    "scan without arrays": (
        lambda x: (
            ops.scan(lambda c, _: (c * 2.0, {"before": c, "one": 1.0}), 3.0, length=x.shape[0])[1]["before"]
            * x
        ),
        lambda x: 3.0 * 2.0 ** np.arange(len(x)) * x,
        (("T",),),
    ),
    "cumsum": (
        lambda x: (ops.cumsum(x, 1), ops.cumsum(x, 0, True), ops.cumsum(x, 2, False, True)),
        lambda x: (x.cumsum(1), x[::-1].cumsum(0)[::-1], x.cumsum(2) - x),
        (X,),
    ),
    "prod": (lambda x: (x.prod(1), x.prod((0, 2))), lambda x: (x.prod(1), x.prod((0, 2))), (X,)),
    "moments": (
        lambda x: (x.var(1), x.std((0, 2)), x[:, 0].var(1, ddof=1)),
        lambda x: (x.var(1), x.std((0, 2)), x[:, 0].var(1, ddof=1)),
        (X,),
    ),
    "norms": (
        lambda x: tuple(ops.norm(x, ord, 2) for ord in (1, 2, 3, math.inf)),
        lambda x: tuple(np.linalg.norm(x, ord, 2) for ord in (1, 2, 3, math.inf)),
        (X,),
    ),
    "logsumexp": (
        lambda x: (ops.logsumexp(x * 50, -1), ops.logsumexp(ops.where(x > -1, x, -math.inf), (0, 2))),
        lambda x: (np.logaddexp.reduce(x * 50, -1), np.log(np.where(x > -1, np.exp(x), 0).sum((0, 2)))),
        (X,),
    ),
    "any": (
        lambda x: ((x > 1).any((1, 2)), ops.floor(x).all(2), (x > 0).all(0)),
        lambda x: ((x > 1).any((1, 2)), np.floor(x).all(2), (x > 0).all(0)),
        (X,),
    ),
    "size": (
        lambda x: x / ops.size_of(x, (0, 1), "float32"),
        lambda x: x / (x.shape[0] * x.shape[1]),
        (X,),
    ),
    "softmax": (lambda x: ops.softmax(x, 1), lambda x: _softmax(x, 1), (X,)),
    "log_softmax": (lambda x: ops.log_softmax(x), lambda x: np.log(_softmax(x, -1)), (X,)),
    "layer_norm": (
        lambda x, s, b: ops.layer_norm(x, s, b),
        lambda x, s, b: _normal(x) * s + b,
        (X, (4,), (4,)),
    ),
    "rms_norm": (ops.rms_norm, lambda x, s: _unit(x) * s, (X, (4,))),
    **{
        f"rotary{' of neighbours' * pairs}": (
            lambda x, y, i, z, pairs=pairs: (
                ops.rotary(x, ops.positions(x, 2), interleaved=pairs),
                ops.rotary(x, i, 100.0, 4, pairs),
                ops.rotary(y, i, 100.0, 4, pairs),
                ops.transpose(ops.rotary(ops.transpose(z, (0, 2, 1, 3)), i, 100.0, 4, pairs), (0, 2, 1, 3)),
            ),
            lambda x, y, i, z, pairs=pairs: (
                turned(x, np.arange(x.shape[2]), 1e4, 6, pairs),
                turned(x, i[:, None], 100.0, 4, pairs),
                turned(y, i, 100.0, 4, pairs),
                turned(z.transpose(0, 2, 1, 3), i[:, None], 100.0, 4, pairs).transpose(0, 2, 1, 3),
            ),
            (("N", 2, "T", 6), ("N", "T", 4), bm.Spec(("N", "T"), "int64"), ("N", "T", 3, 6)),
        )
        for pairs in (False, True)
    },
    "rms_norm apart": (
        lambda x, s: ops.rms_norm(x, s, (1, 2)),
        lambda x, s: _unit(x, (1, 2)) * s,
        (X, (3, 4)),
    ),
    "local_response_norm": (
        lambda x: (ops.local_response_norm(x, 3, 0.5), ops.local_response_norm(x, 2, 0.5, 1.0, 2.0)),
        lambda x: (_among(x, 1, 1) ** -0.75 * x, x / (1 + _among(x, 1, 0))),
        (("N", 5, 4, "T"),),
    ),
    "local_response_norm of sequences": (
        lambda x: ops.local_response_norm(x, 3, 0.5),
        lambda x: _among(x, 1, 1) ** -0.75 * x,
        (("N", 5, "T"),),
    ),
    "attention": (
        lambda q, k, m: ops.attention(q, k, k, m > 0, causal=True),
        lambda q, k, m: _attention(q, k, m > 0),
        (("N", 2, "T", 4), ("N", 1, "T", 4), ("T", "T")),
    ),
    "attention of heads": (
        lambda q, k, x: (
            ops.attention(q, k, k * 2.0, causal=True),
            ops.attention(q, k, k[..., :3], scale=0.3),
            ops.transpose(ops.attention(*(ops.transpose(x, (0, 2, 1, 3)),) * 3, causal=True), (0, 2, 1, 3)),
            ops.attention(q[:, :, :1], k, k, causal=True),
        ),
        lambda q, k, x: (
            attention(q, k, k * 2, causal=True),
            attention(q, k, k[..., :3], scale=0.3),
            attention(*(x.transpose(0, 2, 1, 3),) * 3, causal=True).transpose(0, 2, 1, 3),
            attention(q[:, :, :1], k, k, causal=True),
        ),
        (("N", 2, "T", 4), ("N", 1, "T", 4), ("N", "T", 3, 4)),
    ),
    "attention of lengths": (
        lambda q, k, n: ops.attention(q, k, k, causal=True, lengths=abs(n) % 6),
        lambda q, k, n: attention(q, k, k, causal=True, lengths=abs(n) % 6),
        (("N", 2, 3, 4), ("N", 1, 5, 4), bm.Spec(("N",), "int64")),
    ),
    "matmul": (lambda x, w: x @ w, lambda x, w: x @ w, (X, (4, 5))),
    "matmul_vectors": (
        lambda x, v: (x @ v, v @ np.ones((4, 2)), v @ v),
        lambda x, v: (x @ v, v @ np.ones((4, 2)), v @ v),
        (X, (4,)),
    ),
    "matmul_batch": (lambda x, y: ops.matmul(x, y), lambda x, y: x @ y, (X, ("N", 4, 2))),
    "matmul_broadcast": (lambda x, y: ops.matmul(x, y), lambda x, y: x @ y, (("N", 2, 3, 4), (2, 4, 2))),
    "matmul_transposed": (
        lambda x, w: ops.linear.MatMul(True, True)(x, w),
        lambda x, w: np.swapaxes(x, 1, 2) @ w.T,
        (X, (5, 3)),
    ),
    "einsum": (
        lambda x, w: (
            *(ops.einsum("nij,kj->nki", x, w), ops.einsum("nij,nkj->nik", x, x), ops.einsum("nij->jn", x)),
            *(ops.einsum("nij,mij,lj->nml", x, x, w), ops.einsum("nini->i", ops.einsum("ni,mk->nimk", w, w))),
        ),
        lambda x, w: (
            *(np.einsum("nij,kj->nki", x, w), np.einsum("nij,nkj->nik", x, x), np.einsum("nij->jn", x)),
            *(np.einsum("nij,mij,lj->nml", x, x, w), np.einsum("nini->i", np.einsum("ni,mk->nimk", w, w))),
        ),
        (X, (5, 4)),
    ),
    "einsum_free": (
        lambda x: (ops.einsum("tt->t", ops.einsum("nti,nsi->ts", x, x)), ops.einsum("nti,nsi->nst", x, x)),
        lambda x: (np.einsum("nti,nti->t", x, x), np.einsum("nti,nsi->nst", x, x)),
        (("N", "T", 3),),
    ),
    "gemm_transposed": (lambda x, w: x @ ops.transpose(w), lambda x, w: x @ w.T, (("N", 4), (5, 4))),
    "gemm_bias": (lambda x, w, b: x @ w + b, lambda x, w, b: x @ w + b, (("N", 4), (4, 5), (5,))),
    "gemm_row_bias": (lambda x, w, b: b + x @ w, lambda x, w, b: x @ w + b, (("N", 4), (4, 5), ("N", 1))),
    "gemm_shared": (lambda x, w: (x @ w) + (x @ w) * 2, lambda x, w: 3 * (x @ w), (("N", 4), (4, 5))),
    "affine": (ops.affine, lambda x, w, b: x @ w + b, (("N", 4), (4, 5), (5,))),
    "affine_deep": (ops.affine, lambda x, w, b: x @ w + b, (X, (4, 5), (5,))),
    "reshape": (lambda x: x.reshape(-1, 2, 6), lambda x: x.reshape(-1, 2, 6), (X,)),
    "reshape_rows": (lambda x: x.reshape(-1, 4), lambda x: x.reshape(-1, 4), (X,)),
    "reshape_free": (
        lambda x: x.reshape("T", "N", 2, 2),
        lambda x: x.reshape(x.shape[1], x.shape[0], 2, 2),
        (("N", "T", 4),),
    ),
    "reshape_static": (lambda x: x.reshape(4, 1, 3), lambda x: x.reshape(4, 1, 3), ((3, 4),)),
    "flatten": (lambda x: ops.flatten(x), lambda x: x.reshape(len(x), -1), (X,)),
    "transpose": (lambda x: ops.transpose(x, (2, 0, 1)), lambda x: x.transpose(2, 0, 1), (X,)),
    "broadcast_to": (
        lambda x: ops.broadcast_to(x, ("N", 3, 4)) * 1.0,
        lambda x: np.broadcast_to(x, (len(x), 3, 4)),
        (("N", 3, 1),),
    ),
    "broadcast_free": (
        lambda x, y: ops.broadcast_to(y, x.shape),
        lambda x, y: np.broadcast_to(y, x.shape),
        (("N", "T", 2), (2,)),
    ),
    "positions": (
        lambda x: x + ops.positions(x, 0).reshape(-1, 1, 1).astype("float32"),
        lambda x: x + np.arange(len(x))[:, None, None],
        (X,),
    ),
    "size_of_dimension": (lambda x: x * x.shape[0], lambda x: x * len(x), (X,)),
    "zeros_like": (lambda x: ops.zeros_like(x) + x, lambda x: x, (X,)),
    "concatenate": (
        lambda x, y: ops.concatenate([x, y, x], 1),
        lambda x, y: np.concatenate([x, y, x], 1),
        (X, X),
    ),
    "concatenate_free": (
        lambda x, y: ops.concatenate([x, y], 0).reshape(-1, 6),
        lambda x, y: np.concatenate([x, y], 0).reshape(-1, 6),
        (("N", 3, 2), (2, 3, 2)),
    ),
    "slice": (lambda x: x[:, 1:, ::2], lambda x: x[:, 1:, ::2], (X,)),
    "slice_free": (lambda x: x[:, 1:-1], lambda x: x[:, 1:-1], (("N", "T", 2),)),
    "slice_second_half": (
        lambda x: ops.slicing.Slice(0, "N", "N")(ops.concatenate([x, x * x], 0)),
        lambda x: x * x,
        (("N", 2),),
    ),
    "slice_middle": (
        lambda x: ops.slicing.Slice(0, "N", "T")(ops.concatenate([x[:, 0], x[0], x[:, 1]], 0)),
        lambda x: x[0],
        (("N", "T", 2),),
    ),
    "slice backwards": (
        lambda x: (x[::-1, ::-2], ops.flip(x)[:, 1:], x[:, 2:0:-1], x[1::-1]),
        lambda x: (x[::-1, ::-2], np.flip(x)[:, 1:], x[:, 2:0:-1], x[1::-1]),
        (X,),
    ),
    "slice backwards free": (
        lambda x: (x[:, ::-2], x[:, -2::-1], x[:, 3::-2], x[:, :-4:-1]),
        lambda x: (x[:, ::-2], x[:, -2::-1], x[:, 3::-2], x[:, :-4:-1]),
        (("N", "T"),),
    ),
    "slice backwards free between bounds": (
        lambda x: (x[:, -3:0:-2], x[:, 6:1:-1]),
        lambda x: (x[:, -3:0:-2], x[:, 6:1:-1]),
        (("N", "T"),),
    ),
    "rearranged": (
        lambda x: (*ops.split(x, 2, 2), ops.stack([x, x], 1), ops.roll(x, -5, 0), ops.tile(x, (2, 1, 3))),
        lambda x: (*np.split(x, 2, 2), np.stack([x, x], 1), np.roll(x, -5, 0), np.tile(x, (2, 1, 3))),
        (X,),
    ),
    "rolled by one": (
        lambda x: (ops.roll(x, 1, 0), ops.roll(x, (1, -1), (0, 1)), ops.roll(x, 1)),
        lambda x: (np.roll(x, 1, 0), np.roll(x, (1, -1), (0, 1)), np.roll(x, 1)),
        (("N", "T"),),
    ),
    "created": (
        lambda x: (x @ ops.eye(4, 2, -1), ops.arange(x.shape[0], 0, -2) * 1, ops.full(x.shape, 0.5) * x),
        lambda x: (x @ np.eye(4, 2, -1), np.arange(len(x), 0, -2), 0.5 * x),
        (X,),
    ),
    "triangles": (
        lambda x: (ops.triu(x, 1), ops.tril(x)),
        lambda x: (np.triu(x, 1), np.tril(x)),
        (("N", "T", 4),),
    ),
    "index": (lambda x: x[:, -1], lambda x: x[:, -1], (X,)),
    "index_twice": (lambda x: x[:, 1, 2], lambda x: x[:, 1, 2], (X,)),
    "index_new_axis": (lambda x: x[:, None], lambda x: x[:, None], (X,)),
    "binary_cross_entropy": (
        lambda x, t: ops.losses.BinaryCrossEntropy()(x, ops.sigmoid(t)),
        lambda x, t: np.logaddexp(0, x) - x / (1 + np.exp(-t)),
        (X, X),
    ),
    "huber": (
        lambda x: ops.losses.Huber(0.7)(x),
        lambda x: np.where(np.abs(x) <= 0.7, x * x / 2, 0.7 * (np.abs(x) - 0.35)),
        (X,),
    ),
    "label_numbers": (
        lambda i: ops.losses.LabelNumbers(6)(i) * 0.5,
        lambda i: i * 0.5,
        (bm.Spec(("N", 2), "int64"),),
    ),
    "update_slice": (
        lambda x, y: ops.update_slice(x, y, (0, 1, 2)),
        lambda x, y: _updated(x, y, slice(1, 3), slice(2, 4)),
        (X, ("N", 2, 2)),
    ),
    "update_slice_at": (
        lambda x, y, i: ops.update_slice(x, y, (0, 0, i[0])),
        lambda x, y, i: _updated(x, y, slice(None), slice(i[0], i[0] + 2)),
        (("N", 3, 8), ("N", 3, 2), bm.Spec((1,), "int64")),
    ),
    "update_slice_free": (
        lambda x, y, i: ops.update_slice(x, y, (0, i[0], i[0])),
        lambda x, y, i: _updated(x, y, slice(i[0], i[0] + y.shape[1]), slice(i[0], i[0] + 2)),
        (("N", 32, 9), ("N", "T", 2), bm.Spec((1,), "int64")),
    ),
    "argmin": (lambda x: ops.argmin(x, 1, True), lambda x: x.argmin(1)[:, None], (X,)),
    "sort": (
        lambda x: (ops.sort(x), ops.sort(x, 0, True), ops.sort(x.astype("float64"), 1)),
        lambda x: (np.sort(x), -np.sort(-x, 0), np.sort(x, 1)),
        (X,),
    ),
    "argsort": (
        lambda i: (ops.argsort(i, 1), ops.argsort(i.astype("uint8"), 0)),
        lambda i: (np.argsort(i, 1, kind="stable"), np.argsort(i, 0, kind="stable")),
        (bm.Spec(("N", "T"), "int64"),),
    ),
    "top_k": (
        lambda i: (*ops.top_k(i, 2), *ops.top_k(i.astype("uint8"), 4, 1)),
        lambda i: (*_largest(i, 2), *_largest(i, 4)),
        (bm.Spec(("N", 5), "int32"),),
    ),
    **{
        f"non_max_suppression {least}": (
            lambda x, s, least=least: ops.non_max_suppression(
                x, s, max_outputs=4, iou_threshold=0.3, score_threshold=least
            ),
            lambda x, s, least=least: kept_boxes(x, s, 4, 0.3, least),
            (("N", 9, 4), ("N", 9)),
        )
        for least in (None, 0.2, 9.0)
    },
    "non_max_suppression of one image": (
        lambda x, s: ops.non_max_suppression(x, s, max_outputs=20, iou_threshold=0.1),
        lambda x, s: kept_boxes(x[None], s[None], 20, 0.1)[0],
        (("T", 4), ("T",)),
    ),
    "gather": (ops.gather, lambda t, i: t[i], ((6, 3), bm.Spec(("N", 2), "int64"))),
    "gather_padded": (
        lambda t, i: (ops.gather(t, i - 1, padded=True), ops.gather(t[:, 0], i - 1, padded=True)),
        lambda t, i: (np.where((i > 0)[..., None], t[i - 1], 0), np.where(i > 0, t[:, 0][i - 1], 0)),
        ((6, 3), bm.Spec(("N", 2), "int64")),
    ),
    "gather_columns": (
        lambda x, i: ops.gather(x, i, 1),
        lambda x, i: np.take(x, i, 1),
        (("N", 6, 2), bm.Spec((2, 3), "int32")),
    ),
    "take_along_axis": (
        lambda x, i: (ops.take_along_axis(x, i, 1), ops.take_along_axis(x, i[:, :, :1], 1)),
        lambda x, i: (np.take_along_axis(x, i, 1), np.take_along_axis(x, i[:, :, :1], 1)),
        (("N", 6, 2), bm.Spec(("N", "T", 2), "int64")),
    ),
    "gather_nd": (
        lambda x, i: (ops.gather_nd(x, i), ops.gather_nd(x, i.astype("int32"))),
        lambda x, i: (x[i[..., 0], i[..., 1]],) * 2,
        ((7, 6, 2), bm.Spec(("N", 3, 2), "int64")),
    ),
    "one_hot": (
        lambda i: (ops.one_hot(i - 1, 4), ops.one_hot(i, 6, "int64")),
        lambda i: ((i[..., None] - 1 == np.arange(4)) * 1.0, np.eye(6, dtype=int)[i]),
        (bm.Spec(("N", 2), "int64"),),
    ),
    **{
        f"scatter {reduce}": (
            lambda x, i, u, reduce=reduce: ops.scatter(x, i, u, 1, reduce),
            lambda x, i, u, reduce=reduce: scattered(x, i, u, 1, reduce),
            (("N", 6, 2), bm.Spec(("N", 5, 2), "int64"), ("N", 5, 2)),
        )
        for reduce in REDUCTIONS
    },
    "arithmetic of bytes": (
        lambda i: tuple(
            found.astype("int64")
            for b in [_bytes(i)]
            for found in (b + b, b * b, b - b - b, -b, ops.sum(b, 1), ops.prod(b, 0), ops.cumsum(b, 1))
        ),
        lambda i: tuple(
            found.astype("uint8").astype("int64")
            for b in [_bytes(i)]
            for found in (b + b, b * b, b - b - b, -b, b.sum(1), b.prod(0), b.cumsum(1))
        ),
        (bm.Spec(("N", 5), "int64"),),
    ),
    "arithmetic of truth values": (
        lambda x, y: (
            *(f(x > 0, y > 0) for f in (ops.add, ops.multiply, ops.maximum, ops.minimum)),
            *(f(x > 0, y > 0) for f in (ops.less, ops.less_equal, ops.greater, ops.greater_equal)),
            *(f(x > 0) for f in (ops.absolute, ops.square)),
        ),
        lambda x, y: (
            *(f(x > 0, y > 0) for f in (np.add, np.multiply, np.maximum, np.minimum)),
            *(f(x > 0, y > 0) for f in (np.less, np.less_equal, np.greater, np.greater_equal)),
            *(f(x > 0) for f in (np.absolute, np.square)),
        ),
        (X, (3, 1)),
    ),
    **{
        f"scatter {reduce} of bytes": (
            lambda x, i, u, reduce=reduce: ops.scatter(_bytes(x), i, _bytes(u), 1, reduce).astype("int64"),
            lambda x, i, u, reduce=reduce: scattered(_bytes(x), i, _bytes(u), 1, reduce),
            (bm.Spec(("N", 6, 2), "int64"), bm.Spec(("N", 5, 2), "int64"), bm.Spec(("N", 5, 2), "int64")),
        )
        for reduce in REDUCTIONS
    },
    **{
        f"pad {mode}": (
            lambda x, i, mode=mode: (
                ops.pad(x, ((0, 0), (2, 1), (0, 2), (1, 1)), mode),
                ops.pad(i, {1: (1, 0)}, mode).astype("float32"),
            ),
            lambda x, i, mode=mode: (
                np.pad(x, ((0, 0), (2, 1), (0, 2), (1, 1)), mode),
                np.pad(i, ((0, 0), (1, 0)), mode),
            ),
            (("N", 3, "T", 2), bm.Spec(("N", 3), "int64")),
        )
        for mode in MODES
    },
    "pad by sizes": (
        lambda x: ops.pad(x, ((0, x.shape[0]), (0, 0), (x.shape[0], 1)), value=0.5),
        lambda x: np.pad(x, ((0, len(x)), (0, 0), (len(x), 1)), constant_values=0.5),
        (X,),
    ),
    "pad by less than nothing": (
        lambda x, i: (ops.pad(x, ((0, 0), (-1, 2), (-2, -1))), ops.pad(i > 3, ((0, 1), (1, -1)), value=True)),
        lambda x, i: (
            np.pad(x[:, 1:, 2:-1], ((0, 0), (0, 2), (0, 0))),
            np.pad(i[:, :-1] > 3, ((0, 1), (1, 0)), constant_values=True),
        ),
        (X, bm.Spec(("N", 3), "int64")),
    ),
    "gradients of pads": (
        lambda x: tuple(
            ops.gradients(ops.sum(ops.pad(x, ((0, 0), (2, 1), (1, 3)), mode) ** 3.0), x) for mode in MODES
        ),
        lambda x: tuple(3 * x**2 * _copies(x, ((0, 0), (2, 1), (1, 3)), mode) for mode in MODES),
        (X,),
    ),
    **{
        f"resize {method}{' align_corners' * align}": (
            lambda x, t, m=method, a=align: (
                *(
                    ops.resize(x, (5, 7), m, a),
                    ops.resize(x, (x.shape[2] * 2, 6), m, a),
                    ops.resize(t, 7, m, a),
                ),
                ops.resize(x, (x.shape[2] + 2, 4), m, a),
            ),
            lambda x, t, m=method, a=align: (
                *(resized(x, (5, 7), m, a), resized(x, (x.shape[2] * 2, 6), m, a), resized(t, (7,), m, a)),
                resized(x, (x.shape[2] + 2, 4), m, a),
            ),
            (("N", 2, "T", 3), ("N", 2, 4)),
        )
        for method, align in [(m, a) for m in METHODS for a in (False, True) if m.startswith("bi") or not a]
    },
    "resize by a scale": (
        lambda x: ops.resize(x, method="bilinear", scale=1.5),
        lambda x: _scaled(x, 1.5),
        (("N", 2, "T", 4),),
    ),
    "resize float64": (
        lambda x: ops.resize(x, (5, 7), "bicubic"),
        lambda x: resized(x, (5, 7), "bicubic"),
        (bm.Spec(("N", 2, "T", 3), "float64"),),
    ),
    "resize volumes": (
        lambda x: (ops.resize(x, (2, 7, 5), "bilinear"), ops.resize(x, (2, 6, 5))),
        lambda x: (resized(x, (2, 7, 5), "bilinear"), resized(x, (2, 6, 5), "nearest")),
        (("N", 2, 3, "T", 3),),
    ),
    "resize bytes": (
        lambda i: ops.resize(i, (5, 7)).astype("int64"),
        lambda i: resized(i.astype(float), (5, 7), "nearest").astype("int64"),
        (bm.Spec(("N", 1, 3, 3), "uint8"),),
    ),
    "gradients of resize": (
        lambda x: ops.gradients(ops.sum(ops.resize(x, (5, 3), "bilinear") ** 2.0), x),
        lambda x: _transposed(2 * resized(x, (5, 3), "bilinear"), x.shape),
        (("N", 2, "T", 4),),
    ),
    "scatter rows of integers": (
        lambda x, i, u: (ops.scatter(x, i, u, 0, "max"), ops.scatter(x, i, 7, 0, "add")),
        lambda x, i, u: (scattered(x, i, u, 0, "max"), scattered(x, i, np.int64(7), 0, "add")),
        (bm.Spec((6, 3), "int64"), bm.Spec(("N", 1), "int32"), bm.Spec(("N", 3), "int64")),
    ),
}


def _largest(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    places = np.argsort(-x.astype("int64"), -1, kind="stable")[..., :k]
    return np.take_along_axis(x, places, -1), places


def _updated(x: np.ndarray, y: np.ndarray, *where: slice) -> np.ndarray:
    x = x.copy()
    x[(slice(None), *where)] = y
    return x


def _inputs(specs: tuple[Any, ...], sizes: dict[str, int]) -> list[np.ndarray]:
    generator = np.random.default_rng(5)
    arrays = []
    for spec in specs:
        bound = spec.bind(sizes) if isinstance(spec, bm.Spec) else bm.Spec(spec).bind(sizes)
        if bound.is_float:
            arrays.append(generator.standard_normal(bound.shape).astype(bound.dtype))
        else:
            arrays.append(generator.integers(0, 6, bound.shape).astype(bound.dtype))
    return arrays


@pytest.mark.parametrize("name", CASES)
def test_op_computes_in_onnx_runtime_what_numpy_computes(name: str, tmp_path: Path) -> None:
    function, reference, specs = CASES[name]
    model = Function(function)
    model.build(*specs)
    for opset in OPSETS:
        report = bm.export(model, tmp_path / "model.onnx", opset=opset)
        assert report.opset == opset
        for batch in (1, 2, 7):
            arrays = _inputs(specs, {"N": batch, "T": batch + 3})
            expected = reference(
                *(array.astype("float64") if array.dtype.kind == "f" else array for array in arrays)
            )
            for found, wanted in zip(run(tmp_path / "model.onnx", *arrays), each(expected), strict=True):
                assert found.shape == wanted.shape
                np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-5)


UNREAD = {
    *("update_slice_at", "update_slice_free"),  # test_carried.py reads caches that are written in place
}


@pytest.mark.parametrize("name", [name for name in CASES if name not in UNREAD])
def test_op_is_read_back(name: str, tmp_path: Path) -> None:
    function, _, specs = CASES[name]
    model = Function(function)
    model.build(*specs)
    for opset in (13, 23):
        bm.export(model, tmp_path / "model.onnx", opset=opset)
        read = bm.from_onnx(tmp_path / "model.onnx")
        for batch in (1, 3):
            arrays = _inputs(specs, {"N": batch, "T": batch + 3})
            for found, wanted in zip(each(read(*arrays)), each(model(*arrays)), strict=True):
                assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
                np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_every_op_of_the_core_that_has_a_lowering_is_tested() -> None:
    """An op that is added to the core without a case here is noticed."""
    from bigmodel_core.graph import LEAVES, Graph, needed
    from bigmodel_core.nn.trace import Trace
    from bigmodel_core.ops.carried import Carried
    from bigmodel_core.ops.differentiation import Again
    from bigmodel_core.ops.images import ImageOp
    from bigmodel_core.ops.recurrent import Recurrent

    seen: set[type] = set()
    for function, _, specs in CASES.values():
        trace = Trace(Graph(), False)
        with trace.active():
            values = [
                trace.graph.input(f"x{place}", spec if isinstance(spec, bm.Spec) else bm.Spec(spec))
                for place, spec in enumerate(specs)
            ]
            outputs = each(function(*values))
        seen |= {type(node.op) for node in needed(outputs) if not isinstance(node.op, LEAVES)}
    files = [
        importlib.import_module(f"{ops.__name__}.{file.name}") for file in pkgutil.iter_modules(ops.__path__)
    ]
    with_lowering = {
        item
        for module in files
        for item in vars(module).values()
        if isinstance(item, type) and issubclass(item, bm.Op) and item is not bm.Op and "onnx" in vars(item)
    }
    # Ops on images are exported by their layers: the conformance sweep compares each with ONNX Runtime.
    on_images = {item for item in with_lowering if issubclass(item, ImageOp)}
    # test_carried.py, test_recurrent.py, and what steps of training alone have
    assert with_lowering - seen - on_images == {Again, Carried, Recurrent}
