"""The loss of a student that learns what a teacher gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import bigmodel_core as bm
from bigmodel_core import ops


@dataclass(frozen=True)
class Distillation(bm.Loss):
    """How far a student's probabilities are from a teacher's, both softened (Hinton et al., 2015).

    T**2 * KL(softmax(target / T) || softmax(prediction / T)) of each row, with the teacher's scores (..., C)
    as target. The factor keeps gradients as large as those of labels, whatever the temperature. One score,
    (N, 1) or (N,), is that of class 1 of two, and so is each of several that are `independent`.

    `Trainer(teacher=...)` adds it to the loss of the labels, and asks the teacher itself.

    Args:
        temperature: T; above 1, it shows how alike the teacher finds the wrong classes.
        independent: whether each score answers yes or no by itself, as binary_cross_entropy takes them; the
            mean is then over all of them.

    Raises:
        ConfigError: the temperature is not above 0.
        ShapeError: student and teacher give other shapes.

    >>> import numpy as np
    >>> import bigmodel_core as bm
    >>> scores = np.array([[2.0, 0.0, -1.0]], "float32")
    >>> float(bm.function(Distillation(4.0))(scores, scores))
    0.0
    """

    temperature: float = 4.0
    independent: bool = False
    takes_scores: ClassVar[bool] = True

    def __post_init__(self) -> None:
        bm.check_number(self, "temperature", above=0)

    def each(self, prediction: bm.Value, target: bm.Value) -> bm.Value:
        student: Any = bm.one_output(self, prediction)
        bm.ops.elementwise.check_same_shape(
            "distillation", student.spec, target.spec, "scores of student and teacher"
        )
        if self.independent or student.ndim < 2 or student.shape[-1] == 1:
            return self._of_one(student, target)
        own, theirs = (ops.log_softmax(scores / self.temperature) for scores in (student, target))
        return ops.sum(ops.exp(theirs) * (theirs - own), -1) * self.temperature**2

    def _of_one(self, student: Any, teacher: Any) -> Any:
        """The same of the scores (s, 0) of two classes."""
        own, theirs = student / self.temperature, teacher / self.temperature
        chance = ops.sigmoid(theirs)
        found = ops.binary_cross_entropy(own, chance) - ops.binary_cross_entropy(theirs, chance)
        return found * self.temperature**2
