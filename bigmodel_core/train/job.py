"""What one call of `Trainer.fit` works on, and what decides which epoch was best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bigmodel_core.data.augmentation import Augmentation
from bigmodel_core.data.data import Data
from bigmodel_core.data.encoding import Encoding
from bigmodel_core.data.split import Split
from bigmodel_core.errors import ConfigError, UsageError
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.optimizer import Optimizer
from bigmodel_core.train.by_output import Metrics, named_metrics
from bigmodel_core.train.checkpoint import Checkpoint
from bigmodel_core.train.evaluation import Evaluator
from bigmodel_core.train.history import deciding_loss
from bigmodel_core.train.private_sampling import Sampling
from bigmodel_core.train.run_state import Best, RunState
from bigmodel_core.train.samples import Samples
from bigmodel_core.train.snapshot import Snapshot
from bigmodel_core.train.stream import Stream, is_stream


@dataclass(frozen=True)
class Job:
    """What one call of `fit` works on.

    Args:
        train, validation: the samples, in the number types of the model.
        evaluator: measures the validation samples.
        epochs: after how many epochs the run ends.
        batch_size: samples per step.
        augment: how training samples are changed.
        workers: threads that prepare batches.
        classes: how many classes labels have that are mixed; None if there are none.
        checkpoint_every: steps between checkpoints within an epoch.
        monitor: what decides the best epoch.
        measures: what is measured and can be compared, with whether higher values are better.
        options: of the run, as plain values; a resumed run has to agree with them.
        facts: additional entries of the run's configuration.
        snapshot: what of the model stays the same in all checkpoints; None if none are written.
        resumed: the checkpoint that the run continues from.
        folder: the folder of the run, if it has one.
        is_own_folder: whether it holds this run already.
        state: where the run begins.
        optimizer: with what its schedule takes from the run.
        encoding: how the data became numbers.
        sampling: how batches are drawn, if training is private.
    """

    train: Samples | Stream
    validation: Samples | None
    evaluator: Evaluator
    epochs: int
    batch_size: int
    augment: list[Augmentation]
    workers: int
    classes: int | None
    checkpoint_every: int | None
    monitor: str
    measures: dict[str, bool]
    options: dict[str, Any]
    facts: dict[str, Any]
    snapshot: Snapshot | None
    resumed: Checkpoint | None
    folder: Path | None
    is_own_folder: bool
    state: RunState
    optimizer: Optimizer
    encoding: Encoding | None
    sampling: Sampling | None = None

    @property
    def batches(self) -> int:
        """How many batches an epoch has."""
        return -(-len(self.train) // self.batch_size)

    def is_best(self, state: RunState, logs: Mapping[str, Any]) -> bool:
        """Whether an epoch is the best so far; it is then noted as such.

        Of epochs with the same value the one with the lower loss is the better: a measure such as the
        accuracy of few samples reaches its top long before the model is as good as it gets.
        """
        value = logs.get(self.monitor)
        if not isinstance(value, float) or value != value:
            return False
        found = Best(value, logs["epoch"], deciding_loss(logs))
        best = state.best
        if best is not None and not best.is_beaten_by(found, higher_is_better=self.measures[self.monitor]):
            return False
        state.best = found
        return True


def encoded(data: Any, encoding: Encoding | None) -> Any:
    """Data or a split as a model met its own in training; anything else is what a model sees already.

    Raises:
        DataError: they do not fit that training.
    """
    return data.like(encoding) if encoding is not None and isinstance(data, (Data, Split)) else data


def parted(
    data: Any, validation: Any, seed: int, model: Layer | Network, steps_per_epoch: int | None = None
) -> tuple[Samples | Stream, Samples | None]:
    """The samples to train on and to validate with, from what a user passed.

    Raises:
        UsageError: it is nothing to train on, or there are two validation splits.
        DataError, ConfigError: samples are missing, or the fraction to hold out is none.
    """
    if is_stream(data):
        if isinstance(validation, (int, float)) and not isinstance(validation, bool):
            raise UsageError(
                "no fraction of batches that are made elsewhere can be held out.",
                fix="pass a split, or a tuple (x, y), as validation.",
            )
        stream = Stream(data, steps_per_epoch, model)
        return stream, None if validation is None else Samples.of(validation, "validation data", model)
    if steps_per_epoch is not None:
        raise UsageError("steps_per_epoch is for iterables of batches.", fix="leave it out.")
    train = Samples.of(data, model=model)
    own = data.validation if isinstance(data, Data) else None
    if validation is None:
        return train, None if own is None else Samples.of(own, "validation data", model)
    if isinstance(validation, (int, float)) and not isinstance(validation, bool):
        if own is not None:
            raise UsageError(
                "the data have a validation split already.", fix="leave validation out, or pass a split."
            )
        return train.held_out(float(validation), seed)
    return train, Samples.of(validation, "validation data", model)


def measures(metrics: Metrics, *, validated: bool, losses: Sequence[str] = ()) -> dict[str, bool]:
    """What a run measures and can compare, best judge first, with whether higher values are better.

    Without validation data the metrics are those of the training samples, and the loss judges best: it still
    falls if every training sample is classified correctly.

    Args:
        metrics: the metrics.
        validated: whether there are validation data.
        losses: the names of losses of outputs, if there are several.
    """
    compared = {
        name: metric.higher_is_better
        for name, (_, metric) in named_metrics(metrics).items()
        if metric.higher_is_better is not None
    }
    if not validated:
        return {"loss": False, **compared, **dict.fromkeys(losses, False)}
    measured = {**compared, "loss": False, **dict.fromkeys(losses, False)}
    own = dict.fromkeys(("loss", *losses), False)
    return {**{f"val_{name}": higher for name, higher in measured.items()}, **own}


def monitored(wanted: str | None, known: Mapping[str, bool]) -> str:
    """The measure to monitor: the requested one, or the default.

    Raises:
        UsageError: it is not measured, or its values cannot be compared.
    """
    name = next(iter(known)) if wanted is None else wanted
    if name not in known:
        raise UsageError(
            f"'{name}' cannot be monitored.",
            fix=f"use one of {', '.join(known)}; names with val_ need validation data.",
        )
    return name


def whole_number(name: str, value: object, least: int = 1) -> int:
    """An option that counts something.

    Raises:
        ConfigError: it is no whole number, or below the least.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ConfigError(
            f"{name} is {value!r}, expected an integer of at least {least}.",
            fix=f"pass {name}={least} or more.",
        )
    return int(value)
