"""The optimizers and learning-rate schedules that come with bigmodel."""

from __future__ import annotations

import bigmodel_core as bm
from bigmodel_optimizers.adam import Adam, AdamW
from bigmodel_optimizers.adaptive import Adagrad, RMSprop
from bigmodel_optimizers.schedules import Constant, Cosine, InverseTime, StepDecay, WarmUp
from bigmodel_optimizers.sgd import SGD

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Constant",
    "Cosine",
    "InverseTime",
    "RMSprop",
    "StepDecay",
    "WarmUp",
]


@bm.hookimpl
def bigmodel_optimizers() -> list[type[bm.Optimizer]]:
    """The optimizers of this package."""
    return [SGD, Adam, AdamW, RMSprop, Adagrad]


@bm.hookimpl
def bigmodel_schedules() -> list[type[bm.Schedule]]:
    """The schedules of this package."""
    return [Constant, StepDecay, Cosine, WarmUp, InverseTime]
