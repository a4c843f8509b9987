"""Kernels are registered for a device openly, and checked when they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import KernelError
from bigmodel_core.graph import Graph, Op
from bigmodel_core.graph.op import DEVICES
from bigmodel_core.graph.spec import Spec
from bigmodel_core.plan import Program, Variables, device_named


def row_means(means: Any, x: Any, start: int, stop: int) -> None:
    for i in range(start, stop):
        total = 0.0
        for j in range(x.shape[1]):
            total += x[i, j]
        means[i] = total / x.shape[1]


def subtract(out: Any, x: Any, means: Any, factor: float, start: int, stop: int) -> None:
    for i in range(start, stop):
        for j in range(x.shape[1]):
            out[i, j] = (x[i, j] - means[i]) * factor


MEANS, SUBTRACT = bm.kernel(row_means), bm.kernel(subtract)


@dataclass(frozen=True)
class Centered(Op):
    """Rows without their means, by two launches with scratch memory between them."""

    factor: float = 2.0

    @bm.cpu_launches
    def cpu(call: bm.Call) -> list[Any]:
        means = call.temporary((call.inputs[0].sizes[0],))
        return [
            *call.launch(MEANS, [means], [call.input(0)]),
            *call.launch(SUBTRACT, [call.output(0)], [call.input(0), means]),
        ]

    def infer(self, x: Spec) -> Spec:
        return x


def computed(op: Op, x: np.ndarray) -> np.ndarray:
    graph = Graph()
    y = op(graph.input("x", Spec(("N", *x.shape[1:]), x.dtype.name)))
    found: np.ndarray = Program(graph, [y]).run(Variables(device_named("cpu")), {"x": x})[0]
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_several_launches_with_scratch(dtype: str) -> None:
    x = np.random.default_rng(0).normal(size=(70, 33)).astype(dtype)
    wide = x.astype("float64")
    expected = 2 * (wide - wide.mean(1, keepdims=True))
    assert computed(Centered(), x) == pytest.approx(expected, abs=1e-5)


def test_kernels_are_attributes_of_the_op() -> None:
    assert Centered.cpu is Centered.kernel("cpu")
    assert Centered.cuda is Centered.kernel("cuda") is None
    assert Centered.kernel("infer") is None


def test_a_kernel_may_be_registered_by_another() -> None:
    kernel = bm.cuda_kernel(lambda out, x, thread, threads: None)

    @dataclass(frozen=True)
    class Mine(Centered):
        pass

    bm.register_kernel(Mine, "cuda", kernel)
    assert Mine.cuda is kernel
    assert Centered.cuda is None
    bm.register_kernel(Mine, "cuda", kernel)  # the same again is no fault
    with pytest.raises(KernelError, match="Mine already has a kernel for 'cuda'"):
        bm.register_kernel(Mine, "cuda", bm.cuda_kernel(lambda out, x, thread, threads: None))


@pytest.mark.parametrize(
    ("device", "make", "message"),
    [
        ("cpu", lambda: lambda out, x: None, r"(?s)the kernel of Wrong for 'cpu' is the function '<lambda>'"),
        ("cuda", lambda: "package.module:name", r"(?s)'cuda' is a str.*bm\.cuda_launches"),
        ("cuda", lambda: bm.kernel(lambda out, x: None), r"(?s)for 'cuda' is one for 'cpu'.*cpu = "),
        ("cpu", lambda: bm.cuda_launches(lambda call: []), "for 'cpu' is one for 'cuda'"),
    ],
)
def test_what_is_no_kernel_of_a_device_is_refused(device: str, make: Callable[[], Any], message: str) -> None:
    with pytest.raises(KernelError, match=message):
        type("Wrong", (Op,), {device: make()})
    with pytest.raises(KernelError, match=message):
        bm.register_kernel(type("Wrong", (Op,), {}), device, make())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bm.kernel("module:name"), "bm.kernel takes a Python function, not 'module:name'"),  # type: ignore[arg-type]  # wrong on purpose
        (lambda: bm.kernel(lambda out, x, start: None), "takes 'start' but not 'stop'"),
        (lambda: bm.kernel(lambda out, x, thread, threads: None), r"takes 'thread', which bm\.kernel"),
        (lambda: bm.cuda_kernel(lambda out, x, thread: None), "takes 'thread' but not 'threads'"),
        (lambda: bm.cuda_kernel(lambda out, x, start, stop: None), r"takes 'start', which bm\.cuda_kernel"),
        (lambda: bm.cpu_launches(follows=0), "an epilogue needs the position"),
    ],
)
def test_a_function_that_cannot_be_a_kernel_is_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(KernelError, match=message):
        make()


def test_a_device_may_be_new_but_no_name_of_ops() -> None:
    with pytest.raises(KernelError, match="'infer' cannot name a device"):
        bm.register_kernel(Centered, "infer", MEANS)


def test_a_device_that_was_refused_a_kernel_is_not_known() -> None:
    before = list(DEVICES)
    for wrong in (lambda out, x: None, bm.kernel(lambda out, x: None)):
        with pytest.raises(KernelError, match="for 'metal' is"):
            bm.register_kernel(Centered, "metal", wrong)  # type: ignore[arg-type]  # wrong on purpose
    assert before == DEVICES and Centered.kernel("metal") is None
