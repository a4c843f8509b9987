"""The matrix product of the CPU against NumPy in float64."""

from __future__ import annotations

import ctypes
import functools
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bigmodel_core.kernels import cache
from bigmodel_core.kernels.cpu import gemm
from bigmodel_core.kernels.cpu.engine import threads
from bigmodel_core.kernels.cpu.engine.launch import PADDING, CpuBuffer
from bigmodel_core.kernels.cpu.engine.table import Table
from bigmodel_core.kernels.matrix_product import MatrixProduct

UNITS_IN_THE_LAST_PLACE = {"float32": 2.0**-24, "float64": 2.0**-53}


@dataclass(frozen=True)
class Case:
    m: int
    n: int
    k: int
    dtype: str = "float32"
    transpose_a: bool = False
    transpose_b: bool = False
    bias: bool = False
    batch: int = 1
    shared_a: bool = False
    shared_b: bool = False

    @property
    def problem(self) -> MatrixProduct:
        m, n, k = self.m, self.n, self.k
        strides = (0 if self.shared_a else m * k, 0 if self.shared_b else k * n)
        return MatrixProduct(m, n, k, self.dtype, self.transpose_a, self.transpose_b, self.batch, *strides)


def poisoned(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A copy that starts on a cache line, with NaN in the padding behind it; and the padding."""
    count, pad = array.size, PADDING // array.itemsize
    raw = np.full(count + pad + 64, np.nan, array.dtype)
    start = -raw.ctypes.data % 64 // array.itemsize
    held = raw[start : start + count].reshape(array.shape)
    held[...] = array
    return held, raw[start + count : start + count + pad]


def buffer(array: np.ndarray | None) -> CpuBuffer | None:
    return None if array is None else CpuBuffer(array.nbytes, array.ctypes.data)


@functools.cache
def operands(case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    random = np.random.default_rng(7)
    a_shape = (case.k, case.m) if case.transpose_a else (case.m, case.k)
    b_shape = (case.n, case.k) if case.transpose_b else (case.k, case.n)
    a = random.standard_normal((1 if case.shared_a else case.batch, *a_shape)).astype(case.dtype)
    b = random.standard_normal((1 if case.shared_b else case.batch, *b_shape)).astype(case.dtype)
    bias = random.standard_normal(case.n).astype(case.dtype) if case.bias else None
    return a, b, bias


def product(case: Case) -> np.ndarray:
    """C as the kernels compute it; checks on the way that nothing behind C was written."""
    a, b, bias = operands(case)
    a, b = poisoned(a)[0], poisoned(b)[0]
    bias = None if bias is None else poisoned(bias)[0]
    c, behind = poisoned(np.full((case.batch, case.m, case.n), np.nan, case.dtype))
    temporary: list[np.ndarray] = []

    def scratch(nbytes: int) -> CpuBuffer:
        temporary.append(poisoned(np.full(nbytes // 8 + 1, np.nan))[0])
        return CpuBuffer(nbytes, temporary[-1].ctypes.data)

    Table(gemm.launches(case.problem, buffer(a), buffer(b), buffer(c), buffer(bias), scratch)).run()
    assert np.isnan(behind).all(), "wrote behind the end of C"
    return c


def assert_right(case: Case) -> None:
    """Each number is within the rounding of its sum: k steps, each relative to the sum of magnitudes."""
    a, b, bias = operands(case)
    a = (a.swapaxes(1, 2) if case.transpose_a else a).astype(np.longdouble)
    b = (b.swapaxes(1, 2) if case.transpose_b else b).astype(np.longdouble)
    expected, magnitude = np.matmul(a, b), np.matmul(abs(a), abs(b))
    if bias is not None:
        expected, magnitude = expected + bias, magnitude + abs(bias)
    bound = (case.k + 2) * UNITS_IN_THE_LAST_PLACE[case.dtype] * magnitude
    found = product(case)
    assert found.shape == (case.batch, case.m, case.n)
    assert (abs(found - expected) <= bound).all()


sizes = st.one_of(st.integers(1, 40), st.sampled_from([47, 48, 64, 65, 97, 128, 130, 200, 257]))
depths = st.one_of(st.integers(0, 40), st.sampled_from([64, 100, 159, 160, 161, 319, 320, 321, 400, 700]))
cases = st.builds(
    Case,
    m=sizes,
    n=sizes,
    k=depths,
    dtype=st.sampled_from(["float32", "float64"]),
    transpose_a=st.booleans(),
    transpose_b=st.booleans(),
    bias=st.booleans(),
)
batches = st.builds(
    Case,
    m=st.integers(1, 30),
    n=st.integers(1, 40),
    k=st.integers(0, 40),
    dtype=st.sampled_from(["float32", "float64"]),
    transpose_a=st.booleans(),
    transpose_b=st.booleans(),
    bias=st.booleans(),
    batch=st.integers(2, 7),
    shared_a=st.booleans(),
    shared_b=st.booleans(),
)

# One of each way through the kernels: B copied (two blocks of k, cut panels), rows of A on the same cache
# lines (A as it is, A transposed), wide single rows, dot products, matrix times vector, several chunks.
PATHS = [
    Case(70, 1030, 330, bias=True),
    Case(25, 1030, 1024),
    Case(1024, 100, 330, transpose_a=True, bias=True),
    Case(40, 300, 1024, transpose_b=True),
    Case(300, 300, 300, transpose_a=True, transpose_b=True, bias=True),
    Case(1, 500, 300, bias=True),
    Case(1, 500, 300, transpose_b=True, bias=True),
    Case(3, 37, 300, transpose_b=True, bias=True),
    Case(500, 1, 300, bias=True),
    Case(500, 1, 300, transpose_a=True),
    Case(500, 1, 300, transpose_a=True, bias=True),
    Case(13, 20, 0, bias=True),
    Case(13, 20, 0, batch=3),
]


@settings(max_examples=150)
@given(cases)
@example(Case(64, 128, 784))
@example(Case(64, 10, 64, transpose_b=True))
def test_product_agrees_with_numpy(case: Case) -> None:
    assert_right(case)


@settings(max_examples=80)
@given(batches)
def test_batch_agrees_with_numpy(case: Case) -> None:
    assert_right(case)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", PATHS, ids=str)
def test_each_path_agrees_with_numpy(case: Case, dtype: str) -> None:
    assert_right(Case(**{**case.__dict__, "dtype": dtype}))


@pytest.mark.parametrize("case", [Case(0, 5, 3), Case(5, 0, 3), Case(5, 5, 3, batch=0)], ids=str)
def test_nothing_is_launched_for_an_empty_result(case: Case) -> None:
    empty = CpuBuffer(0)
    assert gemm.launches(case.problem, empty, empty, empty, None, CpuBuffer) == []


@pytest.mark.parametrize("case", [*PATHS, Case(784, 128, 64, transpose_a=True), Case(64, 128, 784)], ids=str)
def test_same_bits_at_any_number_of_threads(case: Case) -> None:
    before = threads.num_threads()
    try:
        results = []
        for count in (1, 2, 8):
            threads.set_num_threads(count)
            results.append(product(case).tobytes())
    finally:
        threads.set_num_threads(before)
    assert len(set(results)) == 1


@settings(max_examples=100)
@given(st.one_of(cases, batches))
@example(Case(1024, 1024, 1024))
@example(Case(96, 8, 8, batch=4))
def test_chunks_are_tiles_that_cover_the_result(case: Case) -> None:
    """Poison one tile at a time: a chunk writes exactly the numbers of its tile."""
    a, b, bias = (None if x is None else poisoned(x)[0] for x in operands(case))
    c, _ = poisoned(np.full((case.batch * case.m, case.n), np.nan, case.dtype))
    launches = gemm.launches(case.problem, buffer(a), buffer(b), buffer(c), buffer(bias), CpuBuffer)
    last = launches[-1]
    if last.tile is None:
        return
    rows, columns = last.tile
    across, down = -(-case.n // columns), -(-case.batch * case.m // rows)
    assert last.chunks == across * down
    Table(launches).run()
    whole = c.copy()
    context = np.array([x.address if isinstance(x, CpuBuffer) else x for x in last.context], np.int64)
    kind = ctypes.CFUNCTYPE(
        ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_ssize_t
    )
    kernel, slot = kind(last.kernel.address), (ctypes.c_void_p * 1)()
    chunk = last.chunks - 1
    c[...] = np.nan
    kernel(ctypes.addressof(slot), ctypes.addressof(slot), context.ctypes.data, chunk)
    i, j = chunk // across * rows, chunk % across * columns
    expected = np.full_like(c, np.nan)
    expected[i : i + rows, j : j + columns] = whole[i : i + rows, j : j + columns]
    np.testing.assert_array_equal(c, expected)


def test_values_that_are_not_numbers_stay_in_their_row_and_column() -> None:
    case = Case(40, 50, 60)
    a, b, _ = (None if x is None else x.copy() for x in operands(case))
    a[0, 3, 5], b[0, 7, 9] = np.nan, np.inf
    a, b = poisoned(a)[0], poisoned(b)[0]
    c, _ = poisoned(np.zeros((1, 40, 50), np.float32))
    Table(gemm.launches(case.problem, buffer(a), buffer(b), buffer(c), None, CpuBuffer)).run()
    strange = np.zeros((40, 50), bool)
    strange[3, :] = strange[:, 9] = True
    np.testing.assert_array_equal(~np.isfinite(c[0]), strange)


@pytest.mark.parametrize("unit", ["avx2", "generic"])
def test_narrower_vector_units_agree_with_numpy(unit: str) -> None:
    """Other registers, other tiles: the same paths in a process of its own."""
    program = (
        "from test_gemm import PATHS, Case, assert_right\n"
        "for case in [*PATHS, Case(47, 65, 161), Case(29, 37, 19, batch=3, transpose_b=True)]:\n"
        "    for dtype in ('float32', 'float64'):\n"
        "        assert_right(Case(**{**case.__dict__, 'dtype': dtype}))\n"
    )
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = {**os.environ, "BIGMODEL_VECTOR_UNIT": unit, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_one_compilation_serves_all_shapes() -> None:
    assert_right(Case(20, 20, 20))
    before = len(cache.compilations)
    for m, n, k in [(1, 9, 9), (33, 65, 17), (128, 64, 32), (300, 20, 500)]:
        for transpose_a in (False, True):
            for bias in (False, True):
                assert_right(Case(m, n, k, transpose_a=transpose_a, bias=bias))
    assert cache.compilations[before:] == []
