"""What the classifier and the regressor share: parameters, fitting, pickling, export."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, check_X_y, validate_data

from bigmodel_core.data.columns import Columns
from bigmodel_core.data.data import Data
from bigmodel_core.data.preprocessing import Preprocessing
from bigmodel_core.data.sampling import without_single
from bigmodel_core.data.split import Split
from bigmodel_core.errors import EstimatorError
from bigmodel_core.exporting.export import export
from bigmodel_core.graph.dtypes import COMPUTED_FLOATS
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.loss import Loss
from bigmodel_core.nn.model import Model
from bigmodel_core.nn.optimizer import Optimizer
from bigmodel_core.registry.config import make, make_list
from bigmodel_core.sklearn.building import check_loss, chosen_optimizer, new_model
from bigmodel_core.sklearn.frames import cells_of, check_frame, fitted_columns, kinds_of, samples
from bigmodel_core.sklearn.scaling import standardising
from bigmodel_core.sklearn.targets import Targets
from bigmodel_core.train.by_output import make_loss
from bigmodel_core.train.callback import Callback
from bigmodel_core.train.trainer import Trainer
from bigmodel_core.train.usual import usual_loss

_FLOATS = [np.dtype(name) for name in sorted(COMPUTED_FLOATS, reverse=True)]
_NUMBERS: dict[str, Any] = {"dtype": _FLOATS, "allow_nd": True}


class Estimator(BaseEstimator):
    """A model with scikit-learn's `fit` and `predict`; see `Classifier` and `Regressor`."""

    _metrics = ""
    """What is measured on the samples that early stopping holds out."""
    _checks: ClassVar[Mapping[str, Any]] = {}
    """How scikit-learn checks targets."""
    _tells_classes = False
    """Whether targets are classes."""

    model: str | Layer
    options: Mapping[str, Any] | None
    loss: Any
    optimizer: str | Optimizer | None
    learning_rate: Any
    epochs: int
    batch_size: int
    standardize: bool
    early_stopping: bool
    validation_fraction: float
    patience: int
    callbacks: Sequence[Any]
    warm_start: bool
    device: str | None
    random_state: Any
    verbose: bool

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
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 5,
        callbacks: Sequence[Any] = (),
        warm_start: bool = False,
        device: str | None = None,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        # As they were passed: `sklearn.base.clone` counts on it.
        self.model = model
        self.options = options
        self.loss = loss
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.batch_size = batch_size
        self.standardize = standardize
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.callbacks = callbacks
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    # What a classifier and a regressor do in their own ways -----------------------------------------------

    @abstractmethod
    def _targets(self, y: np.ndarray, classes: Any, *, is_first: bool) -> Targets:
        """Targets as a model learns them."""

    @abstractmethod
    def _default_loss(self, model: Layer) -> Any:
        """The loss if nobody chose one; None leaves it to the model."""

    def _sized(self, model: Model, data: Data, loss: Any) -> Model:
        """A model with the sizes of the data."""
        return model.fitted(data, loss if isinstance(loss, Loss) else None)

    def _weighed(self, y: np.ndarray, weight: np.ndarray | None, *, in_parts: bool) -> np.ndarray | None:
        """What each sample counts."""
        return weight

    # Fitting ----------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on samples.

        Args:
            X: (n, features) numbers, an array or a DataFrame; a DataFrame with words, dates or gaps, whose
                columns are then made numbers as those of a table are; or arrays of images (n, C, H, W) and
                series (n, T, k), if the model takes such.
            y: (n,) targets.
            sample_weight: (n,), what each sample counts in the loss and in the means; what counts 0 is left
                out.

        Raises:
            ValueError, TypeError: samples or targets cannot be used, as scikit-learn says it.
            BigmodelError: a name is unknown, an option makes no sense, the model does not fit the samples.
        """
        goes_on = bool(self.warm_start) and hasattr(self, "_trainer")
        return self._learn(X, y, sample_weight, is_first=not goes_on)

    def _learn(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        *,
        is_first: bool,
        classes: Any = None,
        in_parts: bool = False,
    ) -> Self:
        """Train, from the start or from where the model is.

        Args:
            X, y, sample_weight: as for `fit`.
            is_first: whether to begin anew.
            classes: of all parts, where `X` is the first of several.
            in_parts: whether `X` is a part: it is seen once, and nothing of it is held out.
        """
        X, y = self._checked(X, y, is_first=is_first)
        weight = None
        if sample_weight is not None:
            weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
            if not weight.any():
                raise EstimatorError("all sample weights are zero: no sample counts.", where="sample_weight")
            X, y, weight = X[weight > 0], y[weight > 0], weight[weight > 0]
        targets = self._targets(y, classes, is_first=is_first)
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        data = self._data(X, targets, self._weighed(y, weight, in_parts=in_parts), seed, is_first, in_parts)
        if is_first:
            self._trainer = self._begin(data, seed)
        self._trainer.callbacks = self._callbacks(data)
        self._trainer.state.callbacks.clear()  # a model that stopped early may be trained on
        self._trainer.fit(
            data,
            epochs=1 if in_parts else self.epochs,
            batch_size=without_single(self.batch_size, len(data.train)),
            verbose=bool(self.verbose),
        )
        self.model_ = self._trainer.network.layer
        self.history_ = self._trainer.history
        self.encoding_ = data.encoding
        return self

    def _data(
        self,
        X: np.ndarray,
        targets: Targets,
        weight: np.ndarray | None,
        seed: int,
        is_first: bool,
        in_parts: bool,
    ) -> Data:
        """Samples and targets as the model sees them, some of them held out if training may stop early."""
        kept, held_out = np.arange(len(X)), None
        if self.early_stopping and not in_parts:
            kept, held_out = targets.parted(self.validation_fraction, seed, type(self).__name__)
        steps, scaling = self._preprocessing(X, targets, weight, kept, is_first)
        columns = self._columns(X[kept], is_first)
        if columns is not None:
            x = samples(X, list(self.feature_names_in_), columns)
        else:
            x = X.astype(np.float32) if steps is None else steps.apply(X)
        everything = Split(x, targets.y if scaling is None else scaling.apply(targets.y), weight=weight)
        names = getattr(self, "feature_names_in_", None) if columns is None else columns.features
        is_coded = columns is not None and columns.form == "embed"
        train = everything if held_out is None else everything.take(kept)
        rest = None if held_out is None else everything.take(held_out)
        return Data(
            name="samples",
            train=train,
            test=train if rest is None else rest,
            validation=rest,
            labels=targets.labels,
            task=targets.task,
            preprocessing=steps,
            target_preprocessing=scaling,
            features=None if names is None or is_coded else tuple(names),
            columns=columns,
        )

    def _columns(self, cells: np.ndarray, is_first: bool) -> Columns | None:
        """How the cells of a table become samples; None for numbers."""
        if not is_first:
            return self.encoding_.columns
        if cells.dtype != object:
            return None
        model = new_model(self.model, self.options, type(self).__name__)
        return fitted_columns(cells, self._kinds, getattr(model, "categories_as", "one-hot"))

    def _checked(self, X: Any, y: Any, *, is_first: bool) -> tuple[np.ndarray, np.ndarray]:
        """Samples and targets as arrays, checked as scikit-learn's estimators check them."""
        if (cells := self._table(X, is_first=is_first)) is not None:
            _, y = check_X_y(np.zeros((len(cells), 1)), y, estimator=self, **self._checks)
            return cells, y
        found = validate_data(self, X, y, reset=is_first, **_NUMBERS, **self._checks)
        return found[0], found[1]

    def _table(self, X: Any, *, is_first: bool) -> np.ndarray | None:
        """The cells of a DataFrame whose columns are of several kinds; None if X is anything else."""
        if is_first:
            self._kinds = kinds_of(X) or {}
        if not self._kinds:
            return None
        check_frame(X, list(self._kinds))
        validate_data(self, X, skip_check_array=True, reset=is_first)
        return cells_of(X, list(self._kinds))

    def _preprocessing(
        self,
        X: np.ndarray,
        targets: Targets,
        weight: np.ndarray | None,
        kept: np.ndarray,
        is_first: bool,
    ) -> tuple[Preprocessing | None, Preprocessing | None]:
        """How samples and numbers to predict are scaled: by those that are trained on, once and for all."""
        if not is_first:
            return self.encoding_.preprocessing, self.encoding_.target_preprocessing
        if not self.standardize:
            return None, None
        weight = None if weight is None else weight[kept]
        scaling = standardising(targets.y[kept], weight, "y") if targets.task == "regression" else None
        return None if X.dtype == object else standardising(X[kept], weight, "X"), scaling

    def _begin(self, data: Data, seed: int) -> Trainer:
        """A trainer of a new model."""
        model = new_model(self.model, self.options, type(self).__name__)
        loss = self.loss if self.loss is not None else self._default_loss(model)
        loss = None if loss is None else make_loss(loss)
        if isinstance(model, Model):
            model = self._sized(model, data, loss)
            loss = usual_loss(model) if loss is None else loss
        check_loss(loss, self._tells_classes, type(self).__name__)
        return Trainer(
            model,
            loss,
            chosen_optimizer(model, self.optimizer, self.learning_rate),
            [self._metrics] if data.validation is not None else [],
            seed=seed,
            device=self.device,
        )

    def _callbacks(self, data: Data) -> list[Callback]:
        """The callbacks, with one that stops early if there are samples to decide by."""
        found: list[Callback] = make_list("callback", self.callbacks)
        if data.validation is None:
            return found
        options = {"monitor": "val_loss", "patience": self.patience}
        return [*found, make("callback", {"name": "early_stopping", **options})]

    # Use --------------------------------------------------------------------------------------------------

    def _inputs(self, X: Any) -> Any:
        """Samples as the model sees them."""
        check_is_fitted(self)
        columns = self.encoding_.columns
        if columns is not None and (cells := self._table(X, is_first=False)) is not None:
            return samples(cells, list(self._kinds), columns)
        X = validate_data(self, X, reset=False, **_NUMBERS)
        steps = self.encoding_.preprocessing
        return X.astype(np.float32) if steps is None else steps.apply(X)

    def export(self, path: str | Path, **options: Any) -> Any:
        """Write the model with its preprocessing to an ONNX file, verified: raw numbers in, labels and
        probabilities or predicted numbers out. Classes have their places in `classes_`.

        Args:
            path: where to write.
            options: as for `bm.export`.

        Raises:
            ExportError: the file cannot be written, or does not compute the same.
        """
        check_is_fitted(self)
        return export(self.model_, path, **{"with_preprocessing": True, **options})

    # Copies and pickles have all but the trainer, which is made again of its parts ------------------------

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        trainer: Trainer | None = state.pop("_trainer", None)
        if trainer is not None:
            state["_parts"] = (trainer.step.loss, trainer.optimizer, trainer.step.seed)
        return state

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        state = dict(state)
        parts = state.pop("_parts", None)
        super().__setstate__(state)
        if parts is not None:
            loss, optimizer, seed = parts
            self._trainer = Trainer(self.model_, loss, optimizer, seed=seed)
            self._trainer.encoding = self.encoding_
