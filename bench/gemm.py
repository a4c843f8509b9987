"""The matrix product beside NumPy's: `python -m bench.gemm` prints rates and their ratio.

Ours is timed as a plan runs it, as rows of a table; NumPy's as a call from Python with `out=`, so that
neither allocates. Rounds alternate between the two, and each side's turn starts with calls that do not count,
until its threads are awake and on cores of their own. After each of NumPy's turns the bench sleeps: its BLAS
keeps its own threads spinning for some 25 milliseconds, on the cores that ours would then have to share.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np

from bigmodel_core.kernels.cpu import gemm
from bigmodel_core.kernels.cpu.engine import threads
from bigmodel_core.kernels.cpu.engine.launch import CpuBuffer
from bigmodel_core.kernels.cpu.engine.table import Table
from bigmodel_core.kernels.matrix_product import MatrixProduct
from bigmodel_core.plan.cpu import CPU, HostArray

Shape = tuple[int, int, int, str]
"""Rows, depth and columns of the product, and which operands are stored transposed: "", "A", "B"."""

SQUARES = ((512, 512, 512), (1024, 1024, 1024), (768, 128, 512), (12544, 576, 128))
SHAPES: tuple[Shape, ...] = (
    (64, 784, 128, ""),  # layers of mlp, forward, then weight and input gradients
    (784, 64, 128, "A"),
    (64, 128, 784, "B"),
    (64, 128, 64, ""),
    (128, 64, 64, "A"),
    (64, 64, 128, "B"),
    (64, 64, 10, ""),
    (64, 64, 10, "A"),
    (64, 10, 64, "B"),
    (64, 6272, 1000, ""),  # the large dense layer of a convolutional network
    (6272, 64, 1000, "A"),
    (64, 1000, 6272, "B"),
    *((*shape, transposed) for shape in SQUARES for transposed in ("", "A", "B")),
)

ROUNDS = 9
BURST = 0.006
"""Seconds of one side's turn in a round."""
WARM = 0.02
"""Seconds of calls before them that do not count."""
SPIN = 0.2
"""Seconds after which the threads of NumPy's BLAS sleep."""


@dataclass(frozen=True)
class Row:
    """One line of the table: billions of floating-point operations a second."""

    shape: Shape
    threads: int
    ours: float
    numpy: float

    @property
    def ratio(self) -> float:
        return self.ours / self.numpy

    def __str__(self) -> str:
        m, k, n, transposed = self.shape
        name = f"{m}x{k}x{n}" + (f" {transposed}^T" if transposed else "")
        return f"{name:<20} {self.threads:>7} {self.ours:>9.1f} {self.numpy:>9.1f} {self.ratio:>8.2f}"


def rows(
    shapes: Iterable[Shape] = SHAPES, counts: Iterable[int] = (1, 2), rounds: int = ROUNDS
) -> Iterator[Row]:
    """Time all shapes at all thread counts; each row is ready as soon as it is measured.

    Args:
        shapes: which products.
        counts: how many threads both sides use.
        rounds: how often the two sides take turns.
    """
    before = threads.num_threads()
    try:
        for shape in shapes:
            for count in counts:
                threads.set_num_threads(count)
                with _blas_threads(count):
                    yield _compare(shape, count, rounds)
    finally:
        threads.set_num_threads(before)


def main() -> None:
    """Print the table, and the shapes at which ours stays below 0.9 of NumPy's."""
    print(f"{'product':<20} {'threads':>7} {'ours':>9} {'NumPy':>9} {'ratio':>8}   GFLOP/s, float32")
    slow = []
    for row in rows():
        print(row, flush=True)
        if row.ratio < 0.9:
            slow.append(row)
    print(f"below 0.9: {len(slow)}" if slow else "all at 0.9 or more of NumPy's rate")


def _compare(shape: Shape, count: int, rounds: int) -> Row:
    m, k, n, transposed = shape
    random = np.random.default_rng(0)
    a = CPU.allocate(random.standard_normal((k, m) if transposed == "A" else (m, k), np.float32))
    b = CPU.allocate(random.standard_normal((n, k) if transposed == "B" else (k, n), np.float32))
    c, out = HostArray((m, n), "float32"), HostArray((m, n), "float32")
    scratch: list[HostArray] = []

    def temporary(nbytes: int) -> CpuBuffer:
        scratch.append(HostArray((nbytes,), "uint8"))
        return CpuBuffer(nbytes, scratch[-1].address)

    problem = MatrixProduct(m, n, k, "float32", transposed == "A", transposed == "B")
    left, right, result = (CpuBuffer(memory.array.nbytes, memory.address) for memory in (a, b, c))
    operations = 2 * m * k * n
    repeat = math.ceil(200_000 / operations * 10)
    table = Table(gemm.launches(problem, left, right, result, None, temporary), repeat)
    x = a.array.T if transposed == "A" else a.array
    y = b.array.T if transposed == "B" else b.array

    def theirs() -> None:
        np.matmul(x, y, out=out.array)

    table.run()
    theirs()
    np.testing.assert_allclose(c.array, out.array, atol=1e-5 * k)
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        time.sleep(SPIN if count > 1 else 0)
        times[0].append(_burst(table.run) / repeat)
        times[1].append(_burst(theirs))
    ours, numpy = (operations / statistics.median(each) / 1e9 for each in times)
    return Row(shape, count, ours, numpy)


def _burst(call: Callable[[], None]) -> float:
    """Seconds a call takes: the median of one turn."""
    begin = time.perf_counter()
    while time.perf_counter() < begin + WARM:
        call()
    taken: list[float] = []
    begin = time.perf_counter()
    while not taken or time.perf_counter() < begin + BURST:
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def _blas_threads(count: int) -> AbstractContextManager[object]:
    import threadpoolctl

    limit: AbstractContextManager[object] = threadpoolctl.threadpool_limits(count)
    return limit


if __name__ == "__main__":
    main()
