"""Convolutions, pools and normalisations as single operators.

Layers see sequences as images of one row, and rows of numbers as images of one pixel; ONNX's operators take
them as they are. A normalisation by fixed moments is linear, so that it disappears in the weights of what
comes before it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bigmodel_core.graph import Node, Value
from bigmodel_core.graph.spec import Shape
from bigmodel_core.ops.batch_normalization import FixedNorm
from bigmodel_core.ops.convolution import Conv2d, Conv3d, ConvTranspose2d, ConvTranspose3d
from bigmodel_core.ops.linear import Affine
from bigmodel_core.ops.pooling import AveragePool, MaxPool
from bigmodel_core.ops.shape import BroadcastTo, Reshape
from bigmodel_onnx.emit import Emitter
from bigmodel_onnx.matching import Match, Uses
from bigmodel_onnx.matrix_patterns import flat_product, write_gemm

CONVOLUTIONS = (Conv2d, ConvTranspose2d, Conv3d, ConvTranspose3d)
POOLS = (MaxPool, AveragePool)


@dataclass
class _Producer:
    """A convolution, pool or dense product.

    Args:
        node: which.
        sources: what its operator reads; the second is the weight, the third the bias, if there are any.
        shape: that of the operator's output.
        write: writes it, given the emitter and the names of the sources.
        scaled: the weight with each output channel times a number.
    """

    node: Node
    sources: tuple[Value, ...]
    shape: Shape
    write: Callable[..., str]
    scaled: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None


def windows(node: Node, uses: Uses) -> Match | None:
    """A convolution or pool of sequences, and a normalisation with what comes before it."""
    shape = node.outputs[0].shape
    value = _before_reshapes(node.outputs[0], uses)
    if isinstance(value.node.op, FixedNorm):
        norm = value.node
        before = _before_reshapes(norm.inputs[0], uses, keep=2)
        producer = _producer(before, shape, uses) if uses.once(norm.inputs[0]) else None
        if producer is None or producer.scaled is None or not uses.once(producer.node.inputs[1]):
            return _lone_norm(node, norm)
        return _normalized(node, norm, producer)
    producer = _producer(value, shape, uses) if value is not node.outputs[0] else None
    if producer is None or producer.shape == value.shape:
        return None
    found = producer

    def lower(emit: Emitter, *names: str) -> str:
        return _shaped(emit, found.write(emit, *names), found.shape, node, shape)

    return Match(node, producer.sources, lower)


def enlarged(node: Node, uses: Uses) -> Match | None:
    """Each pixel repeated down and across, which is what Resize does."""
    repeated = node.inputs[0] if isinstance(node.op, Reshape) else None
    if repeated is None or not isinstance(repeated.node.op, BroadcastTo) or not uses.once(repeated):
        return None
    apart = repeated.node.inputs[0]
    x = apart.node.inputs[0] if isinstance(apart.node.op, Reshape) and uses.once(apart) else None
    if x is None or x.ndim != 4 or repeated.ndim != 6 or x.dtype != "float32":  # the runtime lacks float64
        return None
    n, channels, height, width = x.shape
    down, across = repeated.shape[3], repeated.shape[5]
    if apart.shape != (n, channels, height, 1, width, 1) or not isinstance(down, int):
        return None
    if repeated.shape != (n, channels, height, down, width, across) or not isinstance(across, int):
        return None
    if node.outputs[0].shape[:2] != (n, channels) or node.outputs[0].ndim != 4:
        return None
    factors = np.asarray((1, 1, down, across), np.float32)

    def lower(emit: Emitter, name: str) -> Any:
        modes = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor", "mode": "nearest"}
        return emit.Resize(name, None, emit.array(factors), **modes)

    return Match(node, (x,), lower)


def _before_reshapes(value: Value, uses: Uses, keep: int = 0) -> Value:
    """The value before it was reshaped by nodes that nobody else reads and that keep the first dimensions."""
    while isinstance(value.node.op, Reshape):
        before = value.node.inputs[0]
        if not uses.once(before) or before.shape[:keep] != value.shape[:keep]:
            break
        value = before
    return value


# What computes -------------------------------------------------------------------------------------------


def _producer(value: Value, wanted: Shape, uses: Uses) -> _Producer | None:
    """What computes a value that only one node reads."""
    node, op = value.node, value.node.op
    if not uses.once(value):
        return None
    if isinstance(op, (*CONVOLUTIONS, *POOLS)):
        found = _of_sequences(value) if value.shape != wanted else None
        return found or _Producer(
            node,
            node.inputs,
            value.shape,
            lambda emit, *names: _first(node.op.onnx(_at(emit, node), *names)),
            _scaled(op),
        )
    if value.ndim != 2:
        return None
    if isinstance(op, Affine):
        return _Producer(
            node,
            node.inputs,
            value.shape,
            lambda emit, *names: str(_at(emit, node).Gemm(*names)),
            lambda weight, rate: weight * rate,
        )
    product = flat_product(value)
    if product is None:
        return None
    return _Producer(
        node,
        product[:2],
        value.shape,
        lambda emit, *names: write_gemm(_at(emit, node), product, *names),
        lambda weight, rate: weight * (rate[:, None] if product[3] else rate),
    )


def _of_sequences(value: Value) -> _Producer | None:
    """The operator on (N, C, T), where images of one row are made of sequences."""
    node, op = value.node, value.node.op
    x, *weights = node.inputs
    assert isinstance(op, (*CONVOLUTIONS, *POOLS))
    if not isinstance(x.node.op, Reshape) or x.ndim != 4 or x.shape[2] != 1 or value.shape[2] != 1:
        return None
    sequence = x.node.inputs[0]
    if sequence.shape != (*x.shape[:2], x.shape[3]) or op.border[0] or op.border[2]:
        return None
    sources = [sequence, *weights]
    if weights:
        weight = weights[0]
        flat = weight.node.inputs[0] if isinstance(weight.node.op, Reshape) else weight
        if weight.shape[2] != 1 or flat.shape != (*weight.shape[:2], weight.shape[3]):
            return None
        sources[1] = flat
    elif op.window[0] != 1:  # type: ignore[union-attr]  # a pool
        return None

    def write(emit: Emitter, *names: str) -> str:
        name = _first(op.onnx(_at(emit, node), *names))
        attributes = emit.made[name].attributes
        if len(attributes["pads"]) == 2:  # the same was written before
            return name
        for key in ("kernel_shape", "strides", "dilations", "output_padding"):
            if key in attributes:
                attributes[key] = attributes[key][1:]
        attributes["pads"] = attributes["pads"][1::2]
        return name

    return _Producer(node, tuple(sources), (*value.shape[:2], value.shape[3]), write, _scaled(op))


def _scaled(op: Any) -> Callable[[np.ndarray, np.ndarray], np.ndarray] | None:
    if isinstance(op, (Conv2d, Conv3d)):
        return lambda weight, rate: weight * rate.reshape((-1,) + (1,) * (weight.ndim - 1))
    if not isinstance(op, (ConvTranspose2d, ConvTranspose3d)):
        return None

    def scaled(weight: np.ndarray, rate: np.ndarray) -> np.ndarray:
        """(channels, filters / groups, ...): the filters of a group belong to the channels of that group."""
        grouped = weight.reshape(op.groups, -1, *weight.shape[1:])
        rates = rate.reshape((op.groups, 1, weight.shape[1]) + (1,) * (weight.ndim - 2))
        return (grouped * rates).reshape(weight.shape)

    return scaled


def _at(emit: Emitter, node: Node) -> Emitter:
    """The emitter, writing for another node than that of the match."""
    emit.path = node.path
    emit.inputs = tuple(value.spec for value in node.inputs)
    emit.outputs = tuple(value.spec for value in node.outputs)
    return emit


def _first(names: Any) -> str:
    return str(names[0] if isinstance(names, tuple) else names)


def _shaped(emit: Emitter, name: str, found: Shape, node: Node, wanted: Shape) -> str:
    """The value in the shape that the match's node gives it."""
    if found == wanted:
        return name
    emit.specs[name] = node.outputs[0].spec.with_shape(found)
    return str(_at(emit, node).reshape(name, wanted))


# Normalisation -------------------------------------------------------------------------------------------


def _lone_norm(node: Node, norm: Node) -> Match:
    """A normalisation of numbers in whatever shape they have: the operator takes (N, C, ...) of any rank."""
    x, *vectors = norm.inputs
    wanted = node.outputs[0].shape
    while x.shape != wanted and isinstance(x.node.op, Reshape) and x.node.inputs[0].shape[:2] == x.shape[:2]:
        x = x.node.inputs[0]

    def lower(emit: Emitter, name: str, *vectors: str) -> str:
        found = _norm_itself(emit, norm, name, vectors, x.ndim)
        return _shaped(emit, found, x.shape, node, node.outputs[0].shape)

    return Match(node, (x, *vectors), lower)


def _normalized(node: Node, norm: Node, producer: _Producer) -> Match:
    """A normalisation after an op with weights: folded into them if the file stores them."""
    count = len(producer.sources)

    def lower(emit: Emitter, *names: str) -> str:
        own, vectors = names[:count], names[count:]
        folded = _folded(emit, producer, norm, own, vectors) if emit.folds_norms else None
        found = producer.write(emit, *(folded or own))
        if folded is None:
            found = _norm_itself(emit, norm, found, vectors, len(producer.shape))
        return _shaped(emit, found, producer.shape, node, node.outputs[0].shape)

    return Match(node, (*producer.sources, *norm.inputs[1:]), lower)


def _folded(
    emit: Emitter, producer: _Producer, norm: Node, own: tuple[str, ...], vectors: tuple[str, ...]
) -> tuple[str, str, str] | None:
    """x, the weight and the bias that take the normalisation in; computed in float64, rounded once.

    None if one of them is no weight of the file, or where rounding would show (`_cancels`).
    """
    x, weight, *bias = own
    scale, shift, mean, variance = vectors
    scaled, epsilon = producer.scaled, norm.op.epsilon  # type: ignore[attr-defined]  # a BatchNorm
    assert scaled is not None

    def rate(scale: np.ndarray, variance: np.ndarray) -> np.ndarray:
        return _rate(scale, variance, epsilon)

    def new_weight(weight: np.ndarray, scale: np.ndarray, variance: np.ndarray) -> np.ndarray:
        return scaled(weight.astype(np.float64), rate(scale, variance)).astype(weight.dtype)

    def new_bias(*arrays: np.ndarray) -> np.ndarray:
        scale, shift, mean, variance = (array.astype(np.float64) for array in arrays[-4:])
        before = arrays[0].astype(np.float64) if len(arrays) > 4 else 0.0
        return ((before - mean) * rate(scale, variance) + shift).astype(arrays[0].dtype)

    if not all(name in emit.weights for name in own[1:] + vectors):
        return None
    if _cancels(emit, mean, variance, epsilon, *bias):
        return None
    if bias:
        made = emit.fold(new_bias, bias[0], scale, shift, mean, variance)
    else:  # called after the shift, which it is made of
        made = emit.fold(
            lambda shift, scale, mean, variance: new_bias(scale, shift, mean, variance),
            *(shift, scale, mean, variance),
        )
    return x, str(emit.fold(new_weight, weight, scale, variance)), str(made)


COST = 2.0**-15
"""The error, in standard deviations, that the scaling of a mean may make before it is subtracted first."""


def _rate(scale: np.ndarray, variance: np.ndarray, epsilon: float) -> np.ndarray:
    return np.asarray(scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon))


def _cancels(emit: Emitter, mean: str, variance: str, epsilon: float, *bias: str) -> bool:
    """Whether a channel is so many deviations from 0 that x * slope + offset loses precision.

    So folded weights compute it, and so does the runtime's BatchNormalization.
    """
    apart, spread = emit.weights[mean].astype(np.float64), emit.weights[variance]
    for name in bias:
        apart = apart - emit.weights[name].astype(np.float64)
    deviations = np.abs(apart) * _rate(np.ones_like(spread), spread, epsilon)
    return bool((deviations * np.finfo(spread.dtype).eps > COST).any())


def _norm_itself(emit: Emitter, norm: Node, x: str, vectors: tuple[str, ...], rank: int) -> str:
    """A normalisation of (N, C, ...): one operator, or its steps if the mean must be subtracted first."""
    scale, shift, mean, variance = vectors
    epsilon = norm.op.epsilon  # type: ignore[attr-defined]  # a BatchNorm
    _at(emit, norm)
    if not all(name in emit.weights for name in vectors) or not _cancels(emit, mean, variance, epsilon):
        return str(norm.op.onnx(emit, x, *vectors))
    column = (-1,) + (1,) * (rank - 2)

    def slope(scale: np.ndarray, variance: np.ndarray) -> np.ndarray:
        return _rate(scale, variance, epsilon).astype(scale.dtype).reshape(column)

    center, steep, added = (
        emit.fold(lambda array: array.reshape(column), mean),
        emit.fold(slope, scale, variance),
        emit.fold(lambda array: array.reshape(column), shift),
    )
    return str(emit.Add(emit.Mul(emit.Sub(x, center), steep), added))
