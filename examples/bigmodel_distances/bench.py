"""Times the op beside the composition that it replaces: `python bench.py`.

Both run in one process, in turns; a figure is the median of the rounds, in milliseconds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import bigmodel_core as bm
from bigmodel_distances import ManhattanOp, Prototypes, composed

SIZES = [(64, 784, 10), (64, 64, 64), (256, 128, 256), (1024, 256, 512)]
"""Rows, features, points."""


@dataclass(frozen=True)
class Composed(Prototypes):
    """The same layer, of ops that exist."""

    def distances(self, x: bm.Value, points: bm.Value) -> bm.Value:
        return composed(x, points)


def medians(calls: list[Callable[[], Any]], rounds: int) -> list[float]:
    """The milliseconds of each call."""
    taken: list[list[float]] = [[] for _ in calls]
    for call in calls:  # compiles
        call()
    for _ in range(rounds):
        for times, call in zip(taken, calls, strict=True):
            start = time.perf_counter()
            call()
            times.append(1e3 * (time.perf_counter() - start))
    return [statistics.median(times) for times in taken]


def main(sizes: list[tuple[int, int, int]] = SIZES, rounds: int = 15) -> None:
    """Print a table in Markdown."""
    print("| rows, features, points | | composed | op | ratio |\n| --- | --- | --- | --- | --- |")
    for rows, features, count in sizes:
        random = np.random.default_rng(0)
        x, points, y = (
            random.standard_normal(shape).astype("float32")
            for shape in ((rows, features), (count, features), (rows, count))
        )
        functions = [bm.function(composed), bm.function(lambda x, points: ManhattanOp()(x, points))]
        steps = [bm.compile(kind(count), "mean_squared_error", "sgd") for kind in (Composed, Prototypes)]
        for name, calls in {
            "distances": [partial(call, x, points) for call in functions],
            "training step": [partial(step, x, y) for step in steps],
        }.items():
            before, after = medians(calls, rounds)
            size = f"{rows}, {features}, {count}"
            print(f"| {size} | {name} | {before:.3f} | {after:.3f} | {before / after:.1f} |", flush=True)


if __name__ == "__main__":
    main()
