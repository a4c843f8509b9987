"""Ops, layers and models with one fault each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core import ops
from tests.plugins.wrong.table import EVERYTHING, fault, sound

if TYPE_CHECKING:
    from collections import OrderedDict

ROWS = [(4, 7)]
DRAWN = float(np.random.default_rng().normal())
"""Another number in each process."""


def double(x):
    return x + x


def twice(x: np.ndarray) -> np.ndarray:
    return 2 * x


class Double(bm.Op):
    cpu, cuda = bm.elementwise(double)

    def infer(self, x: bm.Spec) -> bm.Spec:
        return x

    def grad(self, dy: Any, y: Any, x: Any) -> tuple[Any]:
        return (dy * 2.0,)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Add(x, x)


@dataclass(frozen=True)
class AddedOp(Double):
    pass


@sound(ROWS, twice)
class Doubled(bm.Layer):
    """x + x."""

    def __call__(self, x: Any) -> Any:
        return AddedOp()(x)


# Ops --------------------------------------------------------------------------------------------------------


@fault("an op whose gradient lacks a factor", "gradient", r"gradient of input 'x' at \(0, 0\)", ROWS)
class HalfGradient(Double):
    def grad(self, dy: Any, y: Any, x: Any) -> tuple[Any]:
        return (dy,)


@fault("an op whose file computes something else", "onnx", "Applied|OtherLowering", ROWS)
class OtherLowering(Double):
    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Mul(x, x)


@fault("an op that is off by a thousandth", "reference", "Mismatched", ROWS, lambda x: 2.001 * x)
class Inexact(Double):
    pass


@fault("an op that says float32 for float64", "shapes and dtypes", "float64 model is float32", ROWS)
class Narrow(Double):
    def infer(self, x: bm.Spec) -> bm.Spec:
        return x.with_dtype("float32")


def only_few(out, x, start, stop):
    for i in range(start, stop):
        for j in range(x.shape[1]):
            out[i, j] = 2 * x[i, j] if i < 200 else x[i, j]


@fault("a kernel that is right for the first 200 rows alone", "reference", "batch", ROWS, twice)
class OnlyFew(Double):
    cpu = bm.kernel(only_few)


def not_for_one(out, x, start, stop):
    for i in range(start, stop):
        for j in range(x.shape[1]):
            out[i, j] = 2 * x[i, j] if x.shape[0] > 1 else x[i, j]


@fault("a kernel that is wrong for one sample", "reference", "batch 1", ROWS, twice)
class NotForOne(Double):
    cpu = bm.kernel(not_for_one)


def backwards_in_place(out, x, start, stop):
    for i in range(start, stop):
        for j in range(x.shape[1]):
            out[i, j] = x[i, x.shape[1] - 1 - j]


@fault(
    "a kernel in place that reads what it has overwritten",
    "stays in its memory",
    "takes over the memory of an input",
    ROWS,
)
class TurnedInPlace(Double):
    backwards = bm.kernel(backwards_in_place)
    cpu = bm.cpu_launches(in_place=0)(
        lambda call: call.launch(TurnedInPlace.backwards, [call.output(0)], [call.input(0)])
    )


@dataclass(frozen=True)
class WrongSecondGradient(bm.Op):
    """Of dy * 2 * x, the gradient of a square."""

    cpu, cuda = bm.elementwise(lambda dy, x: 2 * dy * x)

    def grad(self, ddy: Any, y: Any, dy: Any, x: Any) -> tuple[Any, Any]:
        return 2.0 * ddy * x, 3.0 * ddy * dy


@fault("a gradient whose own gradient is wrong", "gradient of the gradient", "gradient of input 'x'", ROWS)
class Squared(bm.Op):
    cpu, cuda = bm.elementwise(lambda x: x * x)

    def grad(self, dy: Any, y: Any, x: Any) -> tuple[Any]:
        return (WrongSecondGradient()(dy, x),)


def by_sample(spec: Any) -> tuple[int, int]:
    samples, width = spec.shape
    return samples, samples * width // samples


def double_all(out, x):
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = x[i, j] + x[i, j]


@fault("views that divide by the number of samples", "empty batch", "ZeroDivisionError", ROWS)
class Dividing(Double):
    cpu = bm.kernel(double_all, views=lambda op, i, o: ([by_sample(o[0])], [by_sample(i[0])]))


def sums_of_parts(parts, x, start, stop):
    for i in range(start, stop):
        for part in range(parts.shape[1]):
            parts[i, part] = 0
        for j in range(x.shape[1]):
            parts[i, j % parts.shape[1]] += x[i, j]


def total_of_parts(out, parts, start, stop):
    for i in range(start, stop):
        out[i] = 0
        for part in range(parts.shape[1]):
            out[i] += parts[i, part]


@bm.cpu_launches
def by_threads(call: Any) -> Any:
    parts = call.temporary((call.inputs[0].shape[0], bm.num_threads()))
    return [
        *call.launch(bm.kernel(sums_of_parts), [parts], [call.input(0)]),
        *call.launch(bm.kernel(total_of_parts), [call.output(0)], [parts]),
    ]


@fault(
    "a sum in as many parts as there are threads",
    "same bits at any thread count",
    "1 and 2 threads differ",
    [(4, 7)],
)
class SumByThreads(bm.Op):
    exported: ClassVar[bool] = False
    cpu = by_threads

    def infer(self, x: bm.Spec) -> bm.Spec:
        return bm.Spec(x.shape[:1], x.dtype)

    def grad(self, dy: Any, y: Any, x: Any) -> tuple[Any]:
        return (ops.reshape(dy, (-1, 1)) + 0.0 * x,)


def mirrored_rows(out, x, axis, start, stop):
    for i in range(start, stop):
        for j in range(x.shape[1]):
            for k in range(x.shape[2]):
                for m in range(x.shape[3]):
                    if axis == 3:
                        out[i, j, k, m] = x[i, j, k, x.shape[3] - 1 - m]
                    elif axis == 2:
                        out[i, j, k, m] = x[i, j, x.shape[2] - 1 - k, m]
                    else:
                        out[i, j, k, m] = x[i, x.shape[1] - 1 - j, k, m]


@fault(
    "an op that takes another axis where images have channels last",
    "non-contiguous inputs",
    "permuted",
    [(2, 3, 4, 5)],
)
class Mirrored(bm.Op):
    axis: int = 3
    exported: ClassVar[bool] = False
    cpu = bm.kernel(mirrored_rows)

    def infer(self, x: bm.Spec) -> bm.Spec:
        return x

    def grad(self, dy: Any, y: Any, x: Any) -> tuple[Any]:
        return (self(dy),)

    def permuted(self, order: tuple[int, ...], x: bm.Spec) -> bm.Op:
        return self


@fault("an op whose gradient cannot be built", "runs", "NoGradient|reshape", ROWS)
class NoGradient(Double):
    def grad(self, dy: Any, y: Any, x: Any) -> tuple[Any]:
        return (ops.reshape(dy, (3, 3)),)


# Layers -----------------------------------------------------------------------------------------------------


def shifted_rows(out, x, start, stop):
    for i in range(start, stop):
        for j in range(x.shape[1]):
            out[i, j] = x[i, j] + DRAWN


@dataclass(frozen=True)
class ShiftedOp(Double):
    cpu = bm.kernel(shifted_rows)


@fault("a kernel with a number drawn when it was imported", "save and reload", "something else", ROWS)
class DrawnOnce(bm.Layer):
    def __call__(self, x: Any) -> Any:
        return ShiftedOp()(x)


@fault("a layer whose inputs nobody finds", "runs", "expected an input of 12 axes")
class Choosy(bm.Layer):
    def __call__(self, x: Any) -> Any:
        raise bm.errors.ShapeError("expected an input of 12 axes.")


@fault("a layer that counts how often it is called", "same seed, same numbers", "outputs and gradients", ROWS)
class CountingCalls(bm.Layer):
    calls: ClassVar[list[int]] = []

    def __call__(self, x: Any) -> Any:
        self.calls.append(1)
        return x * float(len(self.calls))


@fault("a layer whose initial numbers no seed decides", "same seed, same numbers", "parameter 'scale'", ROWS)
class Unseeded(bm.Layer):
    def __call__(self, x: Any) -> Any:
        return x * self.parameter("scale", x.shape[-1:], float(np.random.default_rng().normal()))


@fault("a layer that raises what NumPy raises", "error texts", "raised ValueError", ROWS)
class Crashing(bm.Layer):
    def __call__(self, x: Any) -> Any:
        if not x.spec.is_float:
            raise ValueError("operands could not be broadcast together")
        return ops.relu(x)


@fault("a layer without a docstring", "registered and documented", "no docstring", ROWS, section=EVERYTHING)
class Undocumented(bm.Layer):
    def __call__(self, x: Any) -> Any:
        return ops.relu(x)


@fault(
    "an option that is kept otherwise than it was given",
    "config round-trip",
    "came back as",
    ROWS,
    section=EVERYTHING,
)
class Shifted(bm.Layer):
    factor: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "factor", self.factor + 1.0)

    def __call__(self, x: Any) -> Any:
        return x * self.factor


@fault(
    "an option whose type is imported for type checkers alone",
    "unknown options",
    "OrderedDict",
    ROWS,
    section=EVERYTHING,
)
class Unresolved(bm.Layer):
    options: OrderedDict[str, float] | None = None

    def __call__(self, x: Any) -> Any:
        return ops.relu(x)


# Models -----------------------------------------------------------------------------------------------------


@fault("a model whose loss is misspelt", "defaults exist", "cross_entropy")
class Misspelt(bm.Model):
    name: ClassVar[str] = "misspelt"
    loss: ClassVar[str] = "cross_entrophy"

    def input_spec(self) -> bm.Spec:
        return bm.Spec(("N", 5))

    def __call__(self, x: Any) -> Any:
        return bm.layers.Dense(3)(x)


@fault("a model whose output depends on no parameter", "learns", "the loss went from")
class Unteachable(bm.Model):
    name: ClassVar[str] = "unteachable"
    loss: ClassVar[str] = "mean_squared_error"
    metrics: ClassVar[tuple[str, ...]] = ()

    def input_spec(self) -> bm.Spec:
        return bm.Spec(("N", 5))

    def __call__(self, x: Any) -> Any:
        return x + 0.0 * bm.layers.Dense(5)(x)
