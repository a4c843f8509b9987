"""What follows from a scalar function alone: derivatives of any order, ONNX nodes, the shape rule, and errors
that name its lines. The oracle of a derivative is the function itself, run by Python: differences of it."""

from __future__ import annotations

import functools
import importlib.util
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import DtypeError, GraphError, KernelError
from bigmodel_core.graph.op import DEVICES
from bigmodel_core.kernels.definition import check
from bigmodel_core.kernels.derivatives import derivative
from bigmodel_core.kernels.fused import Elementwise
from bigmodel_core.ops.derived import _function_op
from bigmodel_core.testing import compute, compute_gradients
from tests.onnx.conftest import Function, run

# Derivatives ------------------------------------------------------------------------------------------------


def softplus(x):
    return (x if x > 0 else 0) + math.log1p(math.exp(-math.fabs(x)))


def mish(x):
    """Of a helper."""
    return x * math.tanh(softplus(x))


def early(x):
    if x > 1:
        return x * x
    if x < -1:
        y = -x
        return y**3
    return math.sin(x)


def in_branches(x):
    scale, y = 2.0, x
    if x > 0.2:
        y = x * scale
        scale = 3.0
    else:
        y -= 1
    return y * scale + scale


def newton(x):
    """A square root in a loop."""
    root = 1.0
    for step in range(4):
        root = 0.5 * (root + (x * x + 1) / root) + 0 * step
    return root


def chained(x):
    return x if -1 < x < 1 and not (x > 2 or x == 0.5) else 2 * x - 1


def by_name(x):
    return power(exponent=1.5, base=x * x + 1)


def power(base, exponent=2.0):
    return base**exponent


def of_fields(x, slope=0.5):
    return slope * x if x < 0 else x


UNARY: list[Callable[..., Any]] = [
    softplus, mish, early, in_branches, newton, chained, by_name, of_fields,
    lambda x: 1 / (1 + math.exp(-3 * x)),
    lambda x: math.exp(math.sin(x)) + math.cos(x) / 2,
    lambda x: math.log(x * x + 0.5) - math.log2(x * x + 2) + math.log10(3 + x),
    lambda x: math.sqrt(x * x + 0.1) * math.expm1(x),
    lambda x: math.tan(x) + math.atan(x) - math.asin(x / 9) + math.acos(x / 8),
    lambda x: math.sinh(x) - math.cosh(x) * math.asinh(x) + math.acosh(x + 9) + math.atanh(x / 9),
    lambda x: math.erf(x) * math.erfc(2 * x),
    lambda x: max(x, 0.25 * x) + min(x, 1 - x, 0.3) + abs(x - 0.1),
    lambda x: math.pow(2.5, x) + x**4 - (x * x + 1) ** x + x**-2,
    lambda x: (x % 1.5) + math.fmod(x, 0.7) + math.floor(x) + math.ceil(x) * math.trunc(x) + x // 0.3,
    lambda x: math.copysign(x, -2.0) * math.copysign(1.5, x) + math.atan2(x, 2.0) * math.atan2(1.0, x),
    lambda x: (x > 0) * x + (x and 2 * x) + (0.0 or x * x) + float(x) * int(3.0) + round(x),
]  # fmt: skip
PLACES = (-2.33, -0.61, 0.43, 1.87)
"""Places at which none of them has a corner."""


def slope(function: Callable[..., Any], x: float, count: int = 1) -> float:
    """The derivative, by differences of high order."""
    h = 1e-3
    near = [function(x + k * h) for k in (-3, -2, -1, 1, 2, 3)]
    return float(np.dot([-1, 9, -45, 45, -9, 1], near) / (60 * h))


@pytest.mark.parametrize("number", range(len(UNARY)))
def test_first_and_second_derivatives_are_those_of_the_function(number: int) -> None:
    function = UNARY[number]
    first = derivative(function, 1, 0)
    assert first is not None and first.inputs in ((), (0,))
    fields = () if function.__name__ != "of_fields" else (0.5,)

    def at(x: float) -> Any:
        return first.function(1.0, *((x,) if first.inputs else ()), *(fields if first.inputs else ()))

    second = derivative(first.function, 2, 1) if first.inputs else None
    for x in PLACES:
        assert at(x) == pytest.approx(slope(function, x), rel=1e-8, abs=1e-8)
        if second is not None:
            given = [1.0, *([1.0, x][place] for place in second.inputs), *fields]
            assert second.function(*given) == pytest.approx(slope(at, x), rel=1e-7, abs=1e-7)


def test_what_a_branch_leaves_out_leaves_no_trace() -> None:
    root = derivative(lambda x: math.sqrt(x) if x > 0 else 0, 1, 0)
    assert root is not None and root.function(math.inf, 0.0) == 0.0
    clipped = derivative(lambda x: min(max(x, -1), 1), 1, 0)
    assert clipped is not None and clipped.function(math.inf, 3.0) == 0.0
    assert derivative(lambda x: math.floor(x) + (x > 0), 1, 0) is None


def swish(x, beta):
    return x / (1 + math.exp(-beta * x))


@dataclass(frozen=True)
class Swish(bm.Op):
    beta: float = 1.5
    cpu, cuda = bm.elementwise(swish)


def gated(x, gate, dy):
    return dy * x / (1 + math.exp(-gate)) if gate > -1 else 0


@dataclass(frozen=True)
class Gated(bm.Op):
    """Two inputs that are broadcast, and a field that is called like the gradient that comes in."""

    dy: float = 2.0
    cpu, cuda = bm.elementwise(gated)


def test_an_op_of_one_function_has_gradients_of_any_order() -> None:
    x = np.array([-200.0, -3.0, -1.0, 0.0, 0.5, 2.0, 300.0])
    s = 1 / (1 + np.exp(-1.5 * x))
    first = s * (1 + 1.5 * x * (1 - s))
    second = 1.5 * s * (1 - s) * (2 + 1.5 * x * (1 - 2 * s))
    np.testing.assert_allclose(compute(Swish(), x), x * s, atol=1e-12)
    np.testing.assert_allclose(compute_gradients(lambda x: bm.ops.sum(Swish()(x)), x)[0], first, atol=1e-12)
    of_it = lambda x: bm.ops.sum(bm.ops.gradients(bm.ops.sum(Swish()(x)), x))  # noqa: E731
    np.testing.assert_allclose(compute_gradients(of_it, x)[0], second, atol=1e-12)


def test_gradients_of_broadcast_inputs_are_summed_and_finite_in_float32() -> None:
    x, gate = np.full((3, 2), 2.0, "float32"), np.array([-200.0, 0.0], "float32")
    found = compute_gradients(lambda x, gate: bm.ops.sum(Gated()(x, gate)), x, gate)
    np.testing.assert_allclose(found[0], [[0, 1]] * 3)
    np.testing.assert_allclose(found[1], [0, 3.0])


def test_integers_are_refused_where_fractions_come_out() -> None:
    with pytest.raises(DtypeError, match="Swish computes fractions and got int64"):
        compute(Swish(), np.array([1, 2]))
    with pytest.raises(DtypeError, match="Gated takes inputs of one number type, got float32 and float64"):
        compute(Gated(), np.ones(2, "float32"), np.ones(2))


# ONNX -------------------------------------------------------------------------------------------------------


def op_of(function: Callable[..., Any]) -> bm.Op:
    cpu, cuda = bm.elementwise(function)
    cls = dataclass(frozen=True)(type("OfFunction", (bm.Op,), {"cpu": cpu, "cuda": cuda}))
    return cls()


def test_files_have_the_formula_as_onnx_nodes(tmp_path: Path) -> None:
    functions = [item for item in UNARY if item.__name__ == "<lambda>" or item in (mish, early, newton)]
    model = Function(lambda x: tuple(op_of(function)(x) for function in functions))
    model.build(bm.Spec(("N",)))
    unwritten = [function for function in functions if "fmod" in function.__code__.co_names]
    unwritten += [function for function in functions if "copysign" in function.__code__.co_names]
    unwritten += [function for function in functions if "int" in function.__code__.co_names]
    written = [function for function in functions if function not in unwritten]
    assert len(written) == len(functions) - 3
    model = Function(lambda x: tuple(op_of(function)(x) for function in written))
    model.build(bm.Spec(("N",)))
    bm.export(model, tmp_path / "model.onnx", tolerance=1e-4)
    x = np.array(PLACES, "float32")
    for function, found in zip(written, run(tmp_path / "model.onnx", x), strict=True):
        np.testing.assert_allclose(found, [function(float(item)) for item in x], rtol=1e-3, atol=1e-5)


def test_fields_and_gradients_are_written_too(tmp_path: Path) -> None:
    model = Function(lambda x, g: (Gated()(x, g), bm.ops.gradients(bm.ops.sum(Gated()(x, g)), g)))
    model.build(bm.Spec(("N", 3)), bm.Spec((3,)))
    bm.export(model, tmp_path / "model.onnx")
    x, gate = np.ones((2, 3), "float32"), np.array([-2.0, 0.0, 1.0], "float32")
    np.testing.assert_allclose(run(tmp_path / "model.onnx", x, gate)[0], compute(Gated(), x, gate), rtol=1e-6)


def test_where_no_lowering_follows_the_op_is_named(tmp_path: Path) -> None:
    model = Function(op_of(lambda x, index: x + index))
    model.build(bm.Spec(("N", 3)))
    with pytest.raises(bm.errors.ExportError, match="OfFunction"):
        bm.export(model, tmp_path / "model.onnx")


# Errors -----------------------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[str, int, str]] = {
    "try": ("try:\n    y = 1 / x\nexcept ValueError:\n    y = 0\nreturn y", 2, "an exception.*branch"),
    "raise": ("if x < 0:\n    raise ValueError(x)\nreturn x", 3, "uses an exception"),
    "list": ("y = [x, 1]\nreturn x", 2, "uses a collection.*a name of its own"),
    "index": ("return x[0]", 2, "uses an index.*bm.kernel"),
    "text": ("y = 'a'\nreturn x", 2, "uses 'a', which is no number"),
    "f-string": ("y = f'{x}'\nreturn x", 2, "text, which a kernel cannot hold"),
    "method": ("return x.sum()", 2, "calls x.sum, a method.*bm.kernel"),
    "numpy": ("return np.exp(x)", 2, "calls np.exp.*call math.exp"),
    "numpy by another name": ("return np.arcsin(x)", 2, "calls np.arcsin.*call math.asin"),
    "math without kernel": ("return math.gamma(x)", 2, "calls math.gamma, which kernels do not have"),
    "built-in": ("return sorted(x)", 2, "calls sorted"),
    "attribute": ("return x.real", 2, "uses x.real, an attribute"),
    "table": ("return x * TABLE", 2, "uses 'TABLE', a list.*fields of the op"),
    "several values": ("return x, x", 2, "returns several numbers"),
    "no value": ("y = x\nreturn", 3, "returns nothing"),
    "no return": ("y = x", 1, "returns nothing"),
    "loop over values": ("for y in x:\n    pass\nreturn x", 2, "loops over something else than range"),
    "with": ("with open('a'):\n    pass\nreturn x", 2, "a `with`"),
    "import": ("import math\nreturn math.exp(x)", 2, "an import.*top of the file"),
    "in a helper": ("return helper(x)", -2, r"'helper'.*calls print"),
    "is": ("return x if x is not True else 1", 2, "`in` or `is`"),
    "product": ("return x @ x", 2, "uses `@`.*bm.kernel"),
}
"""Bodies of functions that no kernel can hold: the line that is named, and the message."""
UNDERIVED: dict[str, tuple[str, int, str]] = {
    "while": ("while x > 1:\n    x = x / 2\nreturn x", 2, "has a `while`.*`grad`"),
    "open loop": ("for k in range(int(x)):\n    x = x * 2\nreturn x", 2, "a loop whose steps are not fixed"),
    "long loop": ("for k in range(1000):\n    x = x * 0.5\nreturn x", 2, "more than 64 steps"),
    "return in loop": ("for k in range(3):\n    if x:\n        return x\nreturn x", 2, "returns from a loop"),
    "missing way": ("if x > 0:\n    y = x\nreturn y", 4, "'y', which not every way to here gives a value"),
    "open end": ("if x > 0:\n    return x", 2, "returns nothing where it comes to its end"),
    "recursion": ("return again(x)", -4, "calls itself"),
    "too many arguments": ("return math.exp(x, x)", 2, "passes 2 arguments to math.exp"),
    "unknown name": ("return x * unknown", 2, "unknown name 'unknown'"),
}
"""Bodies that a kernel may hold, or whose fault shows later, and of which nothing is derived."""
HELPERS = """import math
TABLE = [1.0]
import numpy as np
def again(x):
    return again(x) if x > 0 else x
def helper(x):
    return print(x)
"""


def module_of(body: str, folder: Path) -> tuple[ModuleType, int]:
    """A module with a function `of`, and the line of its `def`."""
    lines = "\n".join(f"    {line}" for line in body.split("\n"))
    path = folder / "stranger.py"
    path.write_text(f"{HELPERS}def of(x):\n{lines}\n")
    spec = importlib.util.spec_from_file_location("stranger", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module, HELPERS.count("\n") + 1


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_kernel_can_hold_is_refused_where_it_is_given(name: str, tmp_path: Path) -> None:
    body, line, message = REFUSED[name]
    module, first = module_of(body, tmp_path)
    with pytest.raises(KernelError) as caught:
        bm.elementwise(module.of)
    text = str(caught.value)
    wanted = first + line - 1 if line > 0 else first + line + 1
    assert f"{tmp_path / 'stranger.py'}, line {wanted}" in text
    assert caught.value.fix and len(text.splitlines()) <= 4
    assert_matches(message, text)


@pytest.mark.parametrize("name", UNDERIVED)
def test_what_has_no_derivative_is_refused_where_one_is_needed(name: str, tmp_path: Path) -> None:
    body, line, message = UNDERIVED[name]
    module, first = module_of(body, tmp_path)
    op = op_of(module.of)
    with pytest.raises(GraphError) as caught:
        compute_gradients(lambda x: bm.ops.sum(op(x)), np.ones(2))
    text = str(caught.value)
    wanted = first + line - 1 if line > 0 else first + line + 1
    assert f"line {wanted}" in text and "OfFunction defines no gradient" in text
    assert_matches(message, text)


def assert_matches(message: str, text: str) -> None:
    import re

    assert re.search(message, text, re.DOTALL), text


def test_a_function_without_source_runs_and_says_why_it_has_no_gradient() -> None:
    scope: dict[str, Any] = {}
    exec("def of(x):\n    return x * 2", scope)
    op = op_of(scope["of"])
    np.testing.assert_array_equal(compute(op, np.ones(2)), [2, 2])
    with pytest.raises(GraphError, match="source of the scalar function 'of' is not at hand"):
        compute_gradients(lambda x: bm.ops.sum(op(x)), np.ones(2))


def test_no_function_is_no_kernel() -> None:
    with pytest.raises(KernelError, match="takes a Python function of numbers, not <ufunc 'exp'>"):
        bm.elementwise(np.exp)


def test_any_number_of_arguments_is_refused() -> None:
    with pytest.raises(KernelError, match="takes any number of arguments"):
        bm.elementwise(lambda *numbers: numbers[0])


def test_arguments_that_are_no_fields_and_inputs_left_out_are_named() -> None:
    with pytest.raises(KernelError, match="takes 'slope', which is no attribute of OfFunction"):
        compute(op_of(lambda x, slope: x * slope), np.ones(2))
    op = op_of(lambda x: x)
    with pytest.raises(KernelError, match="takes 1 arguments, and OfFunction has 2 inputs"):
        compute(lambda x: op(x, x), np.ones(2))


def doubling(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def doubled(x):
        return 2 * function(x)

    return doubled


@doubling
def decorated(x):
    return x * x


def test_of_a_decorated_function_it_is_the_decorator_s_that_counts() -> None:
    found = derivative(decorated, 1, 0)
    assert found is not None and found.function(1.0, 3.0) == 12.0


def test_several_lambdas_on_a_line_are_told_apart() -> None:
    pair = (lambda x: x * 2, lambda x: x * 3)
    assert [derivative(function, 1, 0).function(1.0) for function in pair] == [2.0, 3.0]  # type: ignore[union-attr]  # it has one


def subclasses(cls: type[bm.Op]) -> Iterator[type[bm.Op]]:
    for item in cls.__subclasses__():
        yield item
        yield from subclasses(item)


def test_our_own_scalar_functions_pass_the_check_that_they_skip() -> None:
    made = ("tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh")  # when they are needed
    kernels: set[Any] = {kernel for name in made for kernel in map(_function_op(name).kernel, DEVICES)}
    kernels |= {
        kernel
        for cls in subclasses(bm.Op)
        if cls.__module__.startswith("bigmodel_")
        for kernel in map(cls.kernel, DEVICES)
        if isinstance(kernel, Elementwise)
    }
    assert len(kernels) > 80
    for kernel in kernels:
        check(kernel.function)
