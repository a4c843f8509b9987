"""A model as a regressor of scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import RegressorMixin

from bigmodel_core.data.data import Data
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.model import Model
from bigmodel_core.registry.config import make
from bigmodel_core.sklearn.building import compares_classes
from bigmodel_core.sklearn.estimator import Estimator
from bigmodel_core.sklearn.targets import Targets


class Regressor(RegressorMixin, Estimator):
    """A model that predicts numbers, one or several a sample, with the methods of scikit-learn's estimators.

    Args:
        model: the name of a model, whose sizes then follow from the data, or a layer, of which each `fit`
            trains a copy.
        options: of the model that is named, as in {"widths": (32, 32)}.
        loss: a loss or its name, as in "huber"; the model's own if None, or else the mean squared error.
        optimizer: an optimizer or its name; the model's own if None.
        learning_rate: a number or a schedule, in place of the optimizer's own.
        epochs: passes over the samples.
        batch_size: samples a step.
        standardize: whether numbers, those to predict too, are brought to a mean of 0 and a deviation of 1,
            in float64; predictions are in the units of y.
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
        model_: the trained model.
        history_: the logs of all epochs.
        encoding_: how samples become the model's input.
        n_features_in_, feature_names_in_: the columns of X, and their names if it is a DataFrame.

    >>> x = np.random.default_rng(0).uniform(-2, 2, (400, 1))
    >>> regressor = Regressor("mlp", epochs=50, random_state=0).fit(x, np.sin(x[:, 0]))
    >>> regressor.score(x, np.sin(x[:, 0])) > 0.99
    True
    """

    _metrics = "r2"
    _checks: ClassVar[Mapping[str, Any]] = {"multi_output": True, "y_numeric": True}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on some of the samples, once; the first call scales numbers for all that follow.

        Args:
            X, y, sample_weight: as for `fit`.
        """
        is_first = not hasattr(self, "_trainer")
        return self._learn(X, y, sample_weight, is_first=is_first, in_parts=True)

    def predict(self, X: Any) -> np.ndarray:
        """The predicted numbers, float64 (n,), or (n, k) where y has k columns, in the units of y."""
        x = self._inputs(X)
        found = np.asarray(self._trainer.predict(x), np.float64)
        return found.reshape(-1) if self._is_vector else found

    def _targets(self, y: np.ndarray, classes: Any, *, is_first: bool) -> Targets:
        if is_first:
            self._is_vector = y.ndim == 1
        return Targets(np.asarray(y, np.float64).reshape(len(y), -1), "regression")

    def _default_loss(self, model: Layer) -> Any:
        own = model.usual_loss if isinstance(model, Model) else None
        if isinstance(own, str) and not compares_classes(make("loss", own)):
            return None
        return "mean_squared_error"

    def _sized(self, model: Model, data: Data, loss: Any) -> Model:
        names = {item.name for item in fields(model)}
        sized = super()._sized(model, data, loss)
        if "classes" in names and "outputs" not in names:  # its scores are the numbers
            changes: dict[str, Any] = {"classes": data.train.y.shape[1]}
            sized = replace(sized, **changes)
        return sized
