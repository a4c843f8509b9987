"""Which models suit some data, and fit a machine: each is built, tried for a few seconds, and measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bigmodel_core.data.data import Data
from bigmodel_core.errors import BigmodelError, OutOfMemoryError, UsageError
from bigmodel_core.kernels.cpu.engine.threads import num_threads
from bigmodel_core.nn.fitting import input_spec
from bigmodel_core.nn.given import inputs_of
from bigmodel_core.nn.model import Model
from bigmodel_core.nn.quantities import duration
from bigmodel_core.nn.summary import summarise
from bigmodel_core.plan.capacity import capacity
from bigmodel_core.train.callback import Callback
from bigmodel_core.train.evaluation import EVALUATION_BATCH
from bigmodel_core.train.history import is_better_high
from bigmodel_core.train.trainer import Trainer
from bigmodel_core.train.usual import usual_loss

FASTEST = 2e11
"""Operations a second that no core of a CPU exceeds: a model that could not be trained in time at this rate
is not tried. Of GPUs nothing is said before."""
_TESTED = 2048
"""Validation samples that a tried model is measured on, at most."""
_WARM = 3
"""Batches before times count."""


@dataclass(frozen=True)
class Candidate:
    """A model as it was measured.

    Args:
        name: of the model, as `bigmodel train` takes it.
        reason: why it does not suit the data or fit the machine; "" if it does.
        parameters: how many numbers it has.
        memory: bytes of a training step.
        step: seconds of a training step.
        seconds: what the whole training takes, validation included.
        measure, score: what it reached on validation samples after it was tried.
    """

    name: str
    reason: str = ""
    parameters: int | None = None
    memory: int | None = None
    step: float | None = None
    seconds: float | None = None
    measure: str = ""
    score: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The candidate as plain values."""
        return {
            "model": self.name,
            "fits": not self.reason,
            "reason": self.reason or None,
            "parameters": self.parameters,
            "memory": self.memory,
            "step_seconds": self.step,
            "training_seconds": self.seconds,
            "measure": self.measure or None,
            "score": self.score,
        }


def advise(
    data: Data,
    *,
    task: str | None = None,
    memory: int | None = None,
    minutes: float = 10.0,
    epochs: int = 10,
    batch_size: int = 64,
    seconds: float = 2.0,
    models: Sequence[str] | None = None,
    seed: int = 0,
    device: str = "cpu",
    told: Callable[[Candidate], None] | None = None,
) -> list[Candidate]:
    """Models for some data, the best first; those that do not suit it or do not fit come last, with reasons.

    Each model is trained for a few seconds. The order is that of what it then reaches on validation samples,
    which favours models that learn quickly: it is a place to begin, no verdict.

    Args:
        data: what is to be learned.
        task: what it has to be, as in `Data`; that of the data if None.
        memory: bytes that a training step may take; half of what this process may have if None.
        minutes: how long the whole training may take.
        epochs: of that training.
        batch_size: samples of a step.
        seconds: how long each model is tried.
        models: the names of those to consider; all that plugins offer if None.
        seed: for the first parameters and the order of samples.
        device: "cpu" or "cuda".
        told: called with each candidate when it is measured.

    Raises:
        UsageError: the data are for another task.
        UnknownNameError: there is no model of a name.

    >>> import bigmodel_core as bm
    >>> data = bm.datasets.load("digits")
    >>> found = bm.advise(data, models=["logistic-regression", "linear-regression"], seconds=0.05)
    >>> [(one.name, bool(one.reason)) for one in found]
    [('logistic-regression', False), ('linear-regression', True)]
    """
    from bigmodel_core import registry

    if task is not None and task != data.task and not (task == "classification" and data.task == "binary"):
        raise UsageError(
            f"its task is {data.task}, not {task}.",
            where=data.name,
            fix="leave the task out.",
        )
    limits = _Limits(
        capacity() // 2 if memory is None else memory, 60 * minutes, epochs, batch_size, seconds, seed, device
    )
    if data.validation is None:
        data = data.split_validation(0.1)
    classes = [(name, registry.get("model", name)) for name in models or registry.names("model")]
    found = []
    for name, cls in classes:
        found.append(_measured(name, cls, data, limits))
        if told is not None:
            told(found[-1])
    return sorted(found, key=_rank)


@dataclass(frozen=True)
class _Limits:
    """What a training may take, and how models are tried."""

    memory: int
    time: float
    epochs: int
    batch_size: int
    seconds: float
    seed: int
    device: str


def _rank(one: Candidate) -> tuple[Any, ...]:
    if one.reason:
        return (1, one.seconds is None, 0.0, one.name)
    score = 0.0 if one.score is None else one.score
    return (0, one.score is None, -score if is_better_high(one.measure) else score, one.seconds or 0.0)


def _measured(name: str, cls: type[Model], data: Data, limits: _Limits) -> Candidate:
    """What a model takes and reaches, or why it is not to be used."""
    one = Candidate(name)
    try:
        model = cls().fitted(data)
        network = model.build(*map(input_spec, inputs_of(model, data.train.x)), seed=limits.seed)
        facts = summarise(network)
        one = replace(one, parameters=facts.parameters)
        operations = 6 * facts.multiply_adds * len(data.train) * limits.epochs
        least = operations / (FASTEST * num_threads()) if limits.device == "cpu" else 0.0
        if least > limits.time:
            return replace(one, reason=f"training takes {duration(least)} at the very least")
        if 4 * facts.memory.parameters > limits.memory:
            return replace(one, reason="its parameters alone take too much memory")
        return _tried(one, model, data, limits)
    except OutOfMemoryError:
        return replace(one, reason="a step takes too much memory")
    except BigmodelError as error:
        return replace(one, reason=f"it does not take these data: {error.message}")


def _tried(one: Candidate, model: Model, data: Data, limits: _Limits) -> Candidate:
    """Train a model for a few seconds, and measure it."""
    clock = _Clock(limits.seconds)
    loss = usual_loss(model, data.task)
    trainer = Trainer(model, loss, callbacks=[clock], seed=limits.seed, device=limits.device)
    trainer.fit(replace(data, validation=None), limits.epochs, limits.batch_size, verbose=False, workers=1)
    assert data.validation is not None
    part = data.validation.take(np.arange(min(len(data.validation), _TESTED)))
    trainer.evaluate(part.take(np.arange(min(len(part), EVALUATION_BATCH))))  # kernels are compiled now
    began = time.perf_counter()
    reached = trainer.evaluate(part)
    validating = (time.perf_counter() - began) * len(data.validation) / len(part)
    steps = -(-len(data.train) // limits.batch_size)
    step = clock.step
    measure, score = _score(reached)
    one = replace(
        one,
        memory=trainer.step.memory,
        step=step,
        seconds=limits.epochs * (steps * step + validating),
        measure=measure,
        score=score,
    )
    if trainer.step.memory > limits.memory:
        return replace(one, reason="a step takes too much memory")
    if one.seconds is not None and one.seconds > limits.time:
        return replace(one, reason=f"training takes {duration(one.seconds)}")
    return one


def _score(reached: Mapping[str, Any]) -> tuple[str, float | None]:
    """The first metric that is one number, else the loss."""
    numbers = {name: float(value) for name, value in reached.items() if isinstance(value, (int, float))}
    name = next((name for name in numbers if name != "loss"), "loss")
    return f"val_{name}", numbers.get(name)


class _Clock(Callback):
    """Ends training after some seconds, the first batches apart, and notes how long a step takes."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.began = time.perf_counter()
        self.ends: list[float] = []
        self.starts: set[int] = set()

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        """Between epochs other things take time."""
        self.starts.add(len(self.ends))

    def on_batch_end(self, trainer: Trainer, step: int, logs: Mapping[str, Any]) -> None:
        """Note the time, and end training when it is over."""
        self.ends.append(time.perf_counter())
        if len(self.ends) == _WARM:
            self.began = self.ends[-1]
        if len(self.ends) > _WARM + 1 and self.ends[-1] - self.began > self.seconds:
            trainer.stop = True

    @property
    def step(self) -> float:
        """Seconds of a step: the mean of those that count, the slowest twentieth left out."""
        times = sorted(self._times())
        if not times:
            return max(self.ends[-1] - self.began, 1e-6) if self.ends else 0.0
        return float(np.mean(times[: max(1, len(times) * 19 // 20)]))

    def _times(self) -> Iterator[float]:
        for place in range(1, len(self.ends)):
            if place not in self.starts and (place > _WARM or len(self.ends) <= _WARM + 1):
                yield self.ends[place] - self.ends[place - 1]
