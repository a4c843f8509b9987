"""The rate of each family of ops that read and write more than they multiply."""

from __future__ import annotations

from bench.operators import rates
from bench.workload import Run, Workload

WORKLOAD = Workload("op_families_memory", "ops that read and write, float32", "GB/s", higher_is_better=True)


def _rates(peer: str, run: Run) -> dict[str, float]:
    from bench.operators_of_memory import adam, batch_norm, chain, embedding, pool, softmax

    cases = [
        *pool("max", 64, 28, 28, 64),
        *pool("average", 64, 28, 28, 64),
        *pool("max", 8, 16, 32, 32, 16),
        *batch_norm(32, 32, 16),
        *batch_norm(32, 8, 64),
        *softmax(512, 1000),
        *chain(4096, 256),
        *embedding(2048, 10_000, 128),
        *adam(6272, 1000),
        *adam(128, 64),
    ]
    return rates(cases, peer, run)


def ours(run: Run) -> dict[str, float]:
    return _rates("ours", run)


def torch(run: Run) -> dict[str, float]:
    return _rates("torch", run)


def jax(run: Run) -> dict[str, float]:
    return _rates("jax", run)
