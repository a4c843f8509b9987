"""A model of a series beside forecasts that need none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bigmodel_core.cli.terminal import Output, metric

if TYPE_CHECKING:
    import numpy as np

    from bigmodel_core.data.data import Data
    from bigmodel_core.data.split import Split


def point_of(split: Split, predicted: np.ndarray, levels: tuple[float, ...]) -> np.ndarray:
    """Of predicted quantiles the one in the middle; other predictions as they are.

    Args:
        split: the samples.
        predicted: what the model says of them.
        levels: of the quantiles; if they are not known, the middle one is taken for the median.
    """
    import numpy as np

    from bigmodel_core.train.forecasting import middle

    if predicted.ndim <= np.ndim(split.y):
        return predicted
    return predicted[..., middle(levels) if levels else predicted.shape[-1] // 2]


def compared(data: Data, split: Split, point: np.ndarray) -> dict[str, Any]:
    """The errors of the model and of simple forecasts, as `compared`; nothing if the data are no series.

    Args:
        data: the split is of.
        split: the samples.
        point: what the model says of them, in the units of the series.
    """
    from bigmodel_core.train.baselines import baselines, forecast_error, is_series

    if not is_series(data):
        return {}
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


def show_backtest(facts: dict[str, Any], output: Output) -> None:
    """Print the errors of a backtest, if there is one: by origin, then by step."""
    import numpy as np

    if found := facts.get("backtest"):
        errors, naive = np.array(found["errors"]), np.array(found["naive"])
        steps = [f"+{step}" for step in range(1, errors.shape[1] + 1)]
        for title, names, axis in (("First step", found["origins"], 1), ("Step", steps, 0)):
            output.line()
            rows = zip(names, errors.mean(axis), naive.mean(axis), strict=True)
            output.table(
                [title, "MAE", "Naive"],
                [[name, metric(float(own)), metric(float(other))] for name, own, other in rows],
                numbers=["MAE", "Naive"],
            )
