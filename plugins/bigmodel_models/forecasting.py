"""Models that forecast several steps of a series at once: N-BEATS and temporal convolutions."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, ShapeError


@dataclass(frozen=True)
class Forecaster(bm.Model):
    """What models of a horizon share: the shape of their output, and the level they forecast from.

    Takes (N, T, features), the columns that are forecast first, and gives (N, outputs); of several columns
    (N, outputs, columns). Quantiles are an axis at the end.
    """

    outputs: int = 1
    columns: int = 0
    quantiles: tuple[float, ...] = ()
    relative: bool = True
    dropout: float = 0.0
    loss: ClassVar[str] = "mean_squared_error"
    metrics: ClassVar[tuple[str, ...]] = ("mean_absolute_error", "r2")

    def __post_init__(self) -> None:
        bm.check_number(self, "outputs", whole=True, at_least=1)
        bm.check_number(self, "columns", whole=True, at_least=0)
        bm.check_number(self, "dropout", at_least=0, below=1)
        levels = tuple(self.quantiles)
        ends = (0.0, *levels, 1.0)
        if any(low >= high for low, high in itertools.pairwise(ends)):
            raise ConfigError(
                f"quantiles is {self.quantiles!r}, expected numbers between 0 and 1 that grow.",
                where=type(self).__name__,
                fix="as in quantiles=(0.1, 0.5, 0.9).",
                shell="as in quantiles=0.1,0.5,0.9.",
            )
        object.__setattr__(self, "quantiles", levels)

    @property
    def usual_loss(self) -> Any:
        """The pinball loss if the model gives quantiles."""
        return {"name": "quantile", "quantiles": list(self.quantiles)} if self.quantiles else self.loss

    def fitted(self, data: bm.Data, loss: bm.Loss | None = None) -> Self:
        """The same model for a data set, with its horizon and columns, and the quantiles of the loss."""
        found = super().fitted(data, loss)
        y = data.train.y
        columns = y.shape[2] if y is not None and y.ndim == 3 else 0
        levels = found.quantiles if loss is None else tuple(getattr(loss, "quantiles", ()))
        return replace(found, columns=columns, quantiles=levels)

    def input_spec(self) -> bm.Spec:
        return bm.Spec(("N", 20, 1))

    def __call__(self, x: Any) -> Any:
        if x.ndim != 3 or x.shape[2] < self.columns:
            least = max(self.columns, 1)
            raise ShapeError(
                f"the input is {bm.format_shape(x.shape)}, expected (N, T, features) with at least {least}"
                f" feature{'' if least == 1 else 's'}.",
                fix="give sequences a time axis: x[:, :, None] for one number per step.",
            )
        k, levels = max(self.columns, 1), len(self.quantiles)
        last = x[:, -1:, :k]
        if self.relative:
            level = x[:, :, :k] - last
            x = level if x.shape[2] == k else bm.ops.concatenate([level, x[:, :, k:]], 2)
        found = self.change(x, self.outputs * k * max(levels, 1))
        shape = (x.shape[0], self.outputs, *((k,) if self.columns else ()))
        found = bm.ops.reshape(found, (*shape, levels) if levels else shape)
        if not self.relative:
            return found
        base = last if self.columns else last[:, :, 0]
        return found + (bm.ops.expand_dims(base, -1) if levels else base)

    def change(self, x: Any, width: int) -> Any:
        """What is forecast of (N, T, features), as (N, width)."""
        raise NotImplementedError


@dataclass(frozen=True)
class NBeats(Forecaster):
    """Forecasts a series with N-BEATS (Oreshkin et al., 2020): blocks of dense layers, each of which explains
    a part of the window and forecasts what follows from that part.

    Takes (N, T, features), the columns that are forecast first, and gives (N, outputs); of several columns
    (N, outputs, columns). Quantiles are an axis at the end. The blocks are the generic ones.

    Args:
        outputs: how many steps are forecast.
        columns: how many columns are forecast, if targets have an axis for them.
        quantiles: levels of the quantiles that are forecast, as the loss `quantile` has them.
        relative: whether windows are seen, and forecasts made, relative to the last values.
        dropout: in training, the probability of zeroing numbers inside blocks.
        blocks: how many blocks there are.
        width: of their layers.
        layers: in each block.

    >>> import bigmodel_core as bm
    >>> NBeats(outputs=12)(bm.Spec(("N", 24, 3)))
    Spec((N, 12), float32)
    """

    name: ClassVar[str] = "n-beats"
    blocks: int = 3
    width: int = 64
    layers: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("blocks", "width", "layers"):
            bm.check_number(self, field, whole=True, at_least=1)

    def change(self, x: Any, width: int) -> Any:
        rest = bm.ops.flatten(x)
        size, total = rest.shape[1], None
        for block in range(self.blocks):
            hidden = rest
            for _ in range(self.layers):
                hidden = bm.ops.relu(bm.layers.Dense(self.width)(hidden))
                if self.dropout:
                    hidden = bm.layers.Dropout(self.dropout)(hidden)
            forecast = bm.layers.Dense(width)(hidden)
            total = forecast if total is None else total + forecast
            if block + 1 < self.blocks:
                rest = rest - bm.layers.Dense(size)(hidden)
        return total


@dataclass(frozen=True)
class Tcn(Forecaster):
    """Forecasts a series with a temporal convolutional network (Bai, Kolter and Koltun, 2018): causal
    convolutions whose taps are twice as far apart in each block.

    Takes (N, T, features), the columns that are forecast first, and gives (N, outputs); of several columns
    (N, outputs, columns). Quantiles are an axis at the end.

    Args:
        outputs: how many steps are forecast.
        columns: how many columns are forecast, if targets have an axis for them.
        quantiles: levels of the quantiles that are forecast, as the loss `quantile` has them.
        relative: whether windows are seen, and forecasts made, relative to the last values.
        dropout: in training, the probability of zeroing numbers inside blocks.
        channels: how many filters each convolution has.
        blocks: how many blocks there are; b of them see 1 + 2 * (kernel_size - 1) * (2^b - 1) steps.
        kernel_size: taps of a filter.

    >>> import bigmodel_core as bm
    >>> Tcn(outputs=12)(bm.Spec(("N", 24, 3)))
    Spec((N, 12), float32)
    """

    name: ClassVar[str] = "tcn"
    channels: int = 32
    blocks: int = 3
    kernel_size: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("channels", "blocks", "kernel_size"):
            bm.check_number(self, field, whole=True, at_least=1)

    def change(self, x: Any, width: int) -> Any:
        x = bm.ops.transpose(x, (0, 2, 1))
        for block in range(self.blocks):
            inner = x
            for _ in range(2):
                inner = bm.ops.pad(inner, {-1: ((self.kernel_size - 1) * 2**block, 0)})
                inner = bm.layers.Conv1d(self.channels, self.kernel_size, dilation=2**block)(inner)
                inner = bm.ops.relu(inner)
                if self.dropout:
                    inner = bm.layers.Dropout(self.dropout)(inner)
            same = x.shape[1] == self.channels
            x = bm.ops.relu(inner + (x if same else bm.layers.Conv1d(self.channels, 1)(x)))
        return bm.layers.Dense(width)(x[:, :, -1])
