"""A batch size for this machine: steps of growing batches are measured, in time and memory."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bigmodel_core.errors import OutOfMemoryError, UsageError
from bigmodel_core.nn.buildable import clone
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.optimizer import Optimizer
from bigmodel_core.plan.capacity import capacity
from bigmodel_core.registry.config import make
from bigmodel_core.train.prepare import prepared
from bigmodel_core.train.trainer import Trainer

FIRST = 8
ENOUGH = 0.95
"""The suggested size trains this share of the samples a second that the fastest one does: smaller batches
learn more from each sample."""


@dataclass(frozen=True)
class BatchSize:
    """What a training step of some size takes.

    Args:
        size: samples.
        seconds: of a step.
        memory: bytes, parameters and the optimizer's state included, the data not.
    """

    size: int
    seconds: float
    memory: int

    @property
    def samples_per_second(self) -> float:
        """How fast it trains."""
        return self.size / self.seconds


@dataclass(frozen=True)
class BatchSizes:
    """Batch sizes as they were measured.

    Args:
        measured: from small to large.
        limit: the bytes that a step might take.
    """

    measured: Sequence[BatchSize]
    limit: int

    @property
    def suggestion(self) -> int:
        """The smallest size that trains nearly as many samples a second as the fastest."""
        most = max(one.samples_per_second for one in self.measured)
        return next(one.size for one in self.measured if one.samples_per_second >= ENOUGH * most)

    def to_dict(self) -> dict[str, Any]:
        """Sizes and the suggestion as plain values."""
        rows = [
            {
                "batch_size": one.size,
                "seconds": one.seconds,
                "samples_per_second": one.samples_per_second,
                "memory": one.memory,
            }
            for one in self.measured
        ]
        return {"suggestion": self.suggestion, "limit": self.limit, "sizes": rows}


def find_batch_size(
    model: Layer | Network | str,
    data: Any,
    loss: Any = None,
    optimizer: Optimizer | str | None = None,
    *,
    memory: int | None = None,
    largest: int = 4096,
    seconds: float = 0.2,
    device: str | None = None,
) -> BatchSizes:
    """A batch size for this machine, from steps of a copy of a model: the model stays as it is.

    Sizes double until a step needs more memory than there may be, all samples are in it, or larger ones are
    no faster.

    Args:
        model: a layer, a built model or the name of a registered model.
        data: what is trained on, as for `Trainer.fit`.
        loss, optimizer: as for `Trainer`.
        memory: the bytes that a step may take; half of what this process may have if None.
        largest: the largest size that is tried.
        seconds: how long steps of a size are measured; at least three are.
        device: "cpu" or "cuda".

    Raises:
        UsageError: no loss is given and the model names none.
        OutOfMemoryError: not even the smallest step fits.

    >>> import numpy as np
    >>> import bigmodel_core as bm
    >>> x, y = np.zeros((32, 4), "float32"), np.zeros(32, "int64")
    >>> [one.size for one in bm.find_batch_size(bm.layers.Dense(2), (x, y), "cross_entropy", "sgd").measured]
    [8, 16, 32]
    """
    limit = capacity() // 2 if memory is None else memory
    if limit < 1 or largest < 1:
        raise UsageError(f"a batch of at most {largest} samples in {limit} bytes is none.", fix="allow more.")
    made = make("model", model) if isinstance(model, str) else model
    copied = clone(made.layer if isinstance(made, Network) else made)
    trainer = Trainer(copied, loss, optimizer, (), device=device)
    job = prepared(
        trainer, data, epochs=1, batch_size=None, validation=None, resume=None, checkpoint_every=None,
        record={}, augment=None, workers=0, steps_per_epoch=None,
    )  # fmt: skip
    found: list[BatchSize] = []
    size = min(FIRST, len(job.train), largest)
    while True:
        one = _measured(trainer, job.train, size, limit, seconds)
        if one is None:
            break
        found.append(one)
        best = max(found, key=lambda one: one.samples_per_second)
        if size >= min(len(job.train), largest) or (len(found) > 2 and best not in found[-2:]):
            break
        size = min(2 * size, len(job.train), largest)
    if not found:
        raise OutOfMemoryError(
            f"a step of {size} samples takes more than {limit / 1e6:.1f} MB.",
            fix="allow more memory, or choose a smaller model.",
        )
    return BatchSizes(tuple(found), limit)


def _measured(trainer: Trainer, samples: Any, size: int, limit: int, seconds: float) -> BatchSize | None:
    """A step of a size; None if it takes too much memory."""
    step = trainer.step
    x, y, weight = next(iter(samples.shuffled(size, 0, 0, workers=0)))
    step.rate_scale = 0.0  # only its time is wanted
    try:
        step(x, y, weight)
    except OutOfMemoryError:
        return None
    if step.memory > limit:
        return None
    times: list[float] = []
    while len(times) < 3 or sum(times) < seconds:
        began = time.perf_counter()
        step(x, y, weight)
        times.append(time.perf_counter() - began)
    return BatchSize(size, float(np.median(times)), step.memory)
