"""How far a model that gives back its input changes rows, and above which score a row is odd."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bigmodel_core.data.split import Split
from bigmodel_core.errors import ShapeError, UsageError
from bigmodel_core.train.checkpoint import read
from bigmodel_core.train.checkpoint_file import read_file, write_file

if TYPE_CHECKING:
    from bigmodel_core.train.trainer import Trainer

BATCH = 1024
"""Rows that the model sees at a time."""
QUANTILE = 0.99
"""The share of the training rows that is not odd."""


def squared_differences(model: Any, x: Any) -> np.ndarray:
    """(n, k) float64: the squared difference of rows and what the model gives back.

    Raises:
        UsageError: the rows have several inputs.
        ShapeError: the model does not give back its input.
    """
    if isinstance(x, (dict, tuple)):
        raise UsageError("the rows have several inputs.", fix="use columns of numbers alone.")
    parts = []
    for start in range(0, len(x), BATCH):
        part = np.asarray(x[start : start + BATCH])
        back = model(part)
        if getattr(back, "shape", None) != part.shape:
            raise ShapeError(
                f"the model makes {getattr(back, 'shape', 'several outputs')} of rows {part.shape}, expected"
                " the same shape.",
                fix="train a model that gives back its input: autoencoder on the data set rows.",
            )
        parts.append(np.square(back.astype(np.float64) - part))
    return np.concatenate(parts).reshape(len(x), -1)


def threshold(model: Any, x: Any, quantile: float = QUANTILE) -> float:
    """The score that a share of some rows does not exceed."""
    return float(np.quantile(squared_differences(model, x).mean(1), quantile))


def are_own_targets(split: Split) -> bool:
    """Whether the samples are rows of numbers that a model is to give back."""
    x, y = split.x, split.y
    if not (isinstance(x, np.ndarray) and isinstance(y, np.ndarray) and x.ndim == 2 and x.dtype.kind == "f"):
        return False
    return x is y or (x.shape == y.shape and np.array_equal(x, y))


def keep_threshold(trainer: Trainer, split: Split) -> None:
    """Note above which score a row is odd, in the model and in the checkpoints of its run.

    Args:
        trainer: of a model that has learned.
        split: what it learned from; nothing is noted where the rows are not their own targets.

    Raises:
        CheckpointError: a checkpoint cannot be written.
    """
    network = trainer.network
    if network.encoding is None or len(network.outputs) != 1 or not are_own_targets(split):
        return
    network.encoding = replace(network.encoding, odd_above=threshold(network, split.x))
    trainer.encoding = network.encoding
    if trainer.record is not None:
        for path in (trainer.record.best, trainer.record.last):
            if path.exists():
                model = read(path).restore(network.device.name)
                _note(path, threshold(model, split.x))


def _note(path: Path, odd_above: float) -> None:
    texts, arrays = read_file(path)
    about = json.loads(texts["about"])
    about["encoding"]["odd_above"] = odd_above
    write_file(path, {**texts, "about": json.dumps(about, separators=(",", ":"))}, arrays)
