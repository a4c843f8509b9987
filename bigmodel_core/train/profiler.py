"""What `Trainer.fit(profile=True)` measures while it trains: the parts of a step, some of them by kernel."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np

from bigmodel_core.errors import DeviceError
from bigmodel_core.plan.clock import MOST_RUNS, Clock, undisturbed
from bigmodel_core.train.profile import DATA, KERNELS, PYTHON, REST, Profile, kernels_of

FIRST = 3
"""Steps that are not measured: they plan and compile."""
EVERY = 4
"""One step in so many is timed kernel by kernel."""


class Profiler:
    """Measures the batches of a training; what it trains is the same.

    Args:
        batch_size: the samples of a step that counts; None if all do.
        accumulate: batches of an update, whose parts are measured together.
        device: where the model runs.

    Raises:
        DeviceError: it is not the CPU.
    """

    def __init__(self, batch_size: int | None, accumulate: int, device: str) -> None:
        if device != "cpu":
            raise DeviceError(
                f"the kernels of '{device}' are not timed.",
                fix="profile on the CPU, or use NVIDIA's nsys around the training.",
                shell="leave --profile out, or run the training under NVIDIA's nsys.",
            )
        self._size, self._window, self._clock = batch_size, accumulate, Clock()
        self._seen = self._timed = 0
        self._waits: list[float] = []
        self._steps: list[float] = []
        self._rests: list[float] = []
        self._step: float | None = None
        """The seconds of the last step; None if it does not count."""

    def reading(self, batches: Iterable[Any]) -> Iterator[Any]:
        """The batches, with the time that they make the training wait."""
        source, clock = iter(batches), time.perf_counter
        while True:
            begun = clock()
            try:
                batch = next(source)
            except StopIteration:
                return
            came = clock()
            yield batch
            if self._step is not None:
                self._waits.append(came - begun)
                self._rests.append(clock() - came - self._step)

    def taking(self, take: Callable[..., float | None]) -> Callable[..., float | None]:
        """What takes a batch, measured."""

        def measured(batch: Any, count: int, number: int, *, closes: bool) -> float | None:
            self._step = None
            if self._size is not None and count != self._size:
                return take(batch, count, number, closes=closes)
            turn = self._seen - FIRST * self._window
            self._seen += 1
            is_timed = turn >= 0 and turn // self._window % EVERY == 0 and self._timed < MOST_RUNS
            with self._clock.running() if is_timed else nullcontext():
                begun = time.perf_counter()
                loss = take(batch, count, number, closes=closes)
                seconds = time.perf_counter() - begun
            if turn >= 0:
                self._step = seconds
                self._timed += is_timed
                if not is_timed:
                    self._steps.append(seconds)
            return loss

        return measured

    def found(self) -> Profile | None:
        """What was measured; None if there were too few steps."""
        if not self._steps or not self._timed:
            return None
        steps = np.asarray(self._steps)
        # The batches of an update differ: the shortest are those that update nothing.
        step = float(steps.mean() if self._window > 1 else steps[undisturbed(steps)].mean())
        kernels = kernels_of(self._clock, self._timed)
        inside = sum(kernel.seconds for kernel in kernels)
        if inside > step:  # the clock, in loops of short kernels above all
            kernels = tuple(replace(kernel, seconds=kernel.seconds * step / inside) for kernel in kernels)
            inside = step
        rests = np.asarray(self._rests)
        parts = {
            DATA: float(np.mean(self._waits)),
            KERNELS: inside,
            PYTHON: step - inside,
            REST: max(float(rests.mean()), 0.0),
        }
        return Profile(len(self._waits), self._timed, self._size, parts, kernels)
