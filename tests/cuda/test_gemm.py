"""The matrix product's kernel at tiles of every size, against NumPy in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bigmodel_core.kernels.cuda import gemm
from bigmodel_core.kernels.cuda.engine import runtime
from bigmodel_core.kernels.cuda.engine.launch import CudaBuffer
from bigmodel_core.kernels.matrix_product import MatrixProduct

RNG = np.random.default_rng(3)


def product(problem: MatrixProduct, tile: gemm.Tile, has_bias: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """What the kernel computes, and what NumPy computes in float64."""
    p, cuda = problem, runtime.numba_cuda()
    a = RNG.standard_normal((p.batch, p.k, p.m) if p.transpose_a else (p.batch, p.m, p.k)).astype(p.dtype)
    b = RNG.standard_normal((p.batch, p.n, p.k) if p.transpose_b else (p.batch, p.k, p.n)).astype(p.dtype)
    bias = RNG.standard_normal(p.n).astype(p.dtype)
    if not p.stride_a:
        a = a[:1]
    if not p.stride_b:
        b = b[:1]

    def buffer(array: np.ndarray) -> CudaBuffer:
        return CudaBuffer(array.nbytes, cuda.to_device(np.ascontiguousarray(array).reshape(-1)))

    c = buffer(np.full(p.batch * p.m * p.n, np.nan, p.dtype))
    stream: Any = cuda.stream()
    for launch in gemm.launches(p, buffer(a), buffer(b), c, buffer(bias) if has_bias else None, tile):
        launch.bound(stream)()
    left = np.swapaxes(a, 1, 2) if p.transpose_a else a
    right = np.swapaxes(b, 1, 2) if p.transpose_b else b
    expected = left.astype("float64") @ right.astype("float64") + (bias if has_bias else 0)
    return c.memory.copy_to_host().reshape(p.batch, p.m, p.n), np.broadcast_to(expected, (p.batch, p.m, p.n))


@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("has_bias", [False, True])
def test_all_forms_at_sizes_that_no_tile_divides(
    transpose_a: bool, transpose_b: bool, has_bias: bool
) -> None:
    found, expected = product(
        MatrixProduct(13, 9, 7, "float32", transpose_a, transpose_b), gemm.SIMULATOR, has_bias
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("m", "n", "k"), [(1, 1, 1), (1, 17, 5), (17, 1, 5), (8, 8, 4), (3, 3, 0)])
def test_narrow_and_empty_sizes(m: int, n: int, k: int) -> None:
    found, expected = product(MatrixProduct(m, n, k, "float32"), gemm.SIMULATOR)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("stride_a", "stride_b"), [(35, 15), (0, 15), (35, 0)])
def test_a_batch_may_share_a_side(stride_a: int, stride_b: int) -> None:
    found, expected = product(
        MatrixProduct(7, 3, 5, "float32", batch=4, stride_a=stride_a, stride_b=stride_b), gemm.SIMULATOR
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_float64_is_exact() -> None:
    found, expected = product(MatrixProduct(9, 10, 11, "float64"), gemm.SIMULATOR)
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("tile", [gemm.SMALL, gemm.MEDIUM, gemm.LARGE], ids=["small", "medium", "large"])
def test_the_tiles_of_real_devices(tile: gemm.Tile) -> None:
    """Sizes just beyond one tile's rows, within its columns: two blocks, guarded on both sides."""
    found, expected = product(MatrixProduct(tile.m + 1, tile.n - 1, tile.k + 1, "float32", True, True), tile)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_small_problems_take_small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "simulated", lambda: False)
    assert gemm.choose(MatrixProduct(64, 128, 784, "float32")) is gemm.SMALL
    assert gemm.choose(MatrixProduct(4096, 4096, 64, "float32")) is gemm.LARGE
    assert gemm.choose(MatrixProduct(4096, 4096, 64, "float64")) is gemm.MEDIUM


def test_parts_of_a_long_sum_are_added_up_by_themselves() -> None:
    """One after the other, ones vanish beside 2^24; the sum of eight of them does not."""
    cuda, depth = runtime.numba_cuda(), gemm.SIMULATOR.depth
    a = np.ones((1, 4 * depth), "float32")
    a[0, 0], a[0, 1:depth] = 2**24, 0
    ones = np.ones(4 * depth, "float32")
    c = CudaBuffer(4, cuda.to_device(np.full(1, np.nan, "float32")))
    left, right = (CudaBuffer(array.nbytes, cuda.to_device(array.reshape(-1))) for array in (a, ones))
    stream: Any = cuda.stream()
    for launch in gemm.launches(
        MatrixProduct(1, 1, 4 * depth, "float32"), left, right, c, None, gemm.SIMULATOR
    ):
        launch.bound(stream)()
    assert c.memory.copy_to_host()[0] == 2**24 + 3 * depth
