"""Small graphs that between them run every kernel of the CPU, at sizes that leave something over."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import bigmodel_core.ops as o
from bigmodel_core.graph import Graph, Node, Value
from bigmodel_core.graph.autodiff import gradients
from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels.borders import MODES
from bigmodel_core.kernels.cpu.engine.target import vector_unit
from bigmodel_core.kernels.interpolation import METHODS
from bigmodel_core.ops import linear, losses, squares, vocabulary
from bigmodel_core.ops.carried import Carried
from bigmodel_core.ops.scatter import REDUCTIONS
from bigmodel_core.plan import Program
from bigmodel_core.plan.kernel_table import needs_kernel
from tests.ops.scan_reference import loops

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """A graph to run.

    Args:
        build: takes a Value for each array, returns one or several.
        arrays: the arrays by name, made for so many lanes of a vector; floats are converted.
        dtypes: the float types it is run in.
        free: sizes of dimensions that the graph names.
        trained: which arrays are variables, which a step of training overwrites behind a gate.
        is_about_chains: whether it is there for what is fused or follows tiles: it then runs as a whole in
            every type, else in the first alone.
    """

    build: Callable[..., Any]
    arrays: Callable[[int], Arrays]
    dtypes: tuple[str, ...] = ("float32", "float64")
    free: tuple[int, ...] = ()
    trained: tuple[str, ...] = ()
    is_about_chains: bool = False


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape)


def whole(*shape: int, below: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, below, size=shape)


# Matrix products ------------------------------------------------------------------------------------------

SIZES = ((1, 67, 1), (5, 31, -1), (13, 33, 1), (67, 5, 3), (2, 101, 7), (71, 97, 0), (1, 129, 35))
"""Rows, what is added up, columns; of these the third more than a vector has, where it is below 2."""


def _products(transpose_a: bool, transpose_b: bool, sizes: Any = SIZES) -> Case:
    def arrays(lanes: int) -> Arrays:
        found = {}
        for number, (m, k, n) in enumerate(sizes):
            n = lanes + n if n < 2 and m > 1 else n
            found[f"a{number}"] = normal(k, m) if transpose_a else normal(m, k)
            found[f"b{number}"] = normal(n, k) if transpose_b else normal(k, n)
        return found

    op = linear.MatMul(transpose_a, transpose_b)
    return Case(lambda **v: [op(v[f"a{n}"], v[f"b{n}"]) for n in range(len(sizes))], arrays)


def _affine(lanes: int) -> Arrays:
    found = {}
    for number, (m, k, n) in enumerate(((9, 67, lanes - 1), (3, 65, 67), (70, 3, 67), (5, 71, 1))):
        found |= {f"x{number}": normal(m, k), f"w{number}": normal(k, n), f"b{number}": normal(n)}
    return found


def _affines(**v: Value) -> list[Value]:
    return [o.affine(v[f"x{n}"], v[f"w{n}"], v[f"b{n}"]) for n in range(len(v) // 3)]


# Images ---------------------------------------------------------------------------------------------------


def images(
    x: tuple[int, ...],
    w: tuple[int, ...],
    bias: bool = True,
    transposed: bool = False,
    dtypes: tuple[str, ...] = ("float32", "float64"),
    **options: Any,
) -> Case:
    """A convolution of images or volumes or its transpose, with all gradients."""
    filters = w[1] * options.get("groups", 1) if transposed else w[0]

    def build(x: Value, w: Value, b: Value | None = None) -> Value:
        forward, back = (o.conv2d, o.conv_transpose2d) if x.ndim == 4 else (o.conv3d, o.conv_transpose3d)
        return (back if transposed else forward)(x, w, b, **options)

    def arrays(lanes: int) -> Arrays:
        return {"x": normal(*x), "w": normal(*w), **({"b": normal(filters)} if bias else {})}

    return Case(build, arrays, dtypes)


def _block(x: Value, w: Value, scale: Value, shift: Value) -> Value:
    """Ops that follow the tiles of a convolution, there and back."""
    y = o.relu(o.batch_norm(o.conv2d(x, w, padding=1), scale, shift)[0])
    return o.max_pool(y, 2)


def _fixed(x: Value, w: Value, scale: Value, shift: Value, mean: Value, variance: Value) -> Value:
    return o.relu(o.fixed_norm(o.conv2d(x, w), scale, shift, mean, o.square(variance)))


def _vectors(channels: int, *names: str) -> Arrays:
    return {name: normal(channels + number)[:channels] + 0.1 for number, name in enumerate(names)}


# Recurrent layers -----------------------------------------------------------------------------------------

GATES = {"tanh": 1, "relu": 1, "lstm": 4, "gru": 3}


def _recurrent(cell: str, **v: Any) -> list[Any]:
    """Both directions, the second one from the last states of the first."""
    weights, others = ([v[f"{name}{tail}"] for name in ("w", "r", "b", "c")] for tail in ("", "2"))
    y, last = o.recurrent(cell, v["x"], *weights)
    given = tuple(v[name] for name in ("h", "s")[: len(last)])
    back, ends = o.recurrent(cell, y, *others, v["lengths"], given, True)
    return [y, *last, back, *ends]


def _cells(cell: str, batch: int, features: int, units: int) -> Case:
    width = units * GATES[cell]

    def arrays(lanes: int) -> Arrays:
        found = {"x": normal(3, batch, features), "h": normal(batch, units), "s": normal(batch, units)}
        for tail, inputs in (("", features), ("2", units)):
            found |= {f"w{tail}": normal(inputs, width) * 0.3, f"r{tail}": normal(units, width) * 0.3}
            found |= {f"b{tail}": normal(width), f"c{tail}": normal(width)}
        return {**found, "lengths": 1 + whole(batch, below=3)}

    return Case(lambda **v: _recurrent(cell, **v), arrays)


# Attention ------------------------------------------------------------------------------------------------


def _attention(q: Value, k: Value, v: Value, mask: Value, bias: Value, lengths: Value) -> list[Value]:
    return [
        o.attention(q, k, v, causal=True),
        o.attention(q, k, v, mask > 0, bias=bias, lengths=lengths),
        o.attention(q, k, v, lengths=lengths, causal=True, dropout=0.3),
    ]


def _steps_first(q: Value, k: Value, v: Value) -> Value:
    """Of operands (N, T, heads, width)."""
    order = (0, 2, 1, 3)
    q, k, v = (o.transpose(x, order) for x in (q, k, v))
    return o.transpose(o.attention(q, k, v, causal=True), order)


def _heads(steps: int, keys: int, width: int, out_width: int) -> Arrays:
    return {
        "q": normal(2, 4, steps, width),
        "k": normal(2, 2, keys, width),
        "v": normal(2, 2, keys, out_width),
    }


def _shown(steps: int, keys: int, width: int, out_width: int, dtypes: tuple[str, ...] = ("float32",)) -> Case:
    def arrays(lanes: int) -> Arrays:
        shown = {"mask": normal(2, 1, 1, keys), "bias": normal(4, steps, keys)}
        return {**_heads(steps, keys, width, out_width), **shown, "lengths": np.array([keys, keys // 2])}

    return Case(_attention, arrays, dtypes)


ATTENTION = {
    "attention": _shown(19, 37, 20, 23, ("float32", "float64")),
    "attention over blocks": _shown(99, 130, 5, 3),
    "attention of one step": _shown(1, 77, 20, 24),
    "attention of wide heads": _shown(3, 5, 260, 270),
    "attention, steps first": Case(
        _steps_first,
        lambda lanes: {"q": normal(2, 19, 4, 20), "k": normal(2, 37, 2, 20), "v": normal(2, 37, 2, 23)},
    ),
}

# Everything else ------------------------------------------------------------------------------------------


def _functions(x: Value, y: Value) -> list[Value]:
    """All that is computed number by number, in a few chains."""
    positive = abs(x) + 0.5
    smooth = [o.exp(x), o.log(positive), o.sqrt(positive), o.sin(x), o.cos(x), o.square(x), positive**y, x**3]
    units = [o.relu(x), o.leaky_relu(x, 0.1), o.elu(x), o.sigmoid(x), o.tanh(x), o.silu(x), o.gelu(x)]
    units += [o.gelu_tanh(x), o.softplus(x), o.softsign(x), o.clip(x, -0.5, 0.7), o.maximum(x, y)]
    steps = [o.floor(x), o.ceil(x), o.sign(x), o.minimum(x, y), -x / positive, x - y, o.round(x)]
    steps += [x % positive, x // positive, o.log1p(positive), o.expm1(x), o.erf(x)]
    masks = [o.equal(x, x), o.not_equal(x, y), o.less(x, y), o.less_equal(x, y), x > y, x >= y]
    masks += [(x > 0) & (y > 0), (x > 0) | (y > 0), (x > 0) ^ (y > 0), ~(x > 0)]
    casts = [x.astype("int64"), x.astype("int32"), x.astype("bool"), o.where(x > y, x, y)]
    return [*smooth, *units, *steps, *masks, *casts]


def _rows(x: Value, s: Value, b: Value) -> list[Value]:
    return [
        o.softmax(x),
        o.log_softmax(x),
        o.softmax(x, 0),
        o.log_softmax(x, 0),
        o.layer_norm(x, s, b),
        o.rms_norm(x, s),
        *(o.rotary(x, o.positions(x, 0), width=36, interleaved=pairs) for pairs in (False, True)),
        _split_and_turned(x),
    ]


def _split_and_turned(x: Value) -> Value:
    """A rotary embedding of one sample, steps before heads."""
    order = (0, 2, 1, 3)
    parted = o.transpose(o.reshape(x, (1, x.shape[0], 1, x.shape[1])), order)
    return o.transpose(o.rotary(parted, o.positions(parted, 2), width=36), order)


def _reductions(x: Value, c: Value, r: Value) -> list[Value]:
    found = [o.sum(x), o.sum(x, 0), o.sum(x, (0, 2)), o.sum(x, (1, 2)), o.mean(x, 1)]
    found += [o.cumsum(x), o.cumsum(x, 1, True), o.cumsum(c, 0, False, True), o.prod(x / 2, 1), o.prod(x, 2)]
    found += [o.max(x, 1), o.min(x, 2), o.argmax(x, 1), o.argmax(x, 2), o.max(x)]
    found += [o.norm(x, axis=1), o.norm(x, axis=-1), o.norm(c, axis=0), o.norm(r, axis=1)]
    return [*found, o.sum(c, 0), o.sum(r, 1), squares.SumOfSquares()(r)]


def _pieces(x: Value, y: Value) -> list[Value]:
    found = [x[1:4], x[:, 2], x[:, ::3], x[..., -2:], x[::-1, ::-2, ::-1], o.transpose(x)]
    found += [o.roll(x, 2, 0), o.roll(x, -1, 1), o.roll(x, 3, -1), o.roll(x, 7)]
    found += [o.transpose(x, (1, 0, 2))]
    found += [o.concatenate([x, y], 0), o.concatenate([x, x * y[:1], x], 2), o.reshape(x, (-1,)) * 2.0]
    found += [o.update_slice(x, y[:1], (1, 0, 0)), o.update_slice(x * x, y[:1, :1], (1, 0, 0))]
    return [*found, o.broadcast_to(x[0, 0], (3, x.shape[2])), o.broadcast_to(y, (2, *y.shape))]


def _losses(x: Value, t: Value, p: Value, k: Value) -> list[Value]:
    found = [o.cross_entropy(x, t), o.cross_entropy(x, t, 0.1, 2), losses.MultiClassHinge(1.0)(x, t)[0]]
    return [
        *found,
        losses.BinaryCrossEntropy()(x, p),
        losses.Huber(0.8)(x),
        losses.LabelNumbers(2, x.dtype)(k),
    ]


def _learned(**v: Value) -> list[Value]:
    """Gradients of layers small and large: updates side by side, and one that follows its product; a variable
    as it was before."""
    hidden = o.relu(o.affine(v["x"], v["w"], v["b"]))
    return [o.mean(o.square(o.affine(hidden, v["u"], v["c"]))), v["b"]]


CASES: dict[str, Case] = {
    "products": _products(False, False),
    "products, left transposed": _products(True, False),
    "products, right transposed": _products(False, True),
    "products, both transposed": _products(True, True),
    "large product": Case(
        lambda a, b: a @ b, lambda lanes: {"a": normal(29, 1501), "b": normal(1501, 24 * lanes + 1)}
    ),
    "large product, right transposed": _products(False, True, ((31, 1024, 67),)),
    "large product, left transposed": _products(True, False, ((1024, 37, 67), (3, 5203, 5))),
    "batched products": Case(
        lambda a, b, w, c: [o.matmul(a, b), o.matmul(a, w), o.matmul(c, b)],
        lambda lanes: {
            "a": normal(7, 5, 9),
            "b": normal(7, 9, lanes + 1),
            "w": normal(9, 67),
            "c": normal(13, 9),
        },
    ),
    "products of free columns": Case(
        lambda a, b: [o.matmul(a, b), linear.MatMul(False, True)(a, o.transpose(b))],
        lambda lanes: {"a": normal(101, 5), "b": normal(5, 1)},
        free=(1,),
    ),
    "products of nothing": Case(
        lambda a, b, x: [a @ b, o.sum(x, 0)],
        lambda lanes: {"a": normal(5, 0), "b": normal(0, 67), "x": normal(0, 67)},
    ),
    "affine": Case(_affines, _affine),
    "convolution by a product": images((2, 5, 7, 9), (67, 5, 1, 1)),
    "convolution by a product, few filters": images((3, 67, 5, 5), (3, 67, 1, 1)),
    "convolution in place": images((2, 5, 11, 13), (19, 5, 3, 3), stride=2),
    "convolution in place of one channel": images((5, 1, 11, 13), (67, 1, 5, 5)),
    "convolution of padded rows": images((3, 7, 9, 11), (33, 7, 5, 3), padding="same"),
    "convolution of padded rows, no bias": images(
        (3, 3, 9, 5), (17, 3, 3, 3), bias=False, padding=1, stride=2
    ),
    "dilated convolution": images((2, 3, 13, 11), (5, 3, 3, 3), dilation=2, padding=1),
    "grouped convolution": images((3, 6, 7, 9), (9, 2, 3, 3), groups=3, padding=1),
    "depthwise convolution": images((3, 19, 7, 9), (19, 1, 3, 3), groups=19, padding=1),
    "depthwise convolution of strides": images((3, 5, 9, 11), (5, 1, 5, 5), groups=5, padding=2, stride=2),
    "convolution of few filters": images((2, 9, 12, 16), (3, 9, 3, 3), padding=1),
    "convolution of one filter": images((3, 1, 12, 16), (1, 1, 5, 5), padding=2),
    "convolution of few pixels": images((1, 37, 5, 5), (131, 37, 3, 3), padding=1),
    "winograd": images((3, 17, 13, 11), (19, 17, 3, 3), padding=1, dtypes=("float32",)),
    "winograd of whole vectors": images(
        (2, 32, 16, 16), (32, 32, 3, 3), bias=False, padding=1, dtypes=("float32",)
    ),
    "transposed convolution": images((3, 5, 5, 7), (5, 19, 3, 3), transposed=True),
    "transposed convolution of strides": images(
        (3, 7, 5, 6), (7, 3, 3, 3), transposed=True, stride=2, padding=1
    ),
    "transposed convolution of large strides": images((2, 9, 5, 7), (9, 5, 4, 4), transposed=True, stride=4),
    "transposed convolution by a product": images((2, 5, 7, 9), (5, 67, 1, 1), transposed=True),
    "transposed convolution of groups": images(
        (2, 6, 5, 7), (6, 5, 3, 3), transposed=True, groups=2, stride=2
    ),
    "transposed depthwise convolution": images(
        (2, 19, 7, 5), (19, 1, 3, 3), transposed=True, groups=19, stride=2
    ),
    "convolution of volumes": images((2, 5, 4, 6, 7), (19, 5, 3, 3, 3), padding=1),
    "convolution of volumes, groups and strides": images(
        (2, 6, 5, 7, 6), (8, 3, 2, 3, 1), bias=False, groups=2, stride=(2, 1, 2), dilation=(1, 2, 1)
    ),
    "convolution of volumes by a product": images((1, 5, 2, 7, 9), (67, 5, 1, 1, 1)),
    "convolution of volumes in place": images((1, 5, 2, 11, 13), (19, 5, 1, 3, 3), stride=(1, 2, 2)),
    "depthwise convolution of volumes": images(
        (1, 19, 3, 7, 9), (19, 1, 1, 3, 3), groups=19, padding=(0, 1, 1)
    ),
    "transposed convolution of volumes by a product": images(
        (1, 5, 2, 7, 9), (5, 67, 1, 1, 1), transposed=True
    ),
    "transposed convolution of volumes": images(
        (2, 5, 3, 4, 5), (5, 19, 3, 2, 2), transposed=True, stride=2, padding=1
    ),
    "pools of volumes": Case(
        lambda x: [o.max_pool3d(x, 2), o.max_pool3d(x, 3, 2, 1), o.average_pool3d(x, (2, 3, 3), 1, 1)],
        lambda lanes: {"x": normal(2, lanes + 3, 4, 6, 7)},
    ),
    "pools": Case(
        lambda x: [
            *(o.max_pool(x, 2), o.max_pool(x, 3, 2, 1), o.average_pool(x, 2), o.average_pool(x, 3, 1, 1)),
            *(o.global_average_pool(x), o.adaptive_average_pool(x, 3), o.average_pool(x, 3, 2, 1, False)),
        ],
        lambda lanes: {"x": normal(2, lanes + 3, 7, 9)},
    ),
    "pools of few channels": Case(
        lambda x: [o.max_pool(x, 2), o.average_pool(x, 3, 2)], lambda lanes: {"x": normal(3, 3, 11, 7)}
    ),
    "borders": Case(
        lambda x: [
            *(
                o.zero_pad(x, (2, 1, 3, 5)),
                o.upsample_nearest(x, 2),
                o.pad(x, ((1, -1), (-2, 3), 0, (0, -4))),
            ),
            *(o.pad(x, ((1, 0), (2, 3), (3, 1), (5, 6)), mode) for mode in MODES[1:]),
            *(o.pad(x, {2: (3, 1)}, mode) for mode in MODES),
        ],
        lambda lanes: {"x": normal(2, 5, 7, 9)},
    ),
    "sizes of images": Case(
        lambda x, v: [
            *(o.resize(x, size, method) for method in METHODS for size in ((3, 67), (19, 4))),
            *(o.resize(v, (3, 5, 7), "bilinear"), o.resize(v, (7, 5, 9), "bilinear", True)),
            *(o.resize(o.max_pool(x, 2), (9, 5), method) for method in METHODS),
        ],
        lambda lanes: {"x": normal(2, 5, 7, 9), "v": normal(1, 3, 5, 4, 9)},
    ),
    "batch norm": Case(
        lambda x, scale, shift: list(o.batch_norm(x, scale, shift)[:1]),
        lambda lanes: {"x": normal(3, lanes + 5, 5, 7), **_vectors(lanes + 5, "scale", "shift")},
    ),
    "block": Case(
        _block,
        lambda lanes: {"x": normal(3, 5, 8, 10), "w": normal(67, 5, 3, 3), **_vectors(67, "scale", "shift")},
        is_about_chains=True,
    ),
    "block of fixed moments": Case(
        _fixed,
        lambda lanes: {
            "x": normal(3, 5, 7, 9),
            "w": normal(67, 5, 3, 3),
            **_vectors(67, "scale", "shift", "mean", "variance"),
        },
    ),
    "loop": Case(
        lambda x, i, w: [
            *loops(o.tanh, o.scan, x, i, w, 0),
            o.scan(lambda c, _: (c + 1.0, None), x, length=0)[0],
        ],
        lambda lanes: {"x": normal(5, 3, 13), "i": whole(5, 3, below=9), "w": normal(13, 13)},
        free=(5,),
    ),
    **ATTENTION,
    **{f"recurrent {cell}": _cells(cell, 5, 17, 13) for cell in GATES},
    **{f"recurrent {cell} of one row": _cells(cell, 1, 67, 67) for cell in ("tanh", "lstm", "gru")},
    "recurrent lstm of many units": _cells("lstm", 19, 3, 67),
    **{f"recurrent {cell}, steps shared": _cells(cell, 3, 67, 192) for cell in ("tanh", "lstm", "gru")},
    "recurrent lstm of many features": _cells("lstm", 5, 3001, 13),
    "functions": Case(
        _functions, lambda lanes: {"x": normal(7, 13), "y": normal(7, 13)}, is_about_chains=True
    ),
    "broadcasts": Case(
        lambda x, row, column, one: [x * row, o.exp(x) * column, x + one, row * column],
        lambda lanes: {"x": normal(13, 67), "row": normal(67), "column": normal(13, 1), "one": normal()},
        is_about_chains=True,
    ),
    "rows": Case(_rows, lambda lanes: {"x": normal(5, 67), "s": normal(67), "b": normal(67)}),
    "reductions": Case(
        _reductions, lambda lanes: {"x": normal(5, 7, 13), "c": normal(301, 3), "r": normal(3, 1031)}
    ),
    "pieces": Case(_pieces, lambda lanes: {"x": normal(5, 7, 13), "y": normal(3, 7, 13)}),
    **{
        f"vocabulary{' as a table' * turned}": Case(
            lambda x, w, b, t, g, turned=turned: [
                *vocabulary.VocabularyLoss(0.1, -1, turned, True, True)(x, w, b, t - 1, g),
                *vocabulary.VocabularyLoss(0.0, None, turned, False, True)(x, w, t, g),
                vocabulary.VocabularyLoss(0.0, None, turned, True, False)(x, w, b, t),
            ],
            lambda lanes, turned=turned: {
                "x": normal(3, 101, 7),
                "w": normal(67, 7) if turned else normal(7, 67),
                "b": normal(67),
                "t": whole(3, 101, below=67),
                "g": normal(3, 101),
            },
        )
        for turned in (False, True)
    },
    "gather": Case(
        lambda x, i, j: [o.gather(x, i), o.gather(x, j), o.gather(x, j - 1, padded=True)],
        lambda lanes: {
            "x": normal(37, 5),
            "i": whole(67, below=37),
            "j": whole(11, 13, below=37).astype("int32"),
        },
    ),
    "places": Case(
        lambda x, i, j, u: [
            *(o.gather(x, i, 1), o.take_along_axis(x, j, 1), o.gather_nd(x, i.reshape(17, 3))),
            *(o.scatter(x, j, u, 1, how) for how in REDUCTIONS),
        ],
        lambda lanes: {
            "x": normal(5, 7, 13),
            "i": whole(51, below=5),
            "j": whole(5, 3, 13, below=7).astype("int32"),
            "u": normal(5, 3, 13),
        },
    ),
    "order": Case(
        lambda x, r, i: [
            *(o.sort(x, 0), o.argsort(x, 1, True), *o.top_k(x, 3), o.sort(r), *o.top_k(r, 7), o.argmin(x, 1)),
            *(o.sort(i), *o.top_k(i, 19, 0)),
        ],
        lambda lanes: {"x": normal(5, 7, 13), "r": normal(3, 131), "i": whole(67, 3, below=50)},
    ),
    "boxes": Case(
        lambda x, s: [o.non_max_suppression(x, s, max_outputs=13, iou_threshold=0.3), x * 2.0],
        lambda lanes: {"x": normal(5, 67, 4), "s": normal(5, 67)},
    ),
    "alignments": Case(
        lambda x, t, n: [o.ctc_loss(x, t + 1, None, n), o.ctc_loss(x, t, blank=4, zero_infinity=True)],
        lambda lanes: {"x": normal(5, 9, 5), "t": whole(5, 7, below=4), "n": whole(5, below=4)},
    ),
    "losses": Case(
        _losses,
        lambda lanes: {
            "x": normal(67, 7),
            "t": whole(67, below=7),
            "p": whole(67, 7, below=2) * 1.0,
            "k": whole(67, below=2),
        },
    ),
    "noise": Case(
        lambda x: [o.normal(x.shape, x, x * x), o.uniform(x.shape, x)], lambda lanes: {"x": normal(9, 13)}
    ),
    "dropout": Case(lambda x: o.dropout(x, 0.4), lambda lanes: {"x": normal(9, 13)}),
    "positions and sizes": Case(
        lambda x: [
            o.positions(x, 0) + o.positions(x, 0),
            x / x.shape[0],
            Carried("state", x.shape)(o.sum(x, 0)),
            o.differentiation.again(x, 1, o.exp(x)),
        ],
        lambda lanes: {"x": normal(67, 13)},
        free=(67,),
    ),
    "mean over a free size": Case(lambda x: o.mean(x, 0), lambda lanes: {"x": normal(67, 13)}, free=(67,)),
    "integers": Case(
        lambda i: [
            i + i,
            i * 3,
            -i,
            o.sum(i),
            o.max(i, 1),
            o.argmax(i),
            i % 7,
            i // 7,
            o.cumsum(i),
            i.astype("float32"),
        ],
        lambda lanes: {"i": whole(9, 13, below=50)},
        dtypes=("float32",),
    ),
    "updates": Case(
        _learned,
        lambda lanes: {
            "x": normal(11, 203),
            "w": normal(203, 211),
            "b": normal(211),
            "u": normal(211, 3),
            "c": normal(3),
        },
        trained=("w", "b", "u", "c"),
        is_about_chains=True,
    ),
    "activations again": Case(
        lambda x, w, b, u, c: [
            o.affine(o.gelu(o.affine(x, w, b)), u, c),
            o.affine(o.gelu_tanh(o.affine(x, w, b)), u, c),
        ],
        lambda lanes: {
            "x": normal(11, 13),
            "w": normal(13, 67),
            "u": normal(67, 5),
            "b": normal(67),
            "c": normal(5),
        },
        is_about_chains=True,
    ),
}


def arrays_of(case: Case, dtype: str) -> Arrays:
    """The arrays of a case, floats as a dtype."""
    made = case.arrays(vector_unit().lanes(dtype))
    return {key: array.astype(dtype) if array.dtype.kind == "f" else array for key, array in made.items()}


def program_of(case: Case, arrays: Mapping[str, np.ndarray], device: Any = "cpu") -> Program:
    """The results of a case and the gradients of their squares; or a step of training."""
    graph, values = Graph(), dict[str, Value]()
    for name, array in arrays.items():
        shape = tuple(f"D{size}" if size in case.free else size for size in array.shape)
        make = graph.variable if name in case.trained else graph.input
        values[name] = make(name, Spec(shape, array.dtype.name))
    with graph.active():
        made = case.build(**values)
        results = [made] if isinstance(made, Value) else list(made)
        floats = {name: value for name, value in values.items() if value.spec.is_float}
        squares_of = [o.sum(value * value).astype("float64") for value in results if value.spec.is_float]
        total = functools.reduce(o.add, squares_of)
        found = dict(zip(floats, gradients(total, list(floats.values())), strict=True)) if floats else {}
        moved = {name: values[name] - 0.1 * found[name] for name in case.trained}
    outputs = results if case.trained else [*results, *found.values()]
    return Program(graph, outputs, moved, [*results, *found.values()] if moved else [], device)


def predicting(case: Case, arrays: Mapping[str, np.ndarray], device: Any = "cpu") -> Program:
    """The results of a case from its first array; all others are variables, and kept as kernels read them."""
    graph, values = Graph(), dict[str, Value]()
    for name, array in arrays.items():
        make = graph.variable if values else graph.input
        values[name] = make(name, Spec(array.shape, array.dtype.name))
    with graph.active():
        made = case.build(**values)
    return Program(graph, [made] if isinstance(made, Value) else list(made), device=device, keeps=True)


def alone(node: Node, sizes: Mapping[str, int], device: Any = "cpu") -> Program:
    """A program of one op, whose inputs are the caller's; no input may say the sizes it depends on."""
    graph, op, specs = Graph(), node.op, [value.spec for value in node.inputs]
    said = {dim for spec in specs for dim in spec.shape}
    named = {name for spec in specs for name in spec.names()}
    if not named or named - said:
        op, specs = op.bind(sizes), [spec.bind(sizes) for spec in specs]
    values = [graph.input(f"x{n}", spec) for n, spec in enumerate(specs)]
    return Program(graph, graph.apply(op, values).outputs, device=device)


def with_kernels_of_their_own(program: Program) -> list[Node]:
    """The nodes of a program that are neither leaves, nor the memory of others, nor part of a chain."""
    computing = [node for node in program.nodes if needs_kernel(node.op)]
    return [node for node in computing if not program.device.kernel_of(node).is_elementwise]
