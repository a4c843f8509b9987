"""What a model costs where it is deployed: its ONNX file, and the time ONNX Runtime takes."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bigmodel_core.exporting.export import export, reader_of
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.summary import summarise

SMALL, LARGE = 1, 64
"""The sizes of the batches that are timed."""
ROUNDS, SECONDS = 10, 0.5
"""How often each is timed at least, and for how long all of them are; the fastest call counts, which what
else runs on the machine disturbed least."""


@dataclass(frozen=True)
class Cost:
    """What a model costs.

    Args:
        file: bytes of its ONNX file.
        compressed: bytes of that file after deflate, as in a zip archive.
        parameters: how many numbers it has.
        zeros: how many of them are zero.
        multiply_adds: of one sample.
        one, many: seconds that a thread of ONNX Runtime takes for a batch of 1, and of 64.
    """

    file: int
    compressed: int
    parameters: int
    zeros: int
    multiply_adds: int
    one: float
    many: float

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON-able values."""
        return asdict(self)


def costs(networks: Sequence[Network], inputs: Sequence[np.ndarray], folder: Path) -> list[Cost]:
    """What some models cost, timed in turns on one thread.

    Args:
        networks: the models.
        inputs: a batch of samples, as large as `LARGE` if there are as many.
        folder: where files may be written.

    Raises:
        ExportError: a model cannot be exported.
    """
    files = [folder / f"model_{number}.onnx" for number in range(len(networks))]
    sizes = [export(network, file).size for network, file in zip(networks, files, strict=True)]
    sessions = [reader_of(file, "session").session(file, threads=1) for file in files]
    inputs = [
        np.resize(array, (LARGE, *array.shape[1:])) if len(array) < LARGE else array for array in inputs
    ]
    batches = [[array[:count] for array in inputs] for count in (SMALL, LARGE)]
    times = [_seconds([partial(session.run, *batch) for session in sessions]) for batch in batches]
    found = []
    for network, file, size, one, many in zip(networks, files, sizes, *times, strict=True):
        state, kept = network.state(), summarise(network, 1)
        found.append(
            Cost(
                size,
                sum(len(zlib.compress(part.read_bytes(), 6)) for part in (file, *_beside(file))),
                sum(array.size for array in state.values()),
                sum(int((array == 0).sum()) for array in state.values() if array.ndim > 1),
                kept.multiply_adds,
                one,
                many,
            )
        )
    return found


def _beside(file: Path) -> list[Path]:
    """What belongs to a file besides it."""
    return sorted(path for path in file.parent.glob(f"{file.name}*") if path != file)


def _seconds(calls: Sequence[Callable[[], Any]]) -> list[float]:
    """The time that each call takes, in turns."""
    best = [float("inf")] * len(calls)
    end, rounds = time.perf_counter() + SECONDS, 0
    while rounds < ROUNDS or time.perf_counter() < end:
        for number, call in enumerate(calls):
            began = time.perf_counter()
            call()
            best[number] = min(best[number], time.perf_counter() - began)
        rounds += 1
    return best
