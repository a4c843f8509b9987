"""What an op's `onnx` method may do with values that it makes in between, and what it hears when it errs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import ExportError
from bigmodel_onnx import Onnx
from tests.onnx.conftest import Function, run

Lowering = Callable[[Any, Any], Any]


def copy(out, x, start, stop):
    for i in range(start, stop):
        for j in range(x.shape[1]):
            for k in range(x.shape[2]):
                out[i, j, k] = 2 * x[i, j, k]


@dataclass(frozen=True)
class Doubled(bm.Op):
    """2 * x, written by a lowering."""

    lowering: Lowering
    cpu = bm.kernel(copy)

    def infer(self, x: bm.Spec) -> bm.Spec:
        return x

    def grad(self, dy: Any, y: Any, x: Any) -> Any:
        return (Doubled(self.lowering)(dy),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return self.lowering(emit, x)


def twice(emit: Any, x: Any) -> Any:
    return emit.Add(x, x)


def sliced(emit: Any, x: Any) -> Any:
    """In two halves."""
    y = twice(emit, x)
    return emit.Concat(emit.slice(y, 1, 0, 2), emit.slice(y, 1, -2, 2), axis=1)


def sliced_backwards(emit: Any, x: Any) -> Any:
    y = twice(emit, x)
    return emit.slice(emit.slice(y, -1, 2, 3, -1), 2, 2, 3, -1)


def reshaped(emit: Any, x: Any) -> Any:
    flat = emit.reshape(twice(emit, x), ("N", 12))
    return emit.reshape(flat, ("N", 4, 3))


def moved(emit: Any, x: Any) -> Any:
    """Transposed by an operator, sliced along the free axis, and moved back."""
    y = emit.Transpose(twice(emit, x), perm=[1, 0, 2])
    return emit.Transpose(emit.slice(y, 1, 0, "N"), perm=[1, 0, 2])


def swapped(emit: Any, x: Any) -> Any:
    return emit.swap_last(emit.swap_last(twice(emit, x)))


def counted(emit: Any, x: Any) -> Any:
    """The mean times the size, of a free axis, too."""
    y = emit.Mul(x, emit.const(2.0))
    total = emit.reduce("ReduceMean", y, (0, 1, 2), False)
    size = emit.size(emit.Abs(y), (0, 1, 2), "float32")
    zero = emit.Sub(emit.Mul(total, size), emit.reduce("ReduceSum", y, (0, 1, 2), False))
    return emit.Add(y, emit.Mul(zero, emit.const(0.0)))


def expanded(emit: Any, x: Any) -> Any:
    one = emit.expand(emit.Add(emit.const(1.0), emit.const(1.0)), ("N", 4, 3))
    return emit.Mul(x, one)


def joined(emit: Any, x: Any) -> Any:
    """Twice as many samples, of which the second half is taken."""
    both = emit.Concat(x, twice(emit, x), axis=0)
    assert emit.spec(both) == bm.Spec((bm.dim_multiply("N", 2), 4, 3))
    return emit.slice(both, 0, "N", "N")


def of_a_constant(emit: Any, x: Any) -> Any:
    factors = emit.const(np.arange(6.0))
    return emit.Mul(x, emit.reshape(emit.slice(factors, 0, 2, 1), (1, 1, 1)))


LOWERINGS = [
    sliced, sliced_backwards, reshaped, moved, swapped, counted, expanded, joined, of_a_constant,
]  # fmt: skip


def exported(lowering: Lowering, path: Path) -> Path:
    model = Function(lambda x: Doubled(lowering)(x))
    model.build(bm.Spec(("N", 4, 3)))
    Onnx().export(model, path)
    return path


@pytest.mark.parametrize("lowering", LOWERINGS, ids=lambda item: item.__name__)
def test_what_is_made_in_between_has_a_shape(lowering: Lowering, tmp_path: Path) -> None:
    path = exported(lowering, tmp_path / "model.onnx")
    for samples in (1, 2, 7):
        x = np.random.default_rng(0).normal(size=(samples, 4, 3)).astype("float32")
        np.testing.assert_allclose(run(path, x)[0], 2 * x, rtol=1e-6)


@dataclass(frozen=True)
class PlusOne(bm.Op):
    """x + 1, without kernel, gradient and lowering: made of parts, of which one has no inputs."""

    def infer(self, x: bm.Spec) -> bm.Spec:
        return x

    def decomposed(self, *inputs: bm.Value) -> list[bm.Value]:
        (x,) = inputs
        return [x + bm.ops.full(x.shape, 1.0, x.dtype)]


def test_the_parts_of_an_op_may_have_no_inputs(tmp_path: Path) -> None:
    model, path = Function(lambda x: PlusOne()(x)), tmp_path / "model.onnx"
    network = model.build(bm.Spec(("N", 3)))
    Onnx().export(model, path)
    x = np.ones((2, 3), "float32")
    np.testing.assert_array_equal(run(path, x)[0], 2 * x)
    np.testing.assert_array_equal(network(x), 2 * x)
    np.testing.assert_array_equal(bm.gradients(model, x), x)


def unknown_size(emit: Any, x: Any) -> Any:
    return emit.size(emit.NonZero(x), (1,), "float32")


def missing_axis(emit: Any, x: Any) -> Any:
    return emit.slice(twice(emit, x), 3, 0, 1)


def misfit(emit: Any, x: Any) -> Any:
    return emit.swap_last(emit.MatMul(x, x))


WRONG: dict[str, tuple[Lowering, str]] = {
    "nothing returned": (lambda emit, x: None, r"Doubled.onnx returned None.*\n.*`return` missing"),
    "number returned": (lambda emit, x: 2, r"Doubled.onnx returned 2, which is no value"),
    "name returned": (lambda emit, x: "y", r"Doubled.onnx returned 'y', which is no value"),
    "two returned": (lambda emit, x: (x, x), r"Doubled.onnx returned 2 values for 1 output"),
    "number as input": (lambda emit, x: emit.Mul(x, 2.0), r"emit.Mul got 2.0.*\n.*emit.const"),
    "array as input": (lambda emit, x: emit.Mul(x, np.ones(3)), r"emit.Mul got array.*\n.*emit.const"),
    "lower case": (lambda emit, x: emit.mul(x, x), r"emit has no 'mul'.*\n.*emit.Mul\?"),
    "misspelt": (lambda emit, x: emit.Softmaxx(x), r"emit has no 'Softmaxx'.*\n.*emit.Softmax\?"),
    "newer operator": (lambda emit, x: emit.Gelu(x), r"Gelu is not in opset 17"),
    "attribute": (lambda emit, x: emit.Softmax(x, axes=1), r"attribute 'axes'.*\n.*Softmax: axis"),
    "too many inputs": (lambda emit, x: emit.Sin(x, x), r"emit.Sin got 2 inputs"),
    "unknown size": (unknown_size, r"the size of axis 1 of a value of shape \(3, \?\) cannot be told"),
    "missing axis": (missing_axis, r"shape \(N, 4, 3\) has no axis 3"),
    "type that is none": (
        lambda emit, x: emit.cast(x, "float33"),
        rf"Doubled.onnx \({__file__}, line \d+\) raised TypeError: data type 'float33'",
    ),
    "misfit": (misfit, r"emit.MatMul does not take values of the shapes \(N, 4, 3\), \(N, 4, 3\)"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_lowering_is_named_with_the_mend(name: str, tmp_path: Path) -> None:
    lowering, message = WRONG[name]
    with pytest.raises(ExportError, match=message) as caught:
        exported(lowering, tmp_path / "model.onnx")
    assert caught.value.where == "Function" and caught.value.fix
    assert not list(tmp_path.iterdir())
