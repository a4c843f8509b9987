"""Adapters of weights: which get one, and the narrow matrices that learn in their place."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from bigmodel_core.graph.spec import Spec
from bigmodel_core.nn.parameters import Parameter
from bigmodel_core.nn.patterns import matching

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(eq=False)
class Adapting:
    """Which weights get an adapter.

    Args:
        patterns: of the paths of parameters, or of their layers, within the model that is adapted.
        rank: how narrow the matrices are.
        scale: what their product counts.
        path: of the layer that adapts them.
        dropout: in training, the probability that a number that meets the first narrow matrix is dropped.
    """

    patterns: Sequence[str]
    rank: int
    scale: float
    path: str
    dropout: float = 0.0
    _weights: dict[str, bool] = field(default_factory=dict)

    def takes(self, parameter: Parameter) -> bool:
        """Whether a parameter gets an adapter: it is a matrix of floats, and a pattern matches."""
        if parameter.spec.ndim != 2 or not parameter.spec.is_float:
            return False
        path = parameter.path.removeprefix(self.path).lstrip("/")
        path = path.partition("/")[2] or path  # as the model inside has it
        names = path, path.rpartition("/")[0]
        found = any(fnmatch.fnmatchcase(name, pattern) for pattern in self.patterns for name in names)
        self._weights[path] = found
        return found

    def parts(self, weight: Parameter) -> tuple[Parameter, Parameter]:
        """The matrices for a weight (K, N): (K, rank), which begins uniform, and (rank, N), which begins with
        zeros, so that nothing changes at first."""
        inputs, outputs = weight.spec.shape
        down, up = (Spec(shape, weight.spec.dtype) for shape in ((inputs, self.rank), (self.rank, outputs)))
        return (
            Parameter(f"{weight.path}_down", down, _uniform, True),
            Parameter(f"{weight.path}_up", up, 0.0, True),
        )

    def check(self) -> None:
        """Raise unless every pattern matched a weight.

        Raises:
            UnknownNameError: one did not; the message names the nearest.
        """
        layers = [path.rpartition("/")[0] for path in self._weights]
        matching(self.patterns, [*layers, *self._weights], "pattern")


def _uniform(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Within 1 / sqrt(K), as the adapters of the paper's code begin."""
    limit = max(shape[0], 1) ** -0.5
    return generator.uniform(-limit, limit, shape)
