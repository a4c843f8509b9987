"""A model of a series beside forecasts that need none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bigmodel_core.cli.terminal import Output, metric

if TYPE_CHECKING:
    import numpy as np

    from bigmodel_core.data.dataset import Data
    from bigmodel_core.data.split import Split


def compared(data: Data, split: Split, predicted: np.ndarray, levels: tuple[float, ...]) -> dict[str, Any]:
    """The errors of the model and of simple forecasts, as `compared`; nothing if the data are no series.

    Args:
        data: the split is of.
        split: the samples.
        predicted: what the model says of them, in the units of the series.
        levels: of the quantiles, if it gives some; the one in the middle counts.
    """
    import numpy as np

    from bigmodel_core.train.baselines import baselines, forecast_error, is_series
    from bigmodel_core.train.forecasting import middle

    if not is_series(data):
        return {}
    point = predicted
    if predicted.ndim > np.ndim(split.y):
        point = predicted[..., middle(levels) if levels else predicted.shape[-1] // 2]
    found = [forecast_error("the model", data, split, point), *baselines(data, split)]
    return {"compared": [item.to_dict() for item in found]}


def show(facts: dict[str, Any], output: Output) -> None:
    """Print the errors, if there are some."""
    if rows := facts.get("compared"):
        output.table(
            ["Forecast", "MAE", "MASE"],
            [
                [row["name"], metric(row["mae"]), "" if row["mase"] is None else metric(row["mase"])]
                for row in rows
            ],
            numbers=["MAE", "MASE"],
        )
