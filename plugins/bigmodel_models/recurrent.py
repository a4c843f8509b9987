"""Models around recurrent layers: regression, classification, forecasts, a language model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import bigmodel_core as bm
from bigmodel_core.errors import ShapeError


def rows(x: Any) -> Any:
    """Images (N, C, H, W) as sequences of their rows (N, H, C * W); sequences as they are."""
    if x.ndim == 4:
        n, channels, height, width = x.shape
        if channels != 1:
            x = bm.ops.transpose(x, (0, 2, 1, 3))
        return bm.ops.reshape(x, (n, height, bm.dim_multiply(channels, width)))
    if x.ndim != 3:
        raise ShapeError(
            f"the input is {bm.format_shape(x.shape)}, expected (N, T, features) or (N, C, H, W).",
            fix="give sequences a time axis: x[:, :, None] for one number per step.",
        )
    return x


def check_sizes(model: bm.Model, *sizes: str) -> None:
    """Raise ConfigError unless these fields are positive integers and `dropout` is a probability below 1."""
    for field in sizes:
        bm.check_number(model, field, whole=True, at_least=1)
    bm.check_number(model, "dropout", at_least=0, below=1)


@dataclass(frozen=True)
class RnnRegressor(bm.Model):
    """A recurrent network (Elman, 1990) whose last state gives the outputs, linearly.

    Takes (N, T, features), a number per step by default, and gives (N, outputs).

    Args:
        units: the width of the state.
        outputs: how many numbers are predicted.

    >>> import bigmodel_core as bm
    >>> RnnRegressor()(bm.Spec(("N", "T", 1)))
    Spec((N, 1), float32)
    """

    name: ClassVar[str] = "rnn-regressor"
    units: int = 10
    outputs: int = 1
    loss: ClassVar[str] = "mean_squared_error"
    metrics: ClassVar[tuple[str, ...]] = ("mean_absolute_error", "r2")

    def __post_init__(self) -> None:
        bm.check_number(self, "units", whole=True, at_least=1)
        bm.check_number(self, "outputs", whole=True, at_least=1)

    def input_spec(self) -> bm.Spec:
        return bm.Spec(("N", 50, 1))

    def __call__(self, x: Any) -> Any:
        last = bm.layers.RNN(self.units, return_sequences=False)(x)
        return bm.layers.Dense(self.outputs)(last)


@dataclass(frozen=True)
class RecurrentClassifier(bm.Model):
    """What the classifiers by recurrent layers share; see those."""

    units: int = 128
    classes: int = 10
    layers: int = 1
    bidirectional: bool = False
    dropout: float = 0.0
    layer: ClassVar[str] = "RNN"

    def __post_init__(self) -> None:
        check_sizes(self, "units", "classes", "layers")

    def input_spec(self) -> bm.Spec:
        return bm.Spec(("N", 28, 28))

    def __call__(self, x: Any) -> Any:
        recurrent = bm.layers.get(self.layer)(
            self.units,
            layers=self.layers,
            bidirectional=self.bidirectional,
            dropout=self.dropout,
            return_sequences=False,
        )
        return bm.layers.Dense(self.classes)(recurrent(rows(x)))


@dataclass(frozen=True)
class RnnClassifier(RecurrentClassifier):
    """Classifies sequences with a recurrent network (Elman, 1990): scores from the last state.

    Takes (N, T, features), or images (N, C, H, W), which are read row by row; gives scores (N, classes).

    Args:
        units: the width of the state.
        classes: how many classes there are.
        layers: how many recurrent layers are stacked.
        bidirectional: whether sequences are also read backwards.
        dropout: in training, the probability of zeroing numbers between layers.
    """

    name: ClassVar[str] = "rnn-classifier"


@dataclass(frozen=True)
class LstmClassifier(RecurrentClassifier):
    """Classifies sequences with LSTM (Hochreiter and Schmidhuber, 1997): scores from the last state.

    Takes (N, T, features), or images (N, C, H, W), which are read row by row; gives scores (N, classes).

    Args:
        units: the width of the state.
        classes: how many classes there are.
        layers: how many recurrent layers are stacked.
        bidirectional: whether sequences are also read backwards.
        dropout: in training, the probability of zeroing numbers between layers.
    """

    name: ClassVar[str] = "lstm-classifier"
    layer: ClassVar[str] = "LSTM"


@dataclass(frozen=True)
class GruClassifier(RecurrentClassifier):
    """Classifies sequences with gated recurrent units (Cho et al., 2014): scores from the last state.

    Takes (N, T, features), or images (N, C, H, W), which are read row by row; gives scores (N, classes).

    Args:
        units: the width of the state.
        classes: how many classes there are.
        layers: how many recurrent layers are stacked.
        bidirectional: whether sequences are also read backwards.
        dropout: in training, the probability of zeroing numbers between layers.
    """

    name: ClassVar[str] = "gru-classifier"
    layer: ClassVar[str] = "GRU"


@dataclass(frozen=True)
class TimeSeriesForecaster(bm.Model):
    """Forecasts the next values of a time series with gated recurrent units (Cho et al., 2014).

    Takes (N, T, features) and gives (N, outputs). Where inputs and outputs are of one width, what is learned
    is the change from the last step.

    Args:
        units: the width of the state.
        outputs: how many numbers are predicted.
        layers: how many recurrent layers are stacked.
        dropout: in training, the probability of zeroing numbers between layers.

    >>> import bigmodel_core as bm
    >>> TimeSeriesForecaster()(bm.Spec(("N", "T", 1)))
    Spec((N, 1), float32)
    """

    name: ClassVar[str] = "time-series-forecaster"
    units: int = 32
    outputs: int = 1
    layers: int = 1
    dropout: float = 0.0
    loss: ClassVar[str] = "mean_squared_error"
    metrics: ClassVar[tuple[str, ...]] = ("mean_absolute_error", "r2")

    def __post_init__(self) -> None:
        check_sizes(self, "units", "outputs", "layers")

    def input_spec(self) -> bm.Spec:
        return bm.Spec(("N", 20, 1))

    def __call__(self, x: Any) -> Any:
        recurrent = bm.layers.GRU(
            self.units, layers=self.layers, dropout=self.dropout, return_sequences=False
        )
        change = bm.layers.Dense(self.outputs)(recurrent(x))
        return x[:, -1] + change if x.shape[2] == self.outputs else change


@dataclass(frozen=True)
class CharRnn(bm.Model):
    """A character language model with LSTM (Graves, 2013): scores of the next token at each step.

    Takes tokens (N, T), integers from 0 to classes - 1, and gives scores (N, T, classes).

    Args:
        classes: the size of the vocabulary.
        units: the width of the states.
        width: the width of the tokens' vectors.
        layers: how many recurrent layers are stacked.
        dropout: in training, the probability of zeroing numbers between layers.
        carry: whether calls of a session go on from each other, as `bm.generate` needs it; an exported file
            then takes and gives the states.

    >>> import bigmodel_core as bm
    >>> CharRnn(classes=30)(bm.Spec(("N", "T"), "int64"))
    Spec((N, T, 30), float32)
    """

    name: ClassVar[str] = "char-rnn"
    learning_rate: ClassVar[float | None] = 0.005
    classes: int = 65
    units: int = 128
    width: int = 32
    layers: int = 1
    dropout: float = 0.0
    carry: bool = True

    def __post_init__(self) -> None:
        check_sizes(self, "classes", "units", "width", "layers")

    def input_spec(self) -> bm.Spec:
        return bm.Spec(("N", "T"), "int64")

    def __call__(self, tokens: Any) -> Any:
        vectors = bm.layers.Embedding(self.classes, self.width)(tokens)
        lstm = bm.layers.LSTM(self.units, layers=self.layers, dropout=self.dropout, carry=self.carry)
        states = lstm(vectors)
        return bm.layers.Dense(self.classes)(states)
