"""Adam, and Adam with decoupled weight decay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import bigmodel_core as bm
from bigmodel_core import ops


@dataclass(frozen=True)
class Adam(bm.Optimizer):
    """Adaptive moment estimation (Kingma and Ba, 2014).

    mean = beta1 * mean + (1 - beta1) * g; square = beta2 * square + (1 - beta2) * g^2;
    p - rate * (mean / (1 - beta1^step)) / (sqrt(square / (1 - beta2^step)) + epsilon).

    Args:
        learning_rate: a number or a schedule.
        beta1: how much of the mean gradient is kept.
        beta2: how much of the mean squared gradient is kept.
        epsilon: added to the root, so that a zero gradient does not divide by zero.
    """

    learning_rate: float | bm.Schedule = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        bm.check_number(self, "beta1", at_least=0, below=1)
        bm.check_number(self, "beta2", at_least=0, below=1)
        bm.check_number(self, "epsilon", above=0)

    def init(self) -> Mapping[str, float]:
        return {"mean": 0.0, "square": 0.0}

    def update(
        self,
        parameter: bm.Value,
        gradient: bm.Value,
        state: Mapping[str, bm.Value],
        rate: bm.Value,
        step: bm.Value,
    ) -> tuple[bm.Value, Mapping[str, bm.Value]]:
        if self.decoupled_decay and self.weight_decay:
            parameter = parameter * (1.0 - rate * self.weight_decay)
        mean = state["mean"] * self.beta1 + gradient * (1 - self.beta1)
        square = state["square"] * self.beta2 + ops.square(gradient) * (1 - self.beta2)
        # Both corrections are numbers of the step alone: computed in float64, once for all parameters.
        size = rate * (1.0 / (1.0 - self.beta1**step)).astype(parameter.dtype)
        root = (1.0 / ops.sqrt(1.0 - self.beta2**step)).astype(parameter.dtype)
        new = parameter - size * mean / (ops.sqrt(square) * root + self.epsilon)
        return new, {"mean": mean, "square": square}


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2017): p * (1 - rate * weight_decay) first.

    Args:
        learning_rate: a number or a schedule.
        beta1: how much of the mean gradient is kept.
        beta2: how much of the mean squared gradient is kept.
        epsilon: added to the root, so that a zero gradient does not divide by zero.
        weight_decay: how strongly parameters are pulled towards zero, 0.01 by default.
    """

    name: ClassVar[str] = "adamw"
    weight_decay: float = field(default=0.01, kw_only=True)
    decoupled_decay: ClassVar[bool] = True
