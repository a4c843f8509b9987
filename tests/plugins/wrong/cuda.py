"""Layers and an optimizer whose CUDA kernels have one small fault each."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import bigmodel_core as bm
from tests.plugins.wrong.table import fault, sound

CHECK, ROWS = "cuda equals cpu", [(4, 7)]


def double(out, x, start, stop):
    for i in range(start, stop):
        for j in range(x.shape[1]):
            out[i, j] = 2 * x[i, j]


def right(out, x, thread, threads):
    for i in range(thread, x.shape[0], threads):
        for j in range(x.shape[1]):
            out[i, j] = 2 * x[i, j]


def does_one_row_a_thread(out, x, thread, threads):
    if thread < x.shape[0]:
        for j in range(x.shape[1]):
            out[thread, j] = 2 * x[thread, j]


def reads_the_row_of_another(out, x, thread, threads):
    for i in range(thread, x.shape[0], threads):
        for j in range(x.shape[1]):
            out[i, j] = 2 * x[i, j] + (out[i - 1, j] - 2 * x[i - 1, j] if i > 0 else 0)


def adds_to_what_is_there(out, x, thread, threads):
    for i in range(thread, x.shape[0], threads):
        for j in range(x.shape[1]):
            out[i, j] += 2 * x[i, j]


def writes_to_its_input(out, x, thread, threads):
    for i in range(thread, x.shape[0], threads):
        for j in range(x.shape[1]):
            x[i, j] *= 2
            out[i, j] = x[i, j]


def goes_a_row_too_far(out, x, thread, threads):
    for i in range(thread, x.shape[0] + 1, threads):
        for j in range(x.shape[1]):
            out[i, j] = 2 * x[i, j]


def computes_something_else(out, x, thread, threads):
    for i in range(thread, x.shape[0], threads):
        for j in range(x.shape[1]):
            out[i, j] = 3 * x[i, j]


def turns_in_place(out, x, thread, threads):
    for i in range(thread, x.shape[0], threads):
        for j in range(x.shape[1]):
            out[i, j] = x[i, x.shape[1] - 1 - j]


TURNED = bm.cuda_kernel(turns_in_place)


@dataclass(frozen=True)
class Turn(bm.Op):
    cuda = bm.cuda_launches(in_place=0)(lambda call: call.launch(TURNED, [call.output(0)], [call.input(0)]))
    exported = False

    def infer(self, x: bm.Spec) -> bm.Spec:
        return x

    def decomposed(self, x: Any) -> tuple[Any]:
        return (x[:, ::-1],)


@fault("a CUDA kernel in place that reads what it has overwritten", CHECK, "the memory of an input", ROWS)
class Turning(bm.Layer):
    """Rows backwards."""

    def __call__(self, x: Any) -> Any:
        return Turn()(x)


def layer_of(number: int, forward: Any, backward: Any) -> type[bm.Layer]:
    """A layer that doubles, by these kernels on CUDA."""

    @dataclass(frozen=True)
    class Gradient(bm.Op):
        cpu, cuda, exported = bm.kernel(double), bm.cuda_kernel(backward), False

        def infer(self, dy: bm.Spec) -> bm.Spec:
            return dy

        def grad(self, ddy: Any, y: Any, dy: Any) -> tuple[Any]:
            return (ddy * 2.0,)

    @dataclass(frozen=True)
    class Double(bm.Op):
        cpu, cuda, exported = bm.kernel(double), bm.cuda_kernel(forward), False

        def infer(self, x: bm.Spec) -> bm.Spec:
            return x

        def grad(self, dy: Any, y: Any, x: Any) -> tuple[Any]:
            return (Gradient()(dy),)

    class Doubling(bm.Layer):
        """2 * x."""

        def __call__(self, x: Any) -> Any:
            return Double()(x)

    for cls in (Gradient, Double, Doubling):
        cls.__name__ = cls.__qualname__ = f"{cls.__name__}{number}"
    return Doubling


KERNELS = {
    "does one row a thread": (does_one_row_a_thread, "one thread does all the work"),
    "reads the row of another": (reads_the_row_of_another, "the last thread starts first"),
    "adds to what is there": (adds_to_what_is_there, "before they are written"),
    "writes to its input": (writes_to_its_input, "writes to what it may only read"),
    "goes a row too far": (goes_a_row_too_far, "kernel 'goes_a_row_too_far' failed"),
    "computes something else": (computes_something_else, "Mismatched"),
}
"""By what they do: kernels, and what is said of each."""
numbers = itertools.count()
sound(ROWS, lambda x: 2 * x)(layer_of(next(numbers), right, right))
for what, (function, says) in KERNELS.items():
    for place, kernels in {"kernel": (function, right), "gradient": (right, function)}.items():
        text = f"a CUDA {place} that {what}"
        fault(text, CHECK, says, ROWS)(layer_of(next(numbers), *kernels))


def subtracts(out, x, rate, change, start, stop):
    for i in range(start, stop):
        out[i] = x[i] - rate[0] * change[i]


def subtracts_twice(out, x, rate, change, thread, threads):
    for i in range(thread, x.shape[0], threads):
        out[i] = x[i] - 2 * rate[0] * change[i]


def as_vectors(op: Any, inputs: Any, outputs: Any) -> Any:
    return [(outputs[0].size,)], [(inputs[0].size,), (1,), (inputs[2].size,)]


@dataclass(frozen=True)
class Move(bm.Op):
    cpu, cuda = bm.kernel(subtracts, views=as_vectors), bm.cuda_kernel(subtracts_twice, views=as_vectors)

    def infer(self, x: bm.Spec, rate: bm.Spec, change: bm.Spec) -> bm.Spec:
        return x


@fault("an optimizer whose CUDA kernel goes too far", CHECK, r"'parameter' of a parameter of shape \(7,\)")
class FarOnCuda(bm.Optimizer):
    """Gradient descent."""

    learning_rate: float = 0.1

    def update(self, parameter: Any, gradient: Any, state: Any, rate: Any, step: Any) -> Any:
        return Move()(parameter, rate, gradient), {}
