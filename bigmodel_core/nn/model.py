"""The base class of the models that the registry names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from bigmodel_core.errors import ConfigError
from bigmodel_core.graph.spec import Spec
from bigmodel_core.nn.fitting import freed
from bigmodel_core.nn.layer import Layer
from bigmodel_core.registry.contracts import undefined

if TYPE_CHECKING:
    from bigmodel_core.data.data import Data
    from bigmodel_core.nn.loss import Loss


@dataclass(frozen=True)
class Model(Layer):
    """A complete layer that knows its input, and the loss and metrics that suit it.

    Subclasses are frozen dataclasses; each says in its docstring which paper or book describes it.
    """

    loss: ClassVar[str | Mapping[str, Any]] = "cross_entropy"
    """The loss it is trained with unless another is requested; of several outputs a dict by their names."""
    metrics: ClassVar[tuple[str, ...] | Mapping[str, Any]] = ("accuracy",)
    """What is reported unless other metrics are requested; likewise."""
    optimizer: ClassVar[str] = "adam"
    """The optimizer it is trained with unless another is requested."""
    learning_rate: ClassVar[float | None] = None
    """The optimizer's initial learning rate, if its default does not suit the model."""

    def input_spec(self) -> Spec | tuple[Spec, ...]:
        """The input it was designed for; a tuple for several."""
        raise undefined(self, "model", "input_spec")

    def _input_specs(self) -> tuple[Spec, ...]:
        found = self.input_spec()
        return (found,) if isinstance(found, Spec) else tuple(found)

    def _freed(self, inputs: Sequence[Any], specs: tuple[Spec, ...]) -> tuple[Spec, ...]:
        """Specs of arrays, with the sizes left free that `input_spec` leaves free."""
        own = () if type(self).input_spec is Model.input_spec else self._input_specs()
        return freed(specs, inputs, own)

    @property
    def usual_loss(self) -> Any:
        """The name of the loss for the model as it is: cross-entropy of one score is that of yes and no. Of
        several outputs a dict."""
        is_single = self.loss == "cross_entropy" and getattr(self, "classes", None) == 1
        return "binary_cross_entropy" if is_single else self.loss

    @property
    def usual_metrics(self) -> tuple[str, ...] | Mapping[str, Any]:
        """The names of the metrics for the model as it is; of several outputs a dict."""
        return self.metrics

    def usual_epochs(self, samples: int) -> int:
        """How often training sees each of so many samples, where nobody says it."""
        return 10

    @property
    def usual_rate(self) -> float | None:
        """The optimizer's initial learning rate for the model as it is; None is the optimizer's default."""
        return self.learning_rate

    def fitted(self, data: Data, loss: Loss | None = None) -> Self:
        """The same model with its sizes set for a data set, as far as it has the fields `classes` and
        `outputs`, or `vocabulary` and `target_vocabulary` for the tokens of texts; `context`, where it is
        less than the longest text has; `categories` for the codes of a table.

        Two classes take one score, that of class 1, where the task is "binary" and the model is trained by
        cross-entropy, or where a loss of one score was chosen; else each class takes one.

        Args:
            data: the data set.
            loss: the loss, if another than the model's own was chosen.
        """
        names = {item.name for item in fields(self)}
        changes: dict[str, Any] = {}
        if "outputs" in names and data.task == "regression" and data.train.y is not None:
            changes["outputs"] = data.train.y.shape[1]
        for name in {"vocabulary", "target_vocabulary"} & names:
            if (size := getattr(data, name)) is not None:
                changes[name] = size
        if "categories" in names and data.categories is not None:
            changes["categories"] = data.categories
        texts = [
            array.shape[1]
            for split in data.splits().values()
            for array in split.inputs
            if array.ndim == 2 and array.dtype.kind == "i"
        ]
        context = getattr(self, "context", None) if "context" in names else None
        if isinstance(context, int) and max(texts, default=0) > context:
            changes["context"] = max(texts)
        known = data.labels is not None or data.target_tokenizer is not None or data.task == "binary"
        if "classes" in names and known:
            changes["classes"] = data.classes
            own = self.loss == "cross_entropy" and data.task == "binary"
            if data.classes == 2 and data.task != "multilabel" and (own if loss is None else loss.one_score):
                with suppress(ConfigError):  # a model that insists on a score for each class
                    return replace(self, **{**changes, "classes": 1})
        return replace(self, **changes)
