"""A model as a classifier of scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets

from bigmodel_core.data.encoding import Task
from bigmodel_core.errors import EstimatorError
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.model import Model
from bigmodel_core.nn.optimizer import Optimizer
from bigmodel_core.nn.probabilities import classified, makes_probabilities
from bigmodel_core.sklearn.estimator import Estimator
from bigmodel_core.sklearn.targets import Targets


class Classifier(ClassifierMixin, Estimator):
    """A model that tells classes, with the methods of scikit-learn's estimators.

    Args:
        model: the name of a model, whose sizes then follow from the data, or a layer, of which each `fit`
            trains a copy.
        options: of the model that is named, as in {"widths": (32, 32)}.
        loss: a loss or its name; the model's own if None.
        optimizer: an optimizer or its name; the model's own if None.
        learning_rate: a number or a schedule, in place of the optimizer's own.
        epochs: passes over the samples.
        batch_size: samples a step.
        standardize: whether numbers are brought to a mean of 0 and a deviation of 1, in float64.
        class_weight: what classes count, by label; "balanced" lets all classes count the same.
        early_stopping: whether to hold samples out, to stop when their loss has not improved for more than
            `patience` epochs, and to keep the parameters of the best epoch.
        validation_fraction: the share of the samples that is held out then.
        patience: see `early_stopping`.
        callbacks: callbacks or their names.
        warm_start: whether a second `fit` trains the same model on, with the optimizer and the scaling it
            began with.
        device: "cpu" or "cuda".
        random_state: a number gives the same bits each time.
        verbose: whether each epoch is reported.

    Attributes:
        classes_: the labels, in the order of the columns of `predict_proba`.
        model_: the trained model.
        history_: the logs of all epochs.
        encoding_: how samples become the model's input.
        n_features_in_, feature_names_in_: the columns of X, and their names if it is a DataFrame.

    >>> from sklearn.datasets import load_wine
    >>> from sklearn.model_selection import cross_val_score
    >>> x, y = load_wine(return_X_y=True)
    >>> bool(cross_val_score(Classifier("mlp", random_state=0), x, y, cv=3).min() > 0.9)
    True
    """

    _metrics = "accuracy"
    _tells_classes = True

    def __init__(
        self,
        model: str | Layer = "mlp",
        *,
        options: Mapping[str, Any] | None = None,
        loss: Any = None,
        optimizer: str | Optimizer | None = None,
        learning_rate: Any = None,
        epochs: int = 20,
        batch_size: int = 32,
        standardize: bool = True,
        class_weight: Mapping[Any, float] | str | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 5,
        callbacks: Sequence[Any] = (),
        warm_start: bool = False,
        device: str | None = None,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        super().__init__(
            model=model,
            options=options,
            loss=loss,
            optimizer=optimizer,
            learning_rate=learning_rate,
            epochs=epochs,
            batch_size=batch_size,
            standardize=standardize,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            patience=patience,
            callbacks=callbacks,
            warm_start=warm_start,
            device=device,
            random_state=random_state,
            verbose=verbose,
        )
        self.class_weight = class_weight

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train on some of the samples, once; the first call scales numbers for all that follow.

        Args:
            X, y, sample_weight: as for `fit`.
            classes: all labels that will come; needed in the first call.

        Raises:
            ValueError: the classes are not named, or others than those come.
        """
        is_first = not hasattr(self, "_trainer")
        if is_first and classes is None:
            raise EstimatorError(
                "the first call of partial_fit has to name all classes.",
                where=type(self).__name__,
                fix="pass classes=numpy.unique(all_labels).",
            )
        return self._learn(X, y, sample_weight, is_first=is_first, classes=classes, in_parts=True)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each sample, by its label."""
        x = self._inputs(X)
        output = self.model_.network.trace(training=False).outputs[0]
        indices, _ = classified(self._trainer.predict(x), makes_probabilities(output))
        return np.asarray(self.classes_[indices])

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class for each sample, float64 (n, classes), in the order of `classes_`.

        Raises:
            UsageError: the model is trained with a loss that knows no probabilities, such as hinge.
        """
        x = self._inputs(X)
        return self._trainer.predict_proba(x)

    def _targets(self, y: np.ndarray, classes: Any, *, is_first: bool) -> Targets:
        check_classification_targets(y)
        if is_first:
            self.classes_ = np.unique(y if classes is None else np.asarray(classes))
        if len(self.classes_) < 2:
            raise EstimatorError(
                f"there is 1 class: all samples that count are of class {self.classes_[0]}.",
                where="y",
                fix="pass samples of at least two classes.",
            )
        places = np.minimum(np.searchsorted(self.classes_, y), len(self.classes_) - 1)
        if (is_new := self.classes_[places] != y).any():
            raise EstimatorError(
                f"class {y[is_new][0]} is not among those known from before:"
                f" {', '.join(map(str, self.classes_[:20]))}.",
                where="y",
                fix="name all classes in the first call of partial_fit, or fit anew.",
            )
        task: Task = "binary" if len(self.classes_) == 2 else "classification"
        return Targets(places.astype(np.int64), task, tuple(map(str, self.classes_)))

    def _weighed(self, y: np.ndarray, weight: np.ndarray | None, *, in_parts: bool) -> np.ndarray | None:
        if self.class_weight is None:
            return weight
        if in_parts and self.class_weight == "balanced":
            raise EstimatorError(
                'class_weight="balanced" needs all samples, and partial_fit sees some of them.',
                where=type(self).__name__,
                fix="pass a weight for each class, as in class_weight={'a': 1.0, 'b': 5.0}.",
            )
        found = compute_sample_weight(self.class_weight, y)
        return np.asarray(found if weight is None else found * weight)

    def _default_loss(self, model: Layer) -> Any:
        return None if isinstance(model, Model) else "cross_entropy"
