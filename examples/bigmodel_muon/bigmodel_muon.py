"""Two optimizers: Muon, which orthogonalises the steps of matrices, and Lion, which takes signs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core import ops

COEFFICIENTS = 3.4445, -4.775, 2.0315
"""Of the polynomial a s + b s^3 + c s^5, which brings singular values in (0, 1] to about 1 in five steps."""

Step = tuple[bm.Value, Mapping[str, bm.Value]]


def orthogonalised(matrix: bm.Value, steps: int) -> bm.Value:
    """About U V^T for the matrix U S V^T, by Newton and Schulz's iteration: products alone, no decomposition.

    Args:
        matrix: (rows, columns).
        steps: of the iteration; after five, singular values are between about 0.7 and 1.2.
    """
    rows, columns = matrix.spec.sizes
    x = matrix.T if rows > columns else matrix
    x = x / (ops.norm(x) + 1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(steps):
        square = x @ x.T
        x = a * x + (b * square + c * (square @ square)) @ x
    return x.T if rows > columns else x


@dataclass(frozen=True)
class Muon(bm.Optimizer):
    """Momentum whose steps are orthogonal matrices (Jordan et al., 2024); AdamW for all other parameters.

    For a matrix, mean = momentum * mean + g; the step is orthogonalised(g + momentum * mean), times
    sqrt(max(1, outputs / inputs)). Matrices are (inputs, outputs); filters (K, C, ...) count as matrices of K
    outputs and C * ... inputs.

    Args:
        learning_rate: of matrices; a number or a schedule.
        momentum: how much of the last direction is kept.
        steps: of the iteration that orthogonalises.
        others: how large the rate of AdamW is beside it.
        weight_decay: how strongly parameters are pulled towards zero, apart from the gradient.
    """

    learning_rate: float | bm.Schedule = 0.02
    momentum: float = 0.95
    steps: int = 5
    others: float = 0.1
    weight_decay: float = field(default=0.0, kw_only=True)
    decoupled_decay: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        bm.check_number(self, "momentum", at_least=0, below=1)
        bm.check_number(self, "steps", at_least=1)
        bm.check_number(self, "others", above=0)

    def init(self) -> Mapping[str, float]:
        return {"mean": 0.0, "square": 0.0}

    def init_parameter(self, path: str, spec: bm.Spec) -> Mapping[str, float | np.ndarray]:
        return {"mean": 0.0} if spec.ndim > 1 else self.init()

    def update_parameter(
        self,
        path: str,
        parameter: bm.Value,
        gradient: bm.Value,
        state: Mapping[str, bm.Value],
        rate: bm.Value,
        step: bm.Value,
    ) -> Step:
        if parameter.ndim < 2:
            other = bm.optimizers.AdamW(beta2=0.95, weight_decay=self.weight_decay)
            return other.update(parameter, gradient, state, rate * self.others, step)
        mean = state["mean"] * self.momentum + gradient
        rows, *inner = parameter.spec.sizes
        columns = math.prod(inner)
        direction = orthogonalised((gradient + mean * self.momentum).reshape(rows, columns), self.steps)
        outputs, inputs = (rows, columns) if inner[1:] else (columns, rows)
        size = rate * max(1.0, outputs / inputs) ** 0.5
        kept = parameter * (1.0 - rate * self.weight_decay)
        return kept - size * direction.reshape(*parameter.shape), {"mean": mean}


@dataclass(frozen=True)
class Lion(bm.Optimizer):
    """The sign of a mean gradient (Chen et al., 2023): one array a parameter, every number moves by the rate.

    p - rate * sign(beta1 * mean + (1 - beta1) * g), after p * (1 - rate * weight_decay); then
    mean = beta2 * mean + (1 - beta2) * g. Rates are three to ten times smaller than Adam's.

    Args:
        learning_rate: a number or a schedule.
        beta1: how much of the mean is in the step.
        beta2: how much of the mean is kept.
        weight_decay: how strongly parameters are pulled towards zero, apart from the gradient.
    """

    learning_rate: float | bm.Schedule = 1e-4
    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = field(default=0.0, kw_only=True)
    decoupled_decay: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        bm.check_number(self, "beta1", at_least=0, below=1)
        bm.check_number(self, "beta2", at_least=0, below=1)

    def init(self) -> Mapping[str, float]:
        return {"mean": 0.0}

    def update(
        self,
        parameter: bm.Value,
        gradient: bm.Value,
        state: Mapping[str, bm.Value],
        rate: bm.Value,
        step: bm.Value,
    ) -> Step:
        mean = state["mean"]
        direction = ops.sign(mean * self.beta1 + gradient * (1 - self.beta1))
        kept = parameter * (1.0 - rate * self.weight_decay)
        return kept - rate * direction, {"mean": mean * self.beta2 + gradient * (1 - self.beta2)}


@bm.hookimpl
def bigmodel_optimizers() -> list[type[bm.Optimizer]]:
    return [Muon, Lion]
