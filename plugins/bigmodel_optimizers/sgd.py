"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError


@dataclass(frozen=True)
class SGD(bm.Optimizer):
    """Stochastic gradient descent: p - rate * g, with momentum v = momentum * v + g and p - rate * v.

    With `nesterov` the step is rate * (g + momentum * v) (Nesterov, 1983, as Sutskever et al., 2013, write
    it).

    Args:
        learning_rate: a number or a schedule.
        momentum: how much of the last step's velocity is kept.
        nesterov: whether to look ahead along the velocity; needs momentum.
    """

    learning_rate: float | bm.Schedule = 0.01
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        bm.check_number(self, "momentum", at_least=0, below=1)
        if self.nesterov and not self.momentum:
            raise ConfigError(
                "nesterov needs momentum, which is 0.", where="SGD", fix="pass momentum=0.9, for instance."
            )

    def init(self) -> Mapping[str, float]:
        return {"velocity": 0.0} if self.momentum else {}

    def update(
        self,
        parameter: bm.Value,
        gradient: bm.Value,
        state: Mapping[str, bm.Value],
        rate: bm.Value,
        step: bm.Value,
    ) -> tuple[bm.Value, Mapping[str, bm.Value]]:
        if not self.momentum:
            return parameter - rate * gradient, {}
        velocity = state["velocity"] * self.momentum + gradient
        direction = gradient + velocity * self.momentum if self.nesterov else velocity
        return parameter - rate * direction, {"velocity": velocity}
