"""Elementwise ops: arithmetic, comparison, logic, activations. One scalar function each, for every device."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, cos, erf, exp, fabs, floor, log, log1p, pi, sin, sqrt, tanh
from typing import Any, ClassVar

import numpy as np

from bigmodel_core.errors import ConfigError, DtypeError, ShapeError
from bigmodel_core.graph import Number, Op, Value, current_graph
from bigmodel_core.kernels.fused import elementwise
from bigmodel_core.ops.reduce import reduce_to
from bigmodel_core.spec import FLOATS, Spec, broadcast, format_shape


@dataclass(frozen=True)
class ElementwiseOp(Op):
    """An op that computes each output number from the input numbers at the same place, inputs broadcast
    together."""

    floats_only: ClassVar[bool] = False
    result: ClassVar[str | None] = None
    """The number type of the output, where it is not that of the inputs."""

    def infer(self, *inputs: Any, **_: Any) -> Spec:
        name = type(self).__name__
        kinds = {spec.dtype for spec in inputs}
        if len(kinds) > 1:
            raise DtypeError(
                f"{name} cannot mix {' and '.join(sorted(kinds))}.",
                fix="convert one side: x.astype('float32').",
            )
        if self.floats_only and not inputs[0].is_float:
            raise DtypeError(
                f"{name} needs float32 or float64, got {inputs[0].dtype}.",
                fix="convert it: x.astype('float32').",
            )
        try:
            shape = broadcast(*(spec.shape for spec in inputs))
        except ShapeError as error:
            raise ShapeError(f"{name}: {error.message}", fix=error.fix) from None
        return Spec(shape, self.result or inputs[0].dtype)


def _value(x: Value | Number | np.ndarray, like: Value | None) -> Value:
    """A number as a constant of the other operand's type."""
    if isinstance(x, Value):
        return x
    graph = like.node.graph if like is not None else current_graph()
    if like is not None and like.dtype not in FLOATS and isinstance(x, float):
        raise DtypeError(
            f"the number {x} does not fit values of type {like.dtype}.", fix="convert: x.astype('float32')."
        )
    return graph.constant(x, like.dtype if like is not None else None)


def _pair(a: Value | Number, b: Value | Number) -> tuple[Value, Value]:
    left = a if isinstance(a, Value) else None
    right = b if isinstance(b, Value) else None
    return _value(a, right), _value(b, left)


# Arithmetic -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Add(ElementwiseOp):
    """a + b."""

    cpu, cuda = elementwise(lambda a, b: a + b)

    def grad(self, dy: Value, y: Value, a: Value, b: Value) -> tuple[Value, Value]:
        return reduce_to(dy, a.shape), reduce_to(dy, b.shape)

    def onnx(self, emit: Any, a: Any, b: Any) -> Any:
        return emit.Add(a, b)


@dataclass(frozen=True)
class Subtract(ElementwiseOp):
    """a - b."""

    cpu, cuda = elementwise(lambda a, b: a - b)

    def grad(self, dy: Value, y: Value, a: Value, b: Value) -> tuple[Value, Value]:
        return reduce_to(dy, a.shape), reduce_to(-dy, b.shape)

    def onnx(self, emit: Any, a: Any, b: Any) -> Any:
        return emit.Sub(a, b)


@dataclass(frozen=True)
class Multiply(ElementwiseOp):
    """a * b."""

    cpu, cuda = elementwise(lambda a, b: a * b)

    def grad(self, dy: Value, y: Value, a: Value, b: Value) -> tuple[Value, Value]:
        return reduce_to(dy * b, a.shape), reduce_to(dy * a, b.shape)

    def onnx(self, emit: Any, a: Any, b: Any) -> Any:
        return emit.Mul(a, b)


@dataclass(frozen=True)
class Divide(ElementwiseOp):
    """a / b, for floats."""

    floats_only = True
    cpu, cuda = elementwise(lambda a, b: a / b)

    def grad(self, dy: Value, y: Value, a: Value, b: Value) -> tuple[Value, Value]:
        return reduce_to(dy / b, a.shape), reduce_to(-dy * y / b, b.shape)

    def onnx(self, emit: Any, a: Any, b: Any) -> Any:
        return emit.Div(a, b)


def _power(a, b):  # type: ignore[no-untyped-def]
    return a**b


def _power_grad_exponent(dy, y, a):  # type: ignore[no-untyped-def]
    return dy * y * log(a) if a > 0 else 0 * dy


@dataclass(frozen=True)
class _PowerGradExponent(ElementwiseOp):
    cpu, cuda = elementwise(_power_grad_exponent)


@dataclass(frozen=True)
class Power(ElementwiseOp):
    """a ** b, for floats."""

    floats_only = True
    cpu, cuda = elementwise(_power)

    def grad(self, dy: Value, y: Value, a: Value, b: Value) -> tuple[Value, Value]:
        return reduce_to(dy * b * a ** (b - 1), a.shape), reduce_to(_PowerGradExponent()(dy, y, a), b.shape)

    def onnx(self, emit: Any, a: Any, b: Any) -> Any:
        return emit.Pow(a, b)


def _maximum(a, b):  # type: ignore[no-untyped-def]
    return a if (a > b or a != a) else b


def _minimum(a, b):  # type: ignore[no-untyped-def]
    return a if (a < b or a != a) else b


def _share_where_chosen(dy, a, y):  # type: ignore[no-untyped-def]
    return dy if a == y else 0 * dy


@dataclass(frozen=True)
class _WhereChosen(ElementwiseOp):
    cpu, cuda = elementwise(_share_where_chosen)


@dataclass(frozen=True)
class Maximum(ElementwiseOp):
    """The larger of a and b; where they are equal the gradient goes to a."""

    cpu, cuda = elementwise(_maximum)

    def grad(self, dy: Value, y: Value, a: Value, b: Value) -> tuple[Value, Value]:
        to_a = _WhereChosen()(dy, a, y)
        return reduce_to(to_a, a.shape), reduce_to(dy - to_a, b.shape)

    def onnx(self, emit: Any, a: Any, b: Any) -> Any:
        return emit.Max(a, b)


@dataclass(frozen=True)
class Minimum(ElementwiseOp):
    """The smaller of a and b; where they are equal the gradient goes to a."""

    cpu, cuda = elementwise(_minimum)

    def grad(self, dy: Value, y: Value, a: Value, b: Value) -> tuple[Value, Value]:
        to_a = _WhereChosen()(dy, a, y)
        return reduce_to(to_a, a.shape), reduce_to(dy - to_a, b.shape)

    def onnx(self, emit: Any, a: Any, b: Any) -> Any:
        return emit.Min(a, b)


@dataclass(frozen=True)
class Negate(ElementwiseOp):
    """-x."""

    cpu, cuda = elementwise(lambda x: -x)

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (-dy,)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Neg(x)


def _sign(x):  # type: ignore[no-untyped-def]
    return 1 if x > 0 else (-1 if x < 0 else x)


@dataclass(frozen=True)
class Sign(ElementwiseOp):
    """-1, 0 or 1."""

    cpu, cuda = elementwise(_sign)

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[None]:
        return (None,)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Sign(x)


@dataclass(frozen=True)
class Absolute(ElementwiseOp):
    """|x|."""

    cpu, cuda = elementwise(lambda x: -x if x < 0 else x)

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (dy * Sign()(x),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Abs(x)


# Functions of one float ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Exp(ElementwiseOp):
    """e ** x."""

    floats_only = True
    cpu, cuda = elementwise(lambda x: exp(x))

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (dy * y,)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Exp(x)


@dataclass(frozen=True)
class Log(ElementwiseOp):
    """The natural logarithm."""

    floats_only = True
    cpu, cuda = elementwise(lambda x: log(x))

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (dy / x,)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Log(x)


@dataclass(frozen=True)
class Sqrt(ElementwiseOp):
    """The square root."""

    floats_only = True
    cpu, cuda = elementwise(lambda x: sqrt(x))

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (dy * 0.5 / y,)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Sqrt(x)


@dataclass(frozen=True)
class Square(ElementwiseOp):
    """x * x."""

    cpu, cuda = elementwise(lambda x: x * x)

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (dy * (x + x),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Mul(x, x)


@dataclass(frozen=True)
class Sin(ElementwiseOp):
    """The sine of x radians."""

    floats_only = True
    cpu, cuda = elementwise(lambda x: sin(x))

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (dy * Cos()(x),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Sin(x)


@dataclass(frozen=True)
class Cos(ElementwiseOp):
    """The cosine of x radians."""

    floats_only = True
    cpu, cuda = elementwise(lambda x: cos(x))

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (-dy * Sin()(x),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Cos(x)


@dataclass(frozen=True)
class Floor(ElementwiseOp):
    """The largest whole number not above x; no gradient flows."""

    floats_only = True
    cpu, cuda = elementwise(lambda x: floor(x))

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[None]:
        return (None,)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Floor(x)


@dataclass(frozen=True)
class Ceil(ElementwiseOp):
    """The smallest whole number not below x; no gradient flows."""

    floats_only = True
    cpu, cuda = elementwise(lambda x: ceil(x))

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[None]:
        return (None,)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Ceil(x)


def _clip(x, low, high):  # type: ignore[no-untyped-def]
    return low if x < low else (high if x > high else x)


def _clip_grad(dy, x, low, high):  # type: ignore[no-untyped-def]
    return dy if (x >= low and x <= high) else 0 * dy


@dataclass(frozen=True)
class _ClipGrad(ElementwiseOp):
    low: float
    high: float
    cpu, cuda = elementwise(_clip_grad)


@dataclass(frozen=True)
class Clip(ElementwiseOp):
    """x, but not below `low` nor above `high`."""

    low: float
    high: float
    floats_only = True
    cpu, cuda = elementwise(_clip)

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ConfigError(f"clip from {self.low} to {self.high} is empty.", fix="pass low <= high.")

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (_ClipGrad(self.low, self.high)(dy, x),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Clip(x, emit.const(self.low), emit.const(self.high))


# Activations ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _ReluGrad(ElementwiseOp):
    cpu, cuda = elementwise(lambda dy, y: dy if y > 0 else 0 * dy)


@dataclass(frozen=True)
class Relu(ElementwiseOp):
    """max(x, 0) (Nair and Hinton, 2010)."""

    floats_only = True
    cpu, cuda = elementwise(lambda x: 0 if x < 0 else x)

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (_ReluGrad()(dy, y),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Relu(x)


@dataclass(frozen=True)
class _LeakyReluGrad(ElementwiseOp):
    slope: float
    cpu, cuda = elementwise(lambda dy, x, slope: dy if x > 0 else slope * dy)


@dataclass(frozen=True)
class LeakyRelu(ElementwiseOp):
    """x where positive, else slope * x (Maas et al., 2013)."""

    slope: float = 0.01
    floats_only = True
    cpu, cuda = elementwise(lambda x, slope: x if x > 0 else slope * x)

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (_LeakyReluGrad(self.slope)(dy, x),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.LeakyRelu(x, alpha=self.slope)


def _elu(x, alpha):  # type: ignore[no-untyped-def]
    e = alpha * (exp(x if x < 0 else 0 * x) - 1)
    return x if x > 0 else e


def _elu_grad(dy, x, y, alpha):  # type: ignore[no-untyped-def]
    return dy if x > 0 else dy * (y + alpha)


@dataclass(frozen=True)
class _EluGrad(ElementwiseOp):
    alpha: float
    cpu, cuda = elementwise(_elu_grad)


@dataclass(frozen=True)
class Elu(ElementwiseOp):
    """x where positive, else alpha * (exp(x) - 1) (Clevert et al., 2015)."""

    alpha: float = 1.0
    floats_only = True
    cpu, cuda = elementwise(_elu)

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (_EluGrad(self.alpha)(dy, x, y),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Elu(x, alpha=self.alpha)


def _sigmoid(x):  # type: ignore[no-untyped-def]
    return 1 / (1 + exp(-x))


@dataclass(frozen=True)
class _SigmoidGrad(ElementwiseOp):
    cpu, cuda = elementwise(lambda dy, y: dy * y * (1 - y))


@dataclass(frozen=True)
class Sigmoid(ElementwiseOp):
    """1 / (1 + exp(-x))."""

    floats_only = True
    cpu, cuda = elementwise(_sigmoid)

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (_SigmoidGrad()(dy, y),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Sigmoid(x)


@dataclass(frozen=True)
class _TanhGrad(ElementwiseOp):
    cpu, cuda = elementwise(lambda dy, y: dy * (1 - y * y))


@dataclass(frozen=True)
class Tanh(ElementwiseOp):
    """The hyperbolic tangent."""

    floats_only = True
    cpu, cuda = elementwise(lambda x: tanh(x))

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (_TanhGrad()(dy, y),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Tanh(x)


_ROOT_HALF = 0.5**0.5
_ROOT_TWO_OVER_PI = (2 / pi) ** 0.5
_ONE_OVER_ROOT_TWO_PI = (2 * pi) ** -0.5


def _gelu(x):  # type: ignore[no-untyped-def]
    return 0.5 * x * (1 + erf(x * _ROOT_HALF))


def _gelu_grad(dy, x):  # type: ignore[no-untyped-def]
    return dy * (0.5 * (1 + erf(x * _ROOT_HALF)) + x * _ONE_OVER_ROOT_TWO_PI * exp(-0.5 * x * x))


def _gelu_tanh(x):  # type: ignore[no-untyped-def]
    return 0.5 * x * (1 + tanh(_ROOT_TWO_OVER_PI * (x + 0.044715 * x * x * x)))


def _gelu_tanh_grad(dy, x):  # type: ignore[no-untyped-def]
    t = tanh(_ROOT_TWO_OVER_PI * (x + 0.044715 * x * x * x))
    return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * _ROOT_TWO_OVER_PI * (1 + 0.134145 * x * x))


@dataclass(frozen=True)
class _GeluGrad(ElementwiseOp):
    cpu, cuda = elementwise(_gelu_grad)


@dataclass(frozen=True)
class Gelu(ElementwiseOp):
    """x times the normal distribution function at x (Hendrycks and Gimpel, 2016)."""

    floats_only = True
    cpu, cuda = elementwise(_gelu)

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (_GeluGrad()(dy, x),)

    def onnx(self, emit: Any, x: Any) -> Any:
        if emit.opset >= 20:
            return emit.Gelu(x)
        normal = emit.Add(emit.Erf(emit.Mul(x, emit.const(_ROOT_HALF))), emit.const(1.0))
        return emit.Mul(emit.Mul(x, normal), emit.const(0.5))


@dataclass(frozen=True)
class _GeluTanhGrad(ElementwiseOp):
    cpu, cuda = elementwise(_gelu_tanh_grad)


@dataclass(frozen=True)
class GeluTanh(ElementwiseOp):
    """The approximation of Gelu by tanh (Hendrycks and Gimpel, 2016)."""

    floats_only = True
    cpu, cuda = elementwise(_gelu_tanh)

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (_GeluTanhGrad()(dy, x),)

    def onnx(self, emit: Any, x: Any) -> Any:
        if emit.opset >= 20:
            return emit.Gelu(x, approximate="tanh")
        cube = emit.Mul(emit.Mul(emit.Mul(x, x), x), emit.const(0.044715))
        bend = emit.Tanh(emit.Mul(emit.Add(x, cube), emit.const(_ROOT_TWO_OVER_PI)))
        return emit.Mul(emit.Mul(x, emit.Add(bend, emit.const(1.0))), emit.const(0.5))


def _silu_grad(dy, x):  # type: ignore[no-untyped-def]
    s = 1 / (1 + exp(-x))
    return dy * s * (1 + x * (1 - s))


@dataclass(frozen=True)
class _SiluGrad(ElementwiseOp):
    cpu, cuda = elementwise(_silu_grad)


@dataclass(frozen=True)
class Silu(ElementwiseOp):
    """x * sigmoid(x) (Elfwing et al., 2017)."""

    floats_only = True
    cpu, cuda = elementwise(lambda x: x / (1 + exp(-x)))

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (_SiluGrad()(dy, x),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Mul(x, emit.Sigmoid(x))


def _softplus(x):  # type: ignore[no-untyped-def]
    return (x if x > 0 else 0 * x) + log1p(exp(-fabs(x)))


@dataclass(frozen=True)
class Softplus(ElementwiseOp):
    """log(1 + exp(x)), computed without overflow."""

    floats_only = True
    cpu, cuda = elementwise(_softplus)

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (dy * Sigmoid()(x),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Softplus(x)


def _softsign_grad(dy, x):  # type: ignore[no-untyped-def]
    d = 1 + fabs(x)
    return dy / (d * d)


@dataclass(frozen=True)
class _SoftsignGrad(ElementwiseOp):
    cpu, cuda = elementwise(_softsign_grad)


@dataclass(frozen=True)
class Softsign(ElementwiseOp):
    """x / (1 + |x|)."""

    floats_only = True
    cpu, cuda = elementwise(lambda x: x / (1 + fabs(x)))

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (_SoftsignGrad()(dy, x),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Softsign(x)


# Comparison, logic, choice, conversion
# --------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison(ElementwiseOp):
    """A comparison: true or false at each place."""

    result = "bool"

    def grad(self, dy: Value, y: Value, a: Value, b: Value) -> tuple[None, None]:
        return None, None


@dataclass(frozen=True)
class Equal(Comparison):
    """a == b."""

    cpu, cuda = elementwise(lambda a, b: a == b)

    def onnx(self, emit: Any, a: Any, b: Any) -> Any:
        return emit.Equal(a, b)


@dataclass(frozen=True)
class NotEqual(Comparison):
    """a != b."""

    cpu, cuda = elementwise(lambda a, b: a != b)

    def onnx(self, emit: Any, a: Any, b: Any) -> Any:
        return emit.Not(emit.Equal(a, b))


@dataclass(frozen=True)
class Less(Comparison):
    """a < b."""

    cpu, cuda = elementwise(lambda a, b: a < b)

    def onnx(self, emit: Any, a: Any, b: Any) -> Any:
        return emit.Less(a, b)


@dataclass(frozen=True)
class LessEqual(Comparison):
    """a <= b."""

    cpu, cuda = elementwise(lambda a, b: a <= b)

    def onnx(self, emit: Any, a: Any, b: Any) -> Any:
        return emit.LessOrEqual(a, b)


@dataclass(frozen=True)
class Greater(Comparison):
    """a > b."""

    cpu, cuda = elementwise(lambda a, b: a > b)

    def onnx(self, emit: Any, a: Any, b: Any) -> Any:
        return emit.Greater(a, b)


@dataclass(frozen=True)
class GreaterEqual(Comparison):
    """a >= b."""

    cpu, cuda = elementwise(lambda a, b: a >= b)

    def onnx(self, emit: Any, a: Any, b: Any) -> Any:
        return emit.GreaterOrEqual(a, b)


@dataclass(frozen=True)
class Logic(ElementwiseOp):
    """An op on truth values."""

    def infer(self, *inputs: Any, **_: Any) -> Spec:
        if any(spec.dtype != "bool" for spec in inputs):
            raise DtypeError(
                f"{type(self).__name__} needs bool, got {inputs[0].dtype}.", fix="compare first: x > 0."
            )
        return super().infer(*inputs)

    def grad(self, dy: Value, y: Value, *inputs: Value) -> tuple[None, ...]:
        return (None,) * len(inputs)


@dataclass(frozen=True)
class And(Logic):
    """a and b."""

    cpu, cuda = elementwise(lambda a, b: a and b)

    def onnx(self, emit: Any, a: Any, b: Any) -> Any:
        return emit.And(a, b)


@dataclass(frozen=True)
class Or(Logic):
    """a or b."""

    cpu, cuda = elementwise(lambda a, b: a or b)

    def onnx(self, emit: Any, a: Any, b: Any) -> Any:
        return emit.Or(a, b)


@dataclass(frozen=True)
class Not(Logic):
    """not x."""

    cpu, cuda = elementwise(lambda x: not x)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Not(x)


@dataclass(frozen=True)
class Where(ElementwiseOp):
    """a where the condition is true, else b."""

    cpu, cuda = elementwise(lambda condition, a, b: a if condition else b)

    def infer(self, condition: Spec, a: Spec, b: Spec) -> Spec:
        if condition.dtype != "bool":
            raise DtypeError(
                f"Where needs a bool condition, got {condition.dtype}.", fix="compare first: x > 0."
            )
        if a.dtype != b.dtype:
            raise DtypeError(f"Where cannot choose between {a.dtype} and {b.dtype}.", fix="convert one side.")
        return Spec(broadcast(condition.shape, a.shape, b.shape), a.dtype)

    def grad(self, dy: Value, y: Value, condition: Value, a: Value, b: Value) -> tuple[None, Value, Value]:
        nothing = dy.node.graph.constant(0, dy.dtype)
        return (
            None,
            reduce_to(Where()(condition, dy, nothing), a.shape),
            reduce_to(Where()(condition, nothing, dy), b.shape),
        )

    def onnx(self, emit: Any, condition: Any, a: Any, b: Any) -> Any:
        return emit.Where(condition, a, b)


@dataclass(frozen=True)
class Cast(ElementwiseOp):
    """The numbers converted to another type; floats are cut towards zero when they become integers."""

    dtype: str
    cpu, cuda = elementwise(lambda x: x)

    def infer(self, x: Spec) -> Spec:
        return x.with_dtype(self.dtype)

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value | None]:
        return (cast(dy, x.dtype) if x.spec.is_float and y.spec.is_float else None,)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.cast(x, self.dtype)


def cast(x: Value, dtype: str) -> Value:
    """The numbers converted to another type."""
    if x.dtype == dtype:
        return x
    return NotEqual()(x, _value(0, x)) if dtype == "bool" else Cast(dtype)(x)


def where(condition: Value, a: Value | Number, b: Value | Number) -> Value:
    """a where the condition is true, else b."""
    left, right = _pair(a, b)
    return Where()(condition, left, right)


def clip(x: Value, low: float, high: float) -> Value:
    """x, but not below `low` nor above `high`."""
    return Clip(float(low), float(high))(x)


def power(a: Value | Number, b: Value | Number) -> Value:
    """a ** b."""
    if isinstance(a, Value) and isinstance(b, (int, float)):
        if b == 1:
            return a
        if b == 2:
            return Square()(a)
        if b == 0.5:
            return Sqrt()(a)
    left, right = _pair(a, b)
    return Power()(left, right)


def _binary(op: ElementwiseOp) -> Any:
    def apply(a: Value | Number, b: Value | Number) -> Value:
        left, right = _pair(a, b)
        return op(left, right)

    apply.__doc__ = type(op).__doc__
    apply.__name__ = apply.__qualname__ = type(op).__name__.lower()
    return apply


add, subtract, multiply, divide = _binary(Add()), _binary(Subtract()), _binary(Multiply()), _binary(Divide())
maximum, minimum = _binary(Maximum()), _binary(Minimum())
equal, not_equal, less, less_equal = (
    _binary(Equal()),
    _binary(NotEqual()),
    _binary(Less()),
    _binary(LessEqual()),
)
greater, greater_equal = _binary(Greater()), _binary(GreaterEqual())
logical_and, logical_or, logical_not = And(), Or(), Not()
negate, absolute, sign, square = Negate(), Absolute(), Sign(), Square()


def check_same_shape(name: str, a: Spec, b: Spec, what: str) -> None:
    """Raise ShapeError where two specs that must agree do not; nothing is broadcast silently."""
    if a.shape != b.shape:
        raise ShapeError(
            f"{name} needs {what} of one shape, got {format_shape(a.shape)} and {format_shape(b.shape)}.",
            fix="reshape one of them; for (N,) against (N, 1): y.reshape(-1, 1).",
        )
