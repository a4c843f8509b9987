"""The rate of the matrix product beside NumPy's BLAS, as `bench/gemm.py` times it."""

from __future__ import annotations

from bench.workload import Run, Target, Workload

WORKLOAD = Workload(
    "gemm",
    "matrix product, float32",
    "GFLOP/s",
    higher_is_better=True,
    targets=(Target(ratio=0.9, against="numpy"),),
    warm_up=(),
)
PRODUCTS = ((64, 784, 128), (512, 512, 512), (1024, 1024, 1024), (768, 128, 512), (12544, 576, 128))
TURNS = 9


def together(run: Run) -> dict[str, dict[str, float]]:
    """Both in one process, taking turns of milliseconds: finer than processes can alternate."""
    from bench import gemm

    shapes = [(*sizes, transposed) for sizes in PRODUCTS for transposed in ("", "A", "B")]
    found: dict[str, dict[str, float]] = {"ours": {}, "numpy": {}}
    for row in gemm.rows(shapes, sorted({1, run.threads}), TURNS if run.steps is None else 1):
        m, k, n, transposed = row.shape
        label = f"{m}x{k}x{n} {transposed and transposed + '^T '}{row.threads} thr."
        found["ours"][label], found["numpy"][label] = row.ours, row.numpy
    return found
