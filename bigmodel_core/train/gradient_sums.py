"""Gradients of several batches, added up on the device until one update is made of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bigmodel_core.errors import UsageError
from bigmodel_core.plan.variables import Variables
from bigmodel_core.train.step_programs import KEEP, WEIGHT, StepPrograms, scale_of, sum_of


class GradientSums:
    """The sums of gradients of a step, those of each term of the loss apart that counts differently.

    Args:
        programs: what the step runs.
        variables: the arrays of the step.

    Attributes:
        variables: those, and the sums.
    """

    def __init__(self, programs: StepPrograms, variables: Variables) -> None:
        self.variables = Variables(variables.device, variables)
        for term in range(programs.terms):
            for path, spec in programs.groups.trained.items():
                self.variables.create(sum_of(term, path), np.zeros(spec.sizes, spec.dtype))
        self._counted: list[float] | None = None
        """What the batches count that were added up, in each term; None if there are none."""

    def inputs(self, samples: int) -> dict[str, float]:
        """The graph inputs of adding a batch: how many samples it has, whether the sums are kept."""
        return {WEIGHT: float(samples), KEEP: float(self._counted is not None)}

    def added(self, counted: Sequence[float]) -> None:
        """Note what a batch that was added counts in each term."""
        self._counted = [a + b for a, b in zip(self._counted or [0.0] * len(counted), counted, strict=True)]

    def scales(self) -> dict[str, float]:
        """The graph inputs of the update: what makes means of the sums.

        Raises:
            UsageError: nothing was added up.
        """
        if self._counted is None:
            raise nothing_added()
        return {scale_of(term): 1.0 / (count or 1.0) for term, count in enumerate(self._counted)}

    def discard(self) -> None:
        """Begin anew with the next batch."""
        self._counted = None


def nothing_added() -> UsageError:
    """The error if an update is asked for, and no gradients are there."""
    return UsageError("there are no gradients to apply.", fix="call accumulate(x, y) before, or pass them.")
