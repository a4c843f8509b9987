"""`bm.cuda_kernel`: kernels by people who extend bigmodel."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import exp
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import KernelError
from bigmodel_core.graph import Graph, Op
from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels.cuda.engine import launch
from bigmodel_core.kernels.cuda.engine.launch import CudaLaunch
from bigmodel_core.kernels.cuda.engine.runtime import cuda
from bigmodel_core.kernels.cuda.engine.simulator import share_arrays_of_blocks
from bigmodel_core.plan import Program, Variables, device_named
from bigmodel_core.testing import compute


def squash(x):
    return 1 / (1 + exp(-x))


def scale_rows(out, x, factor, columns, thread, threads):
    for i in range(thread, out.shape[0], threads):
        for j in range(columns):
            out[i, j] = squash(x[i, j]) * factor


def report_negative(out, x, thread, threads, status):
    for i in range(thread, x.shape[0], threads):
        out[i] = x[i]
        if x[i] < 0:
            status[0] = 77


@dataclass(frozen=True)
class ScaleRows(Op):
    factor: float
    cuda = bm.cuda_kernel(
        scale_rows,
        extras=lambda op, inputs, outputs: {"columns": inputs[0].sizes[1]},
        items=lambda op, inputs, outputs: inputs[0].sizes[0],
    )

    def infer(self, x: Spec) -> Spec:
        return x


@dataclass(frozen=True)
class ReportNegative(Op):
    cuda = bm.cuda_kernel(report_negative)

    def infer(self, x: Spec) -> Spec:
        return x


@dataclass(frozen=True)
class Unknown(Op):
    cuda = bm.cuda_kernel(scale_rows)

    def infer(self, x: Spec) -> Spec:
        return x


def run(op: Op, x: np.ndarray) -> Any:
    graph = Graph()
    value = op(graph.input("x", Spec(("N", *x.shape[1:]), x.dtype.name)))
    return Program(graph, [value], device="cuda").run(Variables(device_named("cuda")), {"x": x})[0]


def test_attributes_extras_and_helper_functions() -> None:
    x = np.random.default_rng(0).standard_normal((11, 3)).astype("float32")
    found = run(ScaleRows(2.5), x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, 2.5 / (1 + np.exp(-x.astype("float64"))), rtol=1e-6)


def test_nothing_overflows_loudly() -> None:
    np.testing.assert_array_equal(run(ScaleRows(1.0), np.full((2, 2), -1e6, "float32")), np.zeros((2, 2)))


def test_a_status_stops_the_run() -> None:
    assert run(ReportNegative(), np.array([1.0, 2.0], "float32")).tolist() == [1, 2]
    with pytest.raises(KernelError, match="status 77"):
        run(ReportNegative(), np.array([1.0, -2.0], "float32"))


def test_unknown_arguments_are_named() -> None:
    with pytest.raises(KernelError, match="takes 'factor', which is not an attribute of Unknown"):
        run(Unknown(), np.ones((2, 2), "float32"))


def test_statuses_of_several_steps_do_not_mix() -> None:
    graph = Graph()
    x, y = (graph.input(name, Spec((3,))) for name in ("x", "y"))
    with graph.scope("first", "A"):
        a = ReportNegative()(x)
    with graph.scope("second", "B"):
        b = ReportNegative()(y)
    program, variables = Program(graph, [a, b], device="cuda"), Variables(device_named("cuda"))
    good, bad = np.ones(3, "float32"), -np.ones(3, "float32")
    with pytest.raises(KernelError, match=r"second \(B\)"):
        program.run(variables, {"x": good, "y": bad})
    with pytest.raises(KernelError, match=r"first \(A\)"):
        program.run(variables, {"x": bad, "y": good})
    program.run(variables, {"x": good, "y": good})


@pytest.mark.simulator
@pytest.mark.parametrize("threads", [launch.DEVICE.threads, launch.SIMULATOR.threads])
def test_blocks_have_as_many_threads_as_authors_are_told(threads: int) -> None:
    assert threads <= 256 and threads & (threads - 1) == 0
    assert "a power of two of threads, 256 at most" in " ".join((bm.cuda_kernel.__doc__ or "").split())


def test_threads_of_a_simulated_block_share_one_array() -> None:
    from numba.cuda.simulator.kernelapi import FakeCUDAShared

    share_arrays_of_blocks()
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            for _ in range(100):
                block, together = FakeCUDAShared(0), threading.Barrier(8)

                def ask(_: int, block: Any = block, together: threading.Barrier = together) -> Any:
                    together.wait()
                    return block.array(4, np.float32)

                arrays = list(pool.map(ask, range(8)))
                assert all(array is arrays[0] for array in arrays)
    finally:
        sys.setswitchinterval(before)


@dataclass(frozen=True)
class Swish(Op):
    beta: float
    cpu, cuda = bm.elementwise(lambda x, beta: x * squash(beta * x) if x > -90 else 0)


def test_derived_gradients_are_those_of_the_cpu() -> None:
    x = np.array([[-200.0, -3.0], [0.5, 80.0]], "float32")

    def slopes(x: bm.Value) -> tuple[bm.Value, bm.Value]:
        first = bm.ops.gradients(bm.ops.sum(Swish(1.5)(x)), x)
        return first, bm.ops.gradients(bm.ops.sum(first * x), x)

    for found, expected in zip(compute(slopes, x, device="cuda"), compute(slopes, x), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        assert np.isfinite(expected).all()


@pytest.mark.simulator
@pytest.mark.parametrize("failing", [False, True])
def test_threads_of_a_simulated_block_meet_without_those_that_have_ended(failing: bool) -> None:
    def meet(out):
        place = cuda.threadIdx.x
        if failing and place == 0:
            raise ValueError("not this one")
        for turn in range(4 * place):  # the first ends at once
            out[place] = turn
            cuda.syncthreads()

    out = np.full(3, -1)
    launch = CudaLaunch(meet, [out], (1,), 3)
    if failing:
        with pytest.raises(KernelError, match=rf"{__file__}, line \d+ raised ValueError: not this one"):
            launch.bound(0)()
    else:
        launch.bound(0)()
        assert out.tolist() == [-1, 3, 7]
