"""What tests of training share: small data, small models, callbacks that do something at a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.train.trainer import Trainer


@dataclass(frozen=True)
class At(bm.Callback):
    """Does something after one step."""

    step: int
    action: Callable[[Trainer], Any]

    def on_batch_end(self, trainer: Trainer, step: int, logs: Mapping[str, float]) -> None:
        if step == self.step:
            self.action(trainer)


class Crash(RuntimeError):
    """A process that dies in the middle."""


def crash(trainer: Trainer) -> None:
    raise Crash


def labelled(count: int = 90, features: int = 5, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Samples whose class is where their first few features are largest, with some noise."""
    draw = np.random.default_rng(7)
    x = draw.normal(size=(count, features)).astype("float32")
    y = (x[:, :classes] + draw.normal(size=(count, classes))).argmax(1)
    return x, y


def network_with_dropout() -> bm.Layer:
    """Every random stream that a dense network has."""
    return bm.Sequential(bm.layers.Dense(16), bm.layers.Relu(), bm.layers.Dropout(0.4), bm.layers.Dense(3))


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray]:
    return labelled()
