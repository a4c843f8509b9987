"""What an elementwise op gets from its scalar function alone: the shape rule, the gradient, and what it is
made of, from which its ONNX lowering and its way on devices without elementwise kernels follow."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import field, make_dataclass
from typing import Any

import numpy as np

from bigmodel_core.errors import DtypeError, GraphError, KernelError
from bigmodel_core.graph import Op, Value
from bigmodel_core.graph.op import DEVICES
from bigmodel_core.graph.operations import operations
from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels.definition import FUNCTIONS, Scalar
from bigmodel_core.kernels.derivatives import derivative
from bigmodel_core.kernels.expressions import Algebra, Expression, as_function, in_order
from bigmodel_core.kernels.fused import Elementwise, check_arguments
from bigmodel_core.kernels.reading import read
from bigmodel_core.ops import arithmetic, comparison, division, functions, special
from bigmodel_core.ops.comparison import cast
from bigmodel_core.ops.elementwise import ElementwiseOp, broadcast_shape, constant_like
from bigmodel_core.ops.reduce import reduce_to
from bigmodel_core.ops.shape import broadcast_to

# The shape rule -------------------------------------------------------------------------------------------


def scalar_kernel(op: Op | type[Op]) -> Elementwise | None:
    """The elementwise kernel of an op, on whichever device."""
    return next((kernel for kernel in map(op.kernel, DEVICES) if isinstance(kernel, Elementwise)), None)


def spec_of(op: Op, inputs: Sequence[Spec]) -> Spec | None:
    """The inputs' shapes broadcast together, and their number type, which is one; None if the op is another.

    Raises:
        ShapeError: they do not fit together.
        DtypeError: types differ, or a function that makes fractions gets integers.
    """
    kernel, name = scalar_kernel(op), type(op).__name__
    if kernel is None:
        return None
    check_arguments(op, kernel.function, len(inputs))
    kinds = sorted({spec.dtype for spec in inputs})
    if len(kinds) != 1:
        raise DtypeError(
            f"{name} takes inputs of one number type, got {' and '.join(kinds) or 'none'}.",
            fix="convert one side: x.astype('float32'); or define infer(self, ...) in the op.",
        )
    if not inputs[0].is_float and _makes_fractions(kernel.function):
        raise DtypeError(
            f"{name} computes fractions and got {kinds[0]}.",
            fix="convert the input: x.astype('float32'); or define infer(self, ...) in the op.",
        )
    return Spec(broadcast_shape(name, *(spec.shape for spec in inputs)), kinds[0])


@functools.lru_cache(1024)
def _makes_fractions(function: Scalar) -> bool:
    """Whether it computes what is no integer for integers, as far as it can be read."""
    try:
        items = in_order(read(function).result)
    except KernelError:
        return True
    return any(item.operator in ("/", "float", *FUNCTIONS) or isinstance(item.value, float) for item in items)


# The gradient ---------------------------------------------------------------------------------------------


class _Gradient(Op):
    """The gradient of an elementwise op for one of its inputs, derived from its scalar function."""

    def infer(self, *inputs: Any, **_: Any) -> Spec:
        return Spec(broadcast_shape(type(self).__name__, *(spec.shape for spec in inputs)), inputs[0].dtype)


def gradients(op: Op, dy: Value, inputs: Sequence[Value]) -> tuple[Value | None, ...] | None:
    """The gradients of the inputs of an elementwise op; None if it is another one.

    Raises:
        GraphError: its function has no derivative; the message names the author's file and line.
    """
    kernel = scalar_kernel(op)
    if kernel is None:
        return None
    check_arguments(op, kernel.function, len(inputs))
    found: list[Value | None] = []
    for position, x in enumerate(inputs):
        try:
            part = derivative(kernel.function, len(inputs), position) if x.spec.is_float else None
        except KernelError as error:
            raise GraphError(
                f"the op {type(op).__name__} defines no gradient, and {error.message}",
                fix=f"{(error.fix or '').rstrip('.')}; or put the op where no gradient is needed.",
            ) from None
        if part is None:
            found.append(None)
            continue
        cls = _gradient_op(part.function, len(part.inputs) + 1)
        made = cls(**{name: getattr(op, name) for name in cls.attribute_names()})
        given = made(dy, *(inputs[number] for number in part.inputs))
        found.append(reduce_to(cast(given, x.dtype) if given.dtype != x.dtype else given, x.shape))
    return tuple(found)


@functools.lru_cache(1024)
def _gradient_op(function: Scalar, count: int) -> type[Op]:
    """The op of a scalar function: its fields are the arguments behind those of the inputs."""
    names = function.__code__.co_varnames[: function.__code__.co_argcount][count:]
    kernel = Elementwise(function)
    title = "".join(part.title() for part in function.__name__.split("_"))
    return make_dataclass(
        title,
        [(name, Any, field()) for name in names if name != "index"],
        bases=(_Gradient,),
        namespace={"cpu": kernel, "cuda": kernel, "__doc__": _Gradient.__doc__},
        frozen=True,
    )


# What it is made of ---------------------------------------------------------------------------------------


def has_parts(op: Op | type[Op]) -> bool:
    """Whether an op is elementwise, and its function made of what there are ops for, without positions."""
    kernel = scalar_kernel(op)
    if kernel is None or kernel.uses_index:
        return False
    try:
        items = in_order(read(kernel.function).result)
    except KernelError:
        return False
    return all(item.operator in _LEAVES or item.operator in _OPS for item in items)


def parts(op: Op, inputs: Sequence[Value]) -> tuple[Value] | None:
    """The output of an elementwise op as computed by the ops that its function is made of, if any."""
    kernel = scalar_kernel(op)
    if kernel is None or not has_parts(op):
        return None
    found = read(kernel.function)
    wanted = op.infer(*(value.spec for value in inputs))
    assert isinstance(wanted, Spec)
    values: dict[int, Any] = {}
    if wanted.is_float:  # numbers of other types are converted, as in the kernel
        inputs = [x if x.dtype in (wanted.dtype, "bool") else cast(x, wanted.dtype) for x in inputs]
    like = next((value for value in inputs if value.spec.is_float), inputs[0])
    given = dict(zip(found.parameters, inputs, strict=False))
    for item in in_order(found.result):
        if item.operator == "number":
            values[id(item)] = item.value
        elif item.operator == "argument":
            values[id(item)] = given[item.value] if item.value in given else getattr(op, item.value)
        else:
            arguments = [values[id(part)] for part in item.arguments]
            values[id(item)] = _applied(item, arguments, like)
    result = constant_like(values[id(found.result)], like)
    if result.dtype != wanted.dtype:
        result = cast(result, wanted.dtype)
    return (result if result.shape == wanted.shape else broadcast_to(result, wanted.shape),)


def _applied(item: Expression, arguments: list[Any], like: Value) -> Any:
    """An operator of values; of numbers alone, a number."""
    if not any(isinstance(value, Value) for value in arguments):
        return _of_numbers(item.operator, len(arguments))(*arguments)
    if item.operator not in _ON_TRUTH:
        arguments = [
            cast(value, like.dtype) if isinstance(value, Value) and value.dtype == "bool" else value
            for value in arguments
        ]
    near = next(value for value in arguments if isinstance(value, Value))
    if item.operator == "where":
        condition, *ways = arguments
        if not isinstance(condition, Value):
            return ways[0] if condition else ways[1]
        near = next((way for way in ways if isinstance(way, Value)), like)
        return comparison.where(condition, *(constant_like(way, near) for way in ways))
    if item.operator in ("and", "or", "not"):
        arguments = [constant_like(value, near) for value in arguments]
    return _OPS[item.operator](*arguments)


@functools.cache
def _of_numbers(operator: str, count: int) -> Callable[..., Any]:
    """An operator of Python's numbers, which gives NaN and infinity where Python raises."""
    algebra = Algebra()
    names = [f"a{number}" for number in range(count)]
    expression = algebra.make(operator, *map(algebra.argument, names))
    compute = as_function("compute", names, expression, f"<{operator}>")

    def computed(*values: Any) -> Any:
        with np.errstate(all="ignore"):
            try:
                return compute(*values)
            except ArithmeticError:
                found = compute(*map(np.float64, values))
            except ValueError:
                return math.nan
        return found.item() if isinstance(found, np.generic) else found

    return computed


@functools.cache
def _function_op(name: str) -> ElementwiseOp:
    """An op that is a function of `math` and the operator of ONNX of that name."""
    algebra = Algebra()
    kernel = Elementwise(
        as_function(name, ["x"], algebra.make(name, algebra.argument("x")), f"<math.{name}>")
    )
    namespace = {
        "__doc__": f"{name}(x).",
        "__module__": "math",  # made when it is needed, of a function of that module
        "floats_only": True,
        "cpu": kernel,
        "cuda": kernel,
        "onnx": lambda self, emit, x: getattr(emit, name.title())(x),
    }
    made = type(name.title(), (ElementwiseOp,), namespace)()
    assert isinstance(made, ElementwiseOp)
    return made


def _truncated(x: Value) -> Value:
    return comparison.where(x < 0, functions.ceil(x), functions.floor(x))


_LEAVES = ("number", "argument")
_ON_TRUTH = ("where", "and", "or", "not", "==", "!=")
_OPS: dict[str, Callable[..., Value]] = {
    "+": arithmetic.add,
    "-": arithmetic.subtract,
    "*": arithmetic.multiply,
    "/": arithmetic.divide,
    "//": division.floor_divide,
    "%": division.mod,
    "**": arithmetic.power,
    "negative": lambda x: -x,
    "where": comparison.where,
    "and": comparison.logical_and,
    "or": comparison.logical_or,
    "not": comparison.logical_not,
    "<": comparison.less,
    "<=": comparison.less_equal,
    ">": comparison.greater,
    ">=": comparison.greater_equal,
    "==": comparison.equal,
    "!=": comparison.not_equal,
    "max": arithmetic.maximum,
    "min": arithmetic.minimum,
    "abs": abs,
    "fabs": abs,
    "exp": functions.exp,
    "expm1": special.expm1,
    "log": functions.log,
    "log1p": special.log1p,
    "log2": lambda x: functions.log(x) * (1 / math.log(2)),
    "log10": lambda x: functions.log(x) * (1 / math.log(10)),
    "sqrt": functions.sqrt,
    "floor": functions.floor,
    "ceil": functions.ceil,
    "trunc": _truncated,
    "round": functions.round,
    "erf": special.erf,
    "erfc": lambda x: 1.0 - special.erf(x),
    "sin": functions.sin,
    "cos": functions.cos,
    "tanh": lambda x: operations().tanh(x),
    "tan": lambda x: _function_op("tan")(x),
    "asin": lambda x: _function_op("asin")(x),
    "acos": lambda x: _function_op("acos")(x),
    "atan": lambda x: _function_op("atan")(x),
    "sinh": lambda x: _function_op("sinh")(x),
    "cosh": lambda x: _function_op("cosh")(x),
    "asinh": lambda x: _function_op("asinh")(x),
    "acosh": lambda x: _function_op("acosh")(x),
    "atanh": lambda x: _function_op("atanh")(x),
}
"""The ops of operators."""
