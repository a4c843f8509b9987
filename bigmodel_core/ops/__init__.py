"""The primitives of the graph, as functions on Values.

Each op is a class in one file of this folder with its shape rule, kernels, gradient and ONNX lowering; the functions here
check their arguments and apply it.
"""

from __future__ import annotations

from bigmodel_core.ops import elementwise as _e
from bigmodel_core.ops.elementwise import (
    absolute,
    add,
    cast,
    clip,
    divide,
    equal,
    greater,
    greater_equal,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    maximum,
    minimum,
    multiply,
    negate,
    not_equal,
    power,
    sign,
    square,
    subtract,
    where,
)
from bigmodel_core.ops.indexing import gather
from bigmodel_core.ops.linear import affine, matmul
from bigmodel_core.ops.normalization import layer_norm
from bigmodel_core.ops.random import dropout
from bigmodel_core.ops.reduce import argmax, mean, reduce_to
from bigmodel_core.ops.reduce import max_ as max  # noqa: A004
from bigmodel_core.ops.reduce import min_ as min  # noqa: A004
from bigmodel_core.ops.reduce import sum_ as sum  # noqa: A004
from bigmodel_core.ops.shape import broadcast_to, concatenate, flatten, index, reshape, transpose, zeros_like
from bigmodel_core.ops.softmax import cross_entropy, log_softmax, softmax

exp, log, sqrt, sin, cos = _e.Exp(), _e.Log(), _e.Sqrt(), _e.Sin(), _e.Cos()
floor, ceil = _e.Floor(), _e.Ceil()
relu, sigmoid, tanh, silu = _e.Relu(), _e.Sigmoid(), _e.Tanh(), _e.Silu()
gelu, gelu_tanh = _e.Gelu(), _e.GeluTanh()
softplus, softsign = _e.Softplus(), _e.Softsign()


def leaky_relu(x: _e.Value, slope: float = 0.01) -> _e.Value:
    """x where positive, else slope * x."""
    return _e.LeakyRelu(float(slope))(x)  # type: ignore[no-any-return]


def elu(x: _e.Value, alpha: float = 1.0) -> _e.Value:
    """x where positive, else alpha * (exp(x) - 1)."""
    return _e.Elu(float(alpha))(x)  # type: ignore[no-any-return]


__all__ = [
    "absolute",
    "add",
    "affine",
    "argmax",
    "broadcast_to",
    "cast",
    "ceil",
    "clip",
    "concatenate",
    "cos",
    "cross_entropy",
    "divide",
    "dropout",
    "elu",
    "equal",
    "exp",
    "flatten",
    "floor",
    "gather",
    "gelu",
    "gelu_tanh",
    "greater",
    "greater_equal",
    "index",
    "layer_norm",
    "leaky_relu",
    "less",
    "less_equal",
    "log",
    "log_softmax",
    "logical_and",
    "logical_not",
    "logical_or",
    "matmul",
    "max",
    "maximum",
    "mean",
    "min",
    "minimum",
    "multiply",
    "negate",
    "not_equal",
    "power",
    "reduce_to",
    "relu",
    "reshape",
    "sigmoid",
    "sign",
    "silu",
    "sin",
    "softmax",
    "softplus",
    "softsign",
    "sqrt",
    "square",
    "subtract",
    "sum",
    "tanh",
    "transpose",
    "where",
    "zeros_like",
]
