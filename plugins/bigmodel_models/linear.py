"""Linear models: one dense layer, and the loss that gives each its name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import bigmodel_core as bm


def _scores(x: Any, outputs: int) -> Any:
    return bm.layers.Dense(outputs)(bm.ops.flatten(x))


@dataclass(frozen=True)
class LinearRegression(bm.Model):
    """Least squares (Legendre, 1805): each output is a weighted sum of the features plus a constant.

    Takes (N, ...), each sample being flattened, and gives (N, outputs). Trained by descent, which wants
    features and targets of similar size: standardise them. Unless another optimizer is requested, it is Adam
    with a rate of 0.1, which handles many correlated features, where plain gradient descent diverges.

    Args:
        outputs: how many numbers are predicted.
    """

    name: ClassVar[str] = "linear-regression"
    outputs: int = 1
    loss: ClassVar[str] = "mean_squared_error"
    metrics: ClassVar[tuple[str, ...]] = ("mean_absolute_error", "r2")
    learning_rate: ClassVar[float | None] = 0.1

    def __post_init__(self) -> None:
        bm.check_number(self, "outputs", whole=True, at_least=1)

    def input_spec(self) -> bm.Spec:
        return bm.Spec(("N", 1))

    def __call__(self, x: Any) -> Any:
        return _scores(x, self.outputs)


@dataclass(frozen=True)
class LogisticRegression(bm.Model):
    """Multinomial logistic regression (Cox, 1958; Theil, 1969): linear scores trained by cross-entropy.

    Takes (N, ...), each sample being flattened, and gives scores (N, classes).

    Args:
        classes: how many classes there are; 1 for two classes that share one score.
    """

    name: ClassVar[str] = "logistic-regression"
    classes: int = 10

    def __post_init__(self) -> None:
        bm.check_number(self, "classes", whole=True, at_least=1)

    def input_spec(self) -> bm.Spec:
        return bm.Spec(("N", 784))

    def __call__(self, x: Any) -> Any:
        return _scores(x, self.classes)


@dataclass(frozen=True)
class LinearSvm(bm.Model):
    """A linear support vector machine (Cortes and Vapnik, 1995; several classes: Crammer and Singer, 2001).

    Takes (N, ...), each sample being flattened, and gives scores (N, classes). The hinge loss asks for a
    margin of 1, and weight decay makes that margin wide. Unless another optimizer is requested, it is
    AdamW, whose weight decay is 0.01; a larger one lets more samples are within the margin.

    Args:
        classes: how many classes there are; 1 for two classes that share one score.
    """

    name: ClassVar[str] = "linear-svm"
    classes: int = 10
    loss: ClassVar[str] = "hinge"
    optimizer: ClassVar[str] = "adamw"

    def __post_init__(self) -> None:
        bm.check_number(self, "classes", whole=True, at_least=1)

    def input_spec(self) -> bm.Spec:
        return bm.Spec(("N", 784))

    def __call__(self, x: Any) -> Any:
        return _scores(x, self.classes)
