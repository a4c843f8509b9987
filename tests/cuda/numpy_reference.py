"""The cases of `test_ops.py` in NumPy: what the CUDA kernels are compared with, in float64.

Gradients are central differences of these functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tests.ops.attention_reference import attention
from tests.ops.boxes_reference import kept_boxes
from tests.ops.ctc_reference import ctc_losses
from tests.ops.resize_reference import resized
from tests.ops.rotary_reference import turned
from tests.ops.scan_reference import loops, scanned
from tests.ops.scatter_reference import scattered

Arrays = Mapping[str, np.ndarray]

erf = np.vectorize(math.erf, otypes=["float64"])


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))


def log_softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    shifted = x - x.max(axis, keepdims=True)
    found: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))
    return found


def softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.exp(log_softmax(x, axis))


def cross_entropy(x: np.ndarray, labels: np.ndarray, smoothing: float = 0.0) -> np.ndarray:
    classes = x.shape[-1]
    target = (1 - smoothing) * np.eye(classes)[labels] + smoothing / classes
    found: np.ndarray = -(target * log_softmax(x)).sum(-1)
    return found


def layer_norm(x: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    centered = x - x.mean(-1, keepdims=True)
    found: np.ndarray = centered / np.sqrt((centered**2).mean(-1, keepdims=True) + 1e-5) * scale + shift
    return found


def rms_norm(x: np.ndarray, scale: np.ndarray) -> np.ndarray:
    found: np.ndarray = x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6) * scale
    return found


def vocabulary_loss(
    x: np.ndarray, w: np.ndarray, b: np.ndarray, t: np.ndarray, g: np.ndarray, turned: bool = False
) -> list[np.ndarray]:
    """Smoothed by 0.1, the label 2 ignored: the losses, and the gradients of x, w and b."""
    logits = x @ w + b
    counts = (t != 2)[:, None]
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares = shares / shares.sum(1, keepdims=True)
    slopes = (shares - 0.9 * np.eye(len(b))[t] - 0.1 / len(b)) * g[:, None] * counts
    of_weight = x.T @ slopes
    losses = cross_entropy(logits, t, 0.1) * counts[:, 0]
    return [losses, slopes @ w.T, of_weight.T if turned else of_weight, slopes.sum(0)]


def local_response_norm(x: np.ndarray) -> np.ndarray:
    """Over three channels."""
    squares = np.pad(x * x, ((0, 0), (1, 1), (0, 0)))
    means = (squares[:, :-2] + squares[:, 1:-1] + squares[:, 2:]) / 3
    found: np.ndarray = x / (1 + 0.5 * means) ** 0.75
    return found


def updated(x: np.ndarray, y: np.ndarray, *where: slice) -> np.ndarray:
    x = x.copy()
    x[where] = y
    return x


def binary_cross_entropy(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.maximum(x, 0) - x * t + np.log1p(np.exp(-np.abs(x)))
    return found


def huber(x: np.ndarray, delta: float) -> np.ndarray:
    size = np.abs(x)
    return np.where(size <= delta, x * x / 2, delta * (size - delta / 2))


def hinge(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    rows = np.arange(len(x))
    wrong = x.copy()
    wrong[rows, labels] = -np.inf
    return np.maximum(0, 1 + wrong.max(-1) - x[rows, labels])


def gelu_tanh(x: np.ndarray) -> np.ndarray:
    found: np.ndarray = x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return found


def recurrent(reference: Any, cell: str) -> Callable[..., list[np.ndarray]]:
    """Both directions, the second one from the last states of the first."""

    def run(
        x: np.ndarray, w: np.ndarray, r: np.ndarray, b: np.ndarray, c: np.ndarray, lengths: np.ndarray
    ) -> list[np.ndarray]:
        y, last = reference.run(cell, x, (w, r, b, c))
        back, ends = reference.run(cell, x, (w, r, b, c), lengths, tuple(last), True)
        return [y, back, *ends]

    return run


def batch_norm(x: np.ndarray, s: np.ndarray, b: np.ndarray) -> np.ndarray:
    return fixed_norm(x, s, b, x.mean((0, 2, 3)), x.var((0, 2, 3)))


def fixed_norm(
    x: np.ndarray, scale: np.ndarray, shift: np.ndarray, mean: np.ndarray, variance: np.ndarray
) -> np.ndarray:
    mean, rate, shift = (a[:, None, None] for a in (mean, scale / np.sqrt(variance + 1e-5), shift))
    found: np.ndarray = (x - mean) * rate + shift
    return found


def references(recurrence: Any, images: Any) -> dict[str, Callable[..., Any]]:
    """By the name of a case, its function of arrays.

    Args:
        recurrence: the module of recurrent layers in NumPy.
        images: the module of convolutions and windows in NumPy.
    """
    found: dict[str, Callable[..., Any]] = {
        "arithmetic": lambda x, y: [x + y, x - y, x * y, -x, abs(x), np.sign(x), x * x],
        "divide": lambda x, y: x / y,
        "power": lambda x, y: [x**y, x**3.5],
        "extremes": lambda x, y: [np.maximum(x, y), np.minimum(x, y)],
        "row broadcast": lambda x, y: x * y + 1.5,
        "column broadcast": lambda x, y: np.exp(x) * y,
        "two-sided broadcast": lambda x, y: x * y,
        "scalar broadcast": lambda x, y: x * y,
        "functions": lambda x: [np.exp(x), np.log(x), np.sqrt(x), np.floor(x), np.ceil(x)],
        "near 0": lambda x: [np.log1p(x * x), np.expm1(x), erf(x)],
        "division": lambda x, y, i, j: [
            *(x % y, x // y, np.where(j == 0, 0, i % np.where(j == 0, 1, j))),
            *(np.where(j == 0, 0, i // np.where(j == 0, 1, j)), np.round(x * 4), x % 0.75),
        ],
        "trigonometry": lambda x: [np.sin(x), np.cos(x)],
        "clip": lambda x: np.clip(x, -0.5, 0.7),
        "relu": lambda x: [
            np.maximum(x, 0),
            np.where(x > 0, x, 0.1 * x),
            np.where(x > 0, x, 0.8 * np.expm1(np.minimum(x, 0))),
        ],
        "sigmoid": lambda x: [sigmoid(x), np.tanh(x), x * sigmoid(x)],
        "gelu": lambda x: [x / 2 * (1 + erf(x / math.sqrt(2))), gelu_tanh(x)],
        "soft": lambda x: [np.logaddexp(x, 0), x / (1 + abs(x))],
        "far": lambda x: [sigmoid(x), np.tanh(x), np.logaddexp(x, 0), np.exp(-abs(x))],
        "comparisons": lambda x, y: [x == x, x != y, x < y, x <= y, x > y, x >= y],
        "logic": lambda x, y: [(x > 0) & (y > 0), (x > 0) | (y > 0), ~(x > 0), (x > 0) ^ (y > 0)],
        "where": lambda m, x, y: np.where(m, x, y),
        "cast": lambda x: [x.astype("int64"), x, x.astype("int32"), x.astype("bool")],
        "integers": lambda i: [i + i, i * 3, -i, i.sum(), i.max(1), i.argmax(-1)],
        "attention": lambda q, k, v, m, b: attention(q, k, v, m, True, bias=b),
        "attention of lengths, steps first": lambda q, k, v, lengths: attention(
            *(x.transpose(0, 2, 1, 3) for x in (q, k, v)), lengths=lengths
        ).transpose(0, 2, 1, 3),
        "affine": lambda x, w, b: x @ w + b,
        "matmul": lambda x, w: x @ w,
        "batched": lambda a, b: a @ b,
        "batch and one": lambda a, w: a @ w,
        "sum": lambda x: [x.sum(), x.sum(0), x.sum(1), x.mean(), x.mean(0, keepdims=True)],
        "sum of pieces": lambda x: [x.sum(0), x.sum(1), x.sum(), (x * x).sum(0) ** 0.5, (x * x).sum() ** 0.5],
        "reductions of axes": lambda x: [
            *(x.sum((0, 2)), x.max((1, 2)), x.min(1), x.argmax(1), x.argmax(0), x.argmin(1)),
        ],
        "sums and products": lambda x, i: [
            *(x.cumsum(2), x.cumsum(1), x[::-1].cumsum(0)[::-1] - x, x.cumsum(1) - x),
            *(i.cumsum(1), i.prod(0), x.prod(1), x.prod(2)),
            *((x * x).sum(1) ** 0.5, (x * x).sum(2) ** 0.5),
            *(np.roll(x, 1, 1), np.roll(x, -2, 2), np.roll(i, 4)),
        ],
        "extremes of rows": lambda x: [x.max(), x.max(1), x.min(0), x.min(1)],
        "softmax": lambda x: [softmax(x), log_softmax(x)],
        "softmax of long rows": lambda x: [softmax(x), log_softmax(x)],
        "softmax along columns": lambda x: [softmax(x, 0), log_softmax(x, 0)],
        "cross-entropy of labels that count": lambda x, t: [
            np.where(t == 1, 0, cross_entropy(x, t, 0.1)),
            np.where(t == 0, 0, cross_entropy(x, t - 1)),
        ],
        "vocabulary loss": vocabulary_loss,
        "vocabulary loss of a table": lambda x, w, b, t, g: vocabulary_loss(x, w.T, b, t, g, True),
        "cross-entropy": lambda x, t: cross_entropy(x, t),
        "cross-entropy, smoothed, long rows": lambda x, t: cross_entropy(x, t, 0.1),
        "layer norm": lambda x, s, b: layer_norm(x, s, b),
        "layer norm of long rows": lambda x, s, b: layer_norm(x, s, b),
        "rms norm": lambda x, s: rms_norm(x, s),
        "rms norm of long rows": lambda x, s: rms_norm(x, s),
        "rotary": lambda x, i: [
            turned(x, i[:, None], width=4),
            turned(x, i[0], 100.0, 2, True),
            turned(x, i[:, None], width=4).transpose(0, 2, 1, 3),
        ],
        "local response norm": local_response_norm,
        "transpose": lambda x: [x.T, x.transpose(1, 0, 2)],
        "slice": lambda x: [x[1:4], x[:, 2], x[:, ::3], x[..., -2:], x[::-1, ::-2]],
        "update slice": lambda x, y, i: [
            updated(x, y[:2, :3], slice(1, 3), slice(i[0], i[0] + 3)),
            updated(x * 2, y[:1], slice(-1, None)),
        ],
        "concatenate": lambda x, y: [np.concatenate([x, y], 0), np.concatenate([x, y, x], 1)],
        "reshape": lambda x: [x.reshape(7, 5) * 2.0, x.reshape(len(x), -1)],
        "broadcast_to": lambda x: np.broadcast_to(x, (5, 7)),
        "gather": lambda t, i: t[i],
        "gather by a matrix": lambda t, i: t[i],
        "gather with padding": lambda t, i: [
            t[i] * (i >= 0)[:, None],
            t[:, i] * (i >= 0),
        ],
        "gather of columns": lambda x, i: [np.take(x, i, 1), x[i[:, 0], i[:, 1]]],
        "sort": lambda x: [
            *(np.sort(x, 0), np.argsort(-x, 1), -np.sort(-x)[:, :3], np.argsort(-x)[:, :3]),
        ],
        "non-maximum suppression": lambda x, s: [
            *(kept_boxes(x, s, 3, 0.3, 0.0), kept_boxes(x, s, 9, 0.1)),
        ],
        "take along axis": lambda x, i: [np.take_along_axis(x, i, 0), np.take_along_axis(x, i, 1)],
        "scatter": lambda x, i, u: [
            scattered(x, i, u, axis, how) for axis in (0, 1) for how in (None, "add", "max", "min")
        ],
        "binary cross-entropy": lambda x, t: binary_cross_entropy(x, t),
        "huber": lambda x: huber(x, 0.8),
        "hinge over classes": lambda x, t: hinge(x, t),
        "ctc": lambda x, t, s, n: [ctc_losses(x, t, s, n), ctc_losses(x[:, 1:], t, blank=3)],
        "labels as numbers": lambda t: t.astype("float64"),
        "positions": lambda x: [np.arange(len(x)), np.arange(x.shape[1]) + 2],
        "sizes": lambda x: x / len(x),
        "again": lambda x: 2 * x,
        "carried": lambda x: np.broadcast_to(x.sum(0), x.shape),
        "pad": lambda x, i: [
            *(np.pad(x, ((1, 0), (0, 2), (2, 1)), mode) for mode in ("constant", "reflect", "edge")),
            np.pad(x[1:, :, :-1], ((0, 2), (0, 0), (0, 0)), constant_values=0.5),
            *(np.pad(i, 2, constant_values=7), np.pad(i > 3, 1, constant_values=True)),
        ],
        "resize": lambda x, v: [
            *(resized(x, (4, 3), m) for m in ("nearest", "nearest-exact", "bilinear", "bicubic")),
            *(resized(x, (3, 7), "bicubic", True), resized(v, (2, 4, 3), "bilinear")),
        ],
        "zero pad": lambda x: images.padded(x, (1, 0, 2, 3)),
        "swap planes": lambda x: [x.transpose(0, 2, 3, 1), x.transpose(0, 3, 1, 2)],
        "channel sum": lambda x: [x.sum((0, 2, 3)), x[:, :, :1, :1].sum((0, 2, 3))],
        "batch norm": batch_norm,
        "batch norm of pieces": batch_norm,
        "max pool": lambda x: [
            images.windows(x, (2, 2), (2, 2)).max((4, 5)),
            images.windows(images.padded(x, (1, 1, 1, 1), -np.inf), (3, 2), (2, 1)).max((4, 5)),
        ],
        "average pool": lambda x: [
            images.windows(x, (2, 2), (2, 2)).mean((4, 5)),
            *(
                np.nanmean(images.windows(images.padded(x, (1, 2, 1, 2), outside), (3, 3), (2, 3)), (4, 5))
                for outside in (0, np.nan)
            ),
        ],
        "convolution": lambda x, w, b: images.convolved(x, w, b, (2, 1), (1, 2, 1, 2), (1, 2), 1),
        "convolution of groups": lambda x, w: images.convolved(
            *(x, w, np.zeros(6), (1, 1), (3, 0, 3, 0), (1, 1), 3)
        ),
        "convolution with few weights": lambda x, w: images.convolved(
            *(x, w, np.zeros(1), (1, 2), (0, 0, 0, 0), (1, 1), 1)
        ),
        "transposed convolution": lambda x, w, b: (
            images.gradients(*(np.zeros((2, 4, 8, 7)), w, x, (3, 2), (1, 1, 1, 1), (2, 1)))[0]
            + b[:, None, None]
        ),
        "convolution of volumes": lambda x, w, b: images.convolved(
            *(x, w, b, (1, 2, 1), (1, 0, 2, 1, 0, 2), (1, 1, 2), 2)
        ),
        "transposed convolution of volumes": lambda x, w, b: (
            images.gradients(*(np.zeros((3, 1, 3, 3, 1)), w, x, (2, 1, 1), (1, 0, 1) * 2))[0] + b[0]
        ),
        "pools of volumes": lambda x: [
            images.windows(x, (2, 2, 2), (2, 2, 2)).max((5, 6, 7)),
            images.windows(images.padded(x, (1, 1, 0) * 2, -np.inf), (2, 3, 2), (1, 2, 1)).max((5, 6, 7)),
            *(
                np.nanmean(
                    images.windows(images.padded(x, (1, 0, 1) * 2, outside), (2, 2, 2), (1, 1, 1)), (5, 6, 7)
                )
                for outside in (0, np.nan)
            ),
        ],
        "scan": lambda x, i, w: [*loops(np.tanh, scanned, x, i, w, 0), x],
        "known moments": lambda v, s: s / np.sqrt(v + 1e-5),
        "fixed norm": lambda x, s, b: fixed_norm(x, s, b, np.array([0.5, -0.25, 0]), np.array([0.5, 1, 2])),
    }
    cells = ("tanh", "relu", "lstm", "gru")
    return found | {f"recurrent {cell}": recurrent(recurrence, cell) for cell in cells}


STEP = 1e-6


def results_and_gradients(function: Callable[..., Any], arrays: Arrays) -> list[np.ndarray]:
    """What `graph_of` builds: the results, and the gradients of 0.75 times the sum of the squares of each
    float result with respect to each float input."""
    wide = {name: a.astype("float64") if a.dtype.kind == "f" else a for name, a in arrays.items()}
    results = _listed(function(**wide))
    floats = [name for name, array in arrays.items() if array.dtype.kind == "f"]
    smooth = [number for number, value in enumerate(results) if value.dtype.kind == "f"]
    slopes: dict[tuple[int, str], np.ndarray] = {
        (number, name): np.zeros(wide[name].shape) for number in smooth for name in floats
    }
    for name in floats:
        for place in np.ndindex(wide[name].shape):
            ends = [_squares(function, wide, name, place, step, smooth) for step in (STEP, -STEP)]
            for number, above, below in zip(smooth, *ends, strict=True):
                slopes[number, name][place] = (above - below) / (2 * STEP)
    return [*results, *(slopes[number, name] for number in smooth for name in floats)]


def _squares(
    function: Callable[..., Any],
    arrays: Arrays,
    name: str,
    place: tuple[int, ...],
    step: float,
    smooth: Sequence[int],
) -> list[Any]:
    moved = arrays[name].copy()
    moved[place] += step
    results = _listed(function(**{**arrays, name: moved}))
    return [0.75 * (results[number] ** 2).sum() for number in smooth]


def _listed(made: Any) -> list[np.ndarray]:
    return [np.asarray(value) for value in (made if isinstance(made, list) else [made])]
