"""The base class of losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bigmodel_core.contracts import undefined
from bigmodel_core.graph import Value


@dataclass(frozen=True)
class Loss:
    """What training minimises: frozen dataclasses whose `each` composes ops.

    Subclasses define `each(prediction, target)`, the loss of each sample with the batch as its first axis;
    calling the loss gives the mean over all of them as a scalar.
    """

    target_dtype: ClassVar[str | None] = None
    """The number type of targets where it is not the model's: "int64" for class labels."""

    def each(self, prediction: Value, target: Value) -> Value:
        """The loss of each sample (or of each output of each sample)."""
        raise undefined(self, "loss", "each")

    def __call__(self, prediction: Value, target: Value) -> Value:
        """The mean loss, a scalar."""
        from bigmodel_core import ops

        return ops.mean(self.each(prediction, target))
