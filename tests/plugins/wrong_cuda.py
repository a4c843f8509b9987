"""A plugin of layers whose CUDA kernels have one small fault each; as a program, it checks them.

It is installed for a process of its own: the kit looks layers up by name in others.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import bigmodel_core as bm
from bigmodel_core.testing import checks_for

CHECK = "cuda equals cpu"
LAYERS: dict[str, type[bm.Layer]] = {}
"""By what is wrong with the kernel, or with that of the gradient."""


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


@dataclass(frozen=True)
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

    Doubling.__name__ = Doubling.__qualname__ = f"Doubling{number}"
    return dataclass(frozen=True)(Doubling)


for function in (
    does_one_row_a_thread,
    reads_the_row_of_another,
    adds_to_what_is_there,
    writes_to_its_input,
    goes_a_row_too_far,
    computes_something_else,
):
    what = function.__name__.replace("_", " ")
    for place, kernels in {"kernel": (function, right), "gradient": (right, function)}.items():
        LAYERS[f"a CUDA {place} that {what}"] = layer_of(len(LAYERS), *kernels)
LAYERS["a CUDA kernel that works in place and reads what it has overwritten"] = Turning
RIGHT = layer_of(len(LAYERS), right, right)


@bm.hookimpl
def bigmodel_layers() -> list[type[bm.Layer]]:
    return [*LAYERS.values(), RIGHT]


def main() -> None:
    """Print what the check says of each, as JSON; nothing of the right one."""
    found = {}
    for text, layer in {**LAYERS, "right": RIGHT}.items():
        (check,) = (check for check in checks_for(layer(), [(4, 7)]) if check.name == CHECK)
        try:
            check()
        except (AssertionError, bm.errors.BigmodelError) as error:
            found[text] = str(error)
    print(json.dumps(found))
