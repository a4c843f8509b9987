"""What a training step costs as one size grows: the batch, the width of the layers, the length of sequences.

The figures of a whole row come from one process, smallest size first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench import dense, sequences
from bench.workload import Run, Step, Target, Workload, module

WORKLOAD = Workload("cost_against_size", "training step", "ms")
PEERS = ("ours", "torch", "jax")
SECONDS = 1.0


@dataclass(frozen=True)
class Row:
    """What grows.

    Args:
        size: its name.
        sizes: what is measured.
        step: makes the step of a size.
        samples: how many samples a step of a size takes.
    """

    size: str
    sizes: tuple[int, ...]
    step: Callable[[int, str, Run], Step]
    samples: Callable[[int], int]


def _dense(width: int, peer: str, run: Run) -> Step:
    return dense.step(dense.Task((width, width, width, 10), 64), peer, run)


def _lstm(steps: int, peer: str, run: Run) -> Step:
    return sequences.step(sequences.Task("LSTM", 32, steps, 32, 128), peer, run)


BATCHES = (1, 4, 16, 64, 256, 512)
ROWS: Mapping[str, Row] = {
    "mlp": Row("batch", BATCHES, lambda n, peer, run: module("mlp_b64").step(peer, run, n), lambda n: n),
    "lenet": Row("batch", BATCHES, lambda n, peer, run: module("lenet_b64").step(peer, run, n), lambda n: n),
    "dense": Row("width", (16, 32, 64, 128, 256, 512), _dense, lambda _: 64),
    "lstm": Row("length", (8, 32, 128, 512), _lstm, lambda _: 32),
}


def rows() -> dict[str, tuple[Target, ...]]:
    return dict.fromkeys(ROWS, ())


def measure(row: str, peer: str, run: Run) -> dict[str, float]:
    chosen, found = ROWS[row], {}
    for size in chosen.sizes:
        taken = run.median_step(chosen.step(size, peer, run), seconds=SECONDS)
        found[f"{chosen.size} {size}"] = taken
        if chosen.samples(size) > 1:
            found[f"{chosen.size} {size}, a sample"] = taken / chosen.samples(size)
    return found
