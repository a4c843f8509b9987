"""Optimizers that divide by a running size of each parameter's gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import bigmodel_core as bm
from bigmodel_core import ops


@dataclass(frozen=True)
class RMSprop(bm.Optimizer):
    """Steps divided by the root of the mean squared gradient (Tieleman and Hinton, 2012).

    square = decay * square + (1 - decay) * g^2; d = g / (sqrt(square) + epsilon); p - rate * d, or with
    momentum v = momentum * v + d and p - rate * v.

    Args:
        learning_rate: a number or a schedule.
        decay: how much of the mean squared gradient is kept.
        epsilon: added to the root, so that a zero gradient does not divide by zero.
        momentum: how much of the last step's velocity is kept.
    """

    name: ClassVar[str] = "rmsprop"
    learning_rate: float | bm.Schedule = 1e-2
    decay: float = 0.99
    epsilon: float = 1e-8
    momentum: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        bm.check_number(self, "decay", at_least=0, below=1)
        bm.check_number(self, "epsilon", above=0)
        bm.check_number(self, "momentum", at_least=0, below=1)

    def init(self) -> Mapping[str, float]:
        return {"square": 0.0, "velocity": 0.0} if self.momentum else {"square": 0.0}

    def update(
        self,
        parameter: bm.Value,
        gradient: bm.Value,
        state: Mapping[str, bm.Value],
        rate: bm.Value,
        step: bm.Value,
    ) -> tuple[bm.Value, Mapping[str, bm.Value]]:
        square = state["square"] * self.decay + ops.square(gradient) * (1 - self.decay)
        direction = gradient / (ops.sqrt(square) + self.epsilon)
        if not self.momentum:
            return parameter - rate * direction, {"square": square}
        velocity = state["velocity"] * self.momentum + direction
        return parameter - rate * velocity, {"square": square, "velocity": velocity}


@dataclass(frozen=True)
class Adagrad(bm.Optimizer):
    """Steps divided by the root of the sum of all squared gradients (Duchi et al., 2011).

    total = total + g^2; p - rate * g / (sqrt(total) + epsilon).

    Args:
        learning_rate: a number or a schedule.
        epsilon: added to the root, so that a zero gradient does not divide by zero.
        initial_accumulator: what the sum starts from.
    """

    learning_rate: float | bm.Schedule = 1e-2
    epsilon: float = 1e-10
    initial_accumulator: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        bm.check_number(self, "epsilon", above=0)
        bm.check_number(self, "initial_accumulator", at_least=0)

    def init(self) -> Mapping[str, float]:
        return {"total": self.initial_accumulator}

    def update(
        self,
        parameter: bm.Value,
        gradient: bm.Value,
        state: Mapping[str, bm.Value],
        rate: bm.Value,
        step: bm.Value,
    ) -> tuple[bm.Value, Mapping[str, bm.Value]]:
        total = state["total"] + ops.square(gradient)
        return parameter - rate * gradient / (ops.sqrt(total) + self.epsilon), {"total": total}
