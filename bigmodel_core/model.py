"""The base class of the models that the registry names."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from bigmodel_core.contracts import undefined
from bigmodel_core.layer import Layer
from bigmodel_core.spec import Spec

if TYPE_CHECKING:
    from bigmodel_core.dataset import Data


@dataclass(frozen=True)
class Model(Layer):
    """A layer that stands alone: it knows its input, and which loss and metrics suit it.

    Subclasses are frozen dataclasses; each says in its docstring which paper or book describes it.
    """

    loss: ClassVar[str] = "cross_entropy"
    """The loss it is trained with unless another is asked for."""
    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    """What is reported unless other metrics are asked for."""
    optimizer: ClassVar[str] = "adam"
    """The optimizer it is trained with unless another is asked for."""
    learning_rate: ClassVar[float | None] = None
    """What that optimizer starts with, where its own default does not suit the model."""

    def input_spec(self) -> Spec:
        """The input it was designed for."""
        raise undefined(self, "model", "input_spec")

    def fitted(self, data: Data) -> Self:
        """The same model with its number of outputs set for a data set: `classes` where it has that field."""
        names = {item.name for item in fields(self)}
        changes: dict[str, Any] = {}
        if "classes" in names and data.labels is not None:
            changes["classes"] = len(data.labels)
        if "outputs" in names and data.task == "regression" and data.train.y is not None:
            changes["outputs"] = data.train.y.shape[1]
        return replace(self, **changes)
