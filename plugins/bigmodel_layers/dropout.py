"""Dropout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bigmodel_core as bm
from bigmodel_core import ops


@dataclass(frozen=True)
class Dropout(bm.Layer):
    """In training, each number is zeroed with probability `rate`; the others are scaled by 1 / (1 - rate).

    In inference it does nothing and leaves no trace in exported files. Which numbers are dropped depends on
    the seed, the step and the layer's path alone (Srivastava et al., 2014).

    Args:
        rate: the probability, at least 0 and below 1.
    """

    rate: float

    def __post_init__(self) -> None:
        bm.check_number(self, "rate", at_least=0, below=1)

    def __call__(self, x: Any) -> Any:
        return ops.dropout(x, self.rate) if self.training else x
