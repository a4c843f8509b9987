"""What ops of every day take, beside PyTorch."""

from __future__ import annotations

from bench.operators import times
from bench.workload import Run, Workload

WORKLOAD = Workload("op_families_arrays", "ops on arrays, float32", "ms")


def _times(peer: str, run: Run) -> dict[str, float]:
    from bench import operators_of_arrays as families

    cases = [
        *families.products(8, 64, 32),
        *families.picking(512, 1000, 64),
        *families.order(512, 1000, 10),
        *families.order(1, 200_000, 100),
        *families.sums(512, 1000),
        *families.moving(512, 1000, (32, 16, 32, 32)),
        *families.scaling((8, 16, 56, 56), 112),
        *families.scaling((8, 3, 512, 512), 224),
        *families.functions(1_000_000),
        *families.noise(1_000_000),
        *families.normalisation(1024, 512, (16, 64, 27, 27)),
        *families.alignments(32, 150, 40, 25),
    ]
    return times(cases, peer, run)


def ours(run: Run) -> dict[str, float]:
    return _times("ours", run)


def torch(run: Run) -> dict[str, float]:
    return _times("torch", run)
