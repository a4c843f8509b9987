"""The primitives of the graph, as functions on Values.

Each op is a class in one file of this folder with its shape rule, kernels, gradient and ONNX lowering; the
functions here check their arguments and apply it.
"""

from __future__ import annotations

from bigmodel_core.graph import Value
from bigmodel_core.ops.activations import (
    Elu,
    Gelu,
    GeluTanh,
    LeakyRelu,
    Relu,
    Sigmoid,
    Silu,
    Softplus,
    Softsign,
    Tanh,
)
from bigmodel_core.ops.arithmetic import add, divide, maximum, minimum, multiply, power, subtract
from bigmodel_core.ops.batch_normalization import batch_norm, fixed_norm
from bigmodel_core.ops.comparison import (
    cast,
    equal,
    greater,
    greater_equal,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    not_equal,
    where,
)
from bigmodel_core.ops.convolution import conv2d, conv_transpose2d
from bigmodel_core.ops.functions import (
    Ceil,
    Cos,
    Exp,
    Floor,
    Log,
    Sin,
    Sqrt,
    absolute,
    clip,
    negate,
    sign,
    square,
)
from bigmodel_core.ops.indexing import gather
from bigmodel_core.ops.linear import affine, matmul
from bigmodel_core.ops.losses import binary_cross_entropy, huber, label_values, multi_class_hinge
from bigmodel_core.ops.normalization import layer_norm
from bigmodel_core.ops.padding import upsample_nearest, zero_pad
from bigmodel_core.ops.pooling import (
    adaptive_average_pool,
    average_pool,
    global_average_pool,
    max_pool,
)
from bigmodel_core.ops.random import dropout
from bigmodel_core.ops.recurrent import recurrent
from bigmodel_core.ops.reduce import argmax, mean, reduce_to
from bigmodel_core.ops.reduce import max_ as max
from bigmodel_core.ops.reduce import min_ as min
from bigmodel_core.ops.reduce import sum_ as sum
from bigmodel_core.ops.shape import broadcast_to, flatten, reshape, size_of, transpose, zeros_like
from bigmodel_core.ops.slicing import concatenate, index
from bigmodel_core.ops.softmax import cross_entropy, log_softmax, softmax

exp, log, sqrt, sin, cos = (
    Exp(),
    Log(),
    Sqrt(),
    Sin(),
    Cos(),
)
floor, ceil = Floor(), Ceil()
relu, sigmoid, tanh, silu = (
    Relu(),
    Sigmoid(),
    Tanh(),
    Silu(),
)
gelu, gelu_tanh = Gelu(), GeluTanh()
softplus, softsign = Softplus(), Softsign()


def leaky_relu(x: Value, slope: float = 0.01) -> Value:
    """x where positive, else slope * x."""
    return LeakyRelu(float(slope))(x)


def elu(x: Value, alpha: float = 1.0) -> Value:
    """x where positive, else alpha * (exp(x) - 1)."""
    return Elu(float(alpha))(x)


__all__ = [
    "absolute",
    "adaptive_average_pool",
    "add",
    "affine",
    "argmax",
    "average_pool",
    "batch_norm",
    "binary_cross_entropy",
    "broadcast_to",
    "cast",
    "ceil",
    "clip",
    "concatenate",
    "conv2d",
    "conv_transpose2d",
    "cos",
    "cross_entropy",
    "divide",
    "dropout",
    "elu",
    "equal",
    "exp",
    "fixed_norm",
    "flatten",
    "floor",
    "gather",
    "gelu",
    "gelu_tanh",
    "global_average_pool",
    "greater",
    "greater_equal",
    "huber",
    "index",
    "label_values",
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
    "max_pool",
    "maximum",
    "mean",
    "min",
    "minimum",
    "multi_class_hinge",
    "multiply",
    "negate",
    "not_equal",
    "power",
    "recurrent",
    "reduce_to",
    "relu",
    "reshape",
    "sigmoid",
    "sign",
    "silu",
    "sin",
    "size_of",
    "softmax",
    "softplus",
    "softsign",
    "sqrt",
    "square",
    "subtract",
    "sum",
    "tanh",
    "transpose",
    "upsample_nearest",
    "where",
    "zero_pad",
    "zeros_like",
]
