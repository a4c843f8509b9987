"""The Swish activation as a plugin: an op, of which all follows from one function, and its layer."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

import bigmodel_core as bm


def swish(x, beta):
    return x / (1 + exp(-beta * x))


@dataclass(frozen=True)
class SwishOp(bm.Op):
    """x * sigmoid(beta * x)."""

    beta: float
    cpu, cuda = bm.elementwise(swish)


@dataclass(frozen=True)
class Swish(bm.Layer):
    """x * sigmoid(beta * x) (Ramachandran et al., 2017).

    Args:
        beta: how steep the sigmoid is.
    """

    beta: float = 1.0

    def __call__(self, x):
        return SwishOp(self.beta)(x)


@bm.hookimpl
def bigmodel_layers():
    """The layers of this plugin."""
    return [Swish]
