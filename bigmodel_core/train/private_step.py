"""The step of DP-SGD: gradients clipped sample by sample, noise on their sum, a fixed divisor (Abadi et al.,
2016)."""

from __future__ import annotations

import queue
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from bigmodel_core import ops
from bigmodel_core.accounting.privacy import Ledger, Privacy
from bigmodel_core.errors import NumericsError, UsageError
from bigmodel_core.graph import Graph
from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels.cpu.engine.threads import alone, num_threads
from bigmodel_core.ops.random import SEED, STEP
from bigmodel_core.plan import Program
from bigmodel_core.train.clipped_sums import clipped_sums
from bigmodel_core.train.objective import samples_in
from bigmodel_core.train.private_sampling import Sampling
from bigmodel_core.train.step import TrainStep
from bigmodel_core.train.step_programs import GRADIENT, StepProgram
from bigmodel_core.train.updates import fitting_gradients

NOISE, BATCH = "~noise", "~batch"
"""The graph inputs that hold the standard deviation of the noise, and what the sum is divided by."""
PIECE = 64
"""Samples of which a thread makes a sum at a time: the same for any number of threads, and so are the
bits."""


class PrivateStep(TrainStep):
    """A training step with differential privacy; `Trainer` makes it where it is given `privacy`.

    Args:
        model, loss, optimizer, more: as for `TrainStep`.
        privacy: how private.

    Attributes:
        ledger: what the steps have spent.
        noise: the standard deviation of the noise, in units of the largest norm.
        rate: the probability with which a sample is in a batch.
        batch: the expected size of a batch, which the noisy sum is divided by, whatever the size is.
    """

    def __init__(self, model: Any, loss: Any, optimizer: Any, *, privacy: Privacy, **more: Any) -> None:
        if not isinstance(privacy, Privacy):
            raise UsageError(
                f"privacy is a {type(privacy).__name__}, expected a Privacy.",
                fix="pass privacy=bm.Privacy(epsilon=3.0).",
            )
        super().__init__(model, loss, optimizer, **more)
        if self.teacher is not None:
            raise UsageError(
                "a teacher tells of the samples that it was trained on, which privacy does not account for.",
                fix="leave out the teacher, or privacy.",
            )
        self.privacy, self.ledger = privacy, Ledger(privacy.delta)
        self.noise, self.rate, self.batch = 0.0, 0.0, 0.0
        self._made: tuple[Any, ...] = ()
        self._clipping: list[Program] = []
        self._noisy: StepProgram | None = None

    def draw_as(self, sampling: Sampling) -> None:
        """Go on with batches that are drawn like this."""
        self.noise, self.rate, self.batch = sampling.noise, sampling.rate, float(sampling.batch)

    def _make(self, accumulates: bool) -> None:
        if accumulates:
            raise UsageError(
                "gradients of several batches are not added up with privacy.",
                fix="leave accumulate out: a large batch needs the memory of one sample.",
                shell="leave --accumulate out: a large --batch-size needs the memory of one sample.",
            )
        now = (self.programs, self.programs.goal, self.programs.loss)
        if self._made and all(a is b for a, b in zip(self._made, now, strict=True)):
            return
        made = clipped_sums(self.programs, self.privacy.clip)
        count = num_threads() if self.programs.network.device.name == "cpu" else 1
        self._clipping = [made, *(made.fork() for _ in range(count - 1))]
        self._noisy, self._made = self._second_half(), now

    def _second_half(self) -> StepProgram:
        """Noise on the sums of gradients, and the update with what that makes of them."""
        graph, programs = Graph(), self.programs
        scale, batch = (graph.input(name, Spec((), "float64")) for name in (NOISE, BATCH))
        found = {}
        for path, spec in programs.groups.trained.items():
            total = graph.input(GRADIENT + path, spec)
            with graph.active(), graph.scope(f"~privacy/{path}", ""):
                drawn = ops.normal(spec.sizes, dtype="float64") * scale
                found[path] = ((total.astype("float64") + drawn) / batch).astype(spec.dtype)
        return programs.second_half(graph, found)

    def __call__(self, x: Any, y: Any, weight: Any = None) -> float:
        """Run one step on a Poisson sample; returns its mean loss, which has no noise and is not private.

        An empty sample is a step, too: noise alone.

        Raises:
            ShapeError, DtypeError, DataError: the batch does not fit; nothing was changed.
            NumericsError: the loss, a gradient or an update is NaN or infinite; nothing was changed.
        """
        trained = self.programs.groups.trained
        sums = {path: np.zeros(spec.sizes, spec.dtype) for path, spec in trained.items()}
        losses = np.zeros(1 + len(self.programs.shares))
        count = len(x[0] if isinstance(x, tuple) else x)
        if count:
            given = self._checked_batch(x, y, weight)
            count = samples_in(given)
            for found in self._pieces(given, count):
                losses += [array.sum(dtype="float64") for array in found[: len(losses)]]
                for path, array in zip(trained, found[len(losses) :], strict=True):
                    sums[path] += array
        self._apply_noisy(sums)
        self.ledger.add(self.noise, self.rate)
        self.losses = dict(zip(self.programs.shares, losses[1:] / max(count, 1), strict=True))
        self.counted = {}
        return float(losses[0]) / max(count, 1)

    def _pieces(self, given: Mapping[str, Any], count: int) -> Sequence[list[np.ndarray]]:
        """The results of `clipped_sums` for pieces of the batch, in their order."""
        free: queue.SimpleQueue[Program] = queue.SimpleQueue()
        variables = self.variables
        assert variables is not None
        for program in self._clipping:
            free.put(program)
        starts = range(0, count, PIECE)
        first, self.draws = self.draws + 1, self.draws + len(starts)

        def found(number: int, start: int) -> list[np.ndarray]:
            piece: dict[str, Any] = {
                name: np.asarray(array)[start : start + PIECE] if np.ndim(array) else array
                for name, array in given.items()
            }
            ones = {name: array[:, None] if np.ndim(array) else array for name, array in piece.items()}
            ones.update({SEED: self.seed, STEP: first + number})
            program = free.get()
            try:
                with alone():
                    return program.run(variables, ones)
            except NumericsError as error:
                self._run("gradients", piece, first + number)  # says in which layer it began, if it can
                raise error
            finally:
                free.put(program)

        tasks = [partial(found, number, start) for number, start in enumerate(starts)]
        if min(len(tasks), len(self._clipping)) == 1:
            return [task() for task in tasks]
        with ThreadPoolExecutor(len(self._clipping), thread_name_prefix="bigmodel-private") as pool:
            return list(pool.map(lambda task: task(), tasks))

    def _apply_noisy(self, sums: Mapping[str, np.ndarray]) -> None:
        assert self._noisy is not None and self.variables is not None
        named = fitting_gradients(sums, self.programs.groups.trained)
        given: dict[str, Any] = {GRADIENT + path: array for path, array in named.items()}
        self._give_update(given)
        given.update({SEED: self.seed, NOISE: self.noise * self.privacy.clip, BATCH: self.batch})
        try:
            self._noisy.program.run(self.variables, given)
        except NumericsError as error:
            raise self._said(error, self._noisy.watched, given) from None
        self.steps += 1
