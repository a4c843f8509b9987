"""Forecasts past the end of a series, in the units it was recorded in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bigmodel_core.charts.chart import Chart
from bigmodel_core.charts.lines import line as line_chart
from bigmodel_core.data.data import Data
from bigmodel_core.data.encoding import Encoding
from bigmodel_core.data.like import encoding_of
from bigmodel_core.data.timeline import Timeline
from bigmodel_core.errors import BigmodelError, DataError, UsageError
from bigmodel_core.nn.layer import Layer
from bigmodel_core.registry import config
from bigmodel_core.train import runs
from bigmodel_core.train.checkpoint import read
from bigmodel_core.train.evaluation import in_recorded_units
from bigmodel_core.train.restored import RestoredModel


@dataclass(frozen=True, eq=False)
class SeriesForecast:
    """What comes after the end of one series.

    Args:
        past: the series.
        values: (steps, k), the columns that are forecast; of a model of quantiles the middle one.
        quantiles: (steps, k, q) in the order of the levels; None if the model gives none.
        dates: what each step is called: its date, or "+1" where there are none.
    """

    past: Timeline
    values: np.ndarray
    quantiles: np.ndarray | None
    dates: tuple[str, ...]

    def chart(self, column: int = 0, levels: Sequence[float] = (), past: int | None = None) -> Chart:
        """The end of the series, and how it goes on.

        Args:
            column: which of the columns that are forecast.
            levels: of the quantiles.
            past: rows of the past that are shown; None for three times the steps, and a window at least.
        """
        steps, end = len(self.values), len(self.past)
        shown = min(past or max(3 * steps, self.past.length), end)
        before = self.past.values[end - shown :, column]
        title = self.past.targets[column] if self.past.targets else f"column {column + 1}"
        lines = {
            "recorded": (np.arange(1 - shown, 1), before),
            "forecast": (np.arange(0, steps + 1), np.append(before[-1:], self.values[:, column])),
        }
        if self.quantiles is not None:
            for number, level in enumerate(levels):
                if number != middle(levels):
                    lines[percent(level)] = (
                        np.arange(0, steps + 1),
                        np.append(before[-1:], self.quantiles[:, column, number]),
                    )
        last = self.past.date(end - 1) if self.past.date is not None else f"row {end}"
        return line_chart(
            {name: ys for name, (_, ys) in lines.items()},
            {name: xs for name, (xs, _) in lines.items()},
            title=f"{self.past.name}: {title}" if self.past.name else title,
            x_label=f"steps after {last}",
            dots=False,
        )


@dataclass(frozen=True, eq=False)
class Forecast:
    """What comes after the end of each series of some data.

    Args:
        series: the forecast of each.
        targets: the names of the columns that are forecast.
        levels: of the quantiles, such as (0.1, 0.5, 0.9); none if the model gives none.
        notes: what to know about it, one sentence each.
    """

    series: tuple[SeriesForecast, ...]
    targets: tuple[str, ...]
    levels: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()

    def rows(self) -> list[dict[str, Any]]:
        """A row for each step of each series: where it is, and the numbers by column."""
        found = []
        for item in self.series:
            for step, date in enumerate(item.dates):
                row: dict[str, Any] = {"series": item.past.name} if item.past.name else {}
                row["date" if item.past.date is not None else "step"] = date
                for column, name in enumerate(self.targets):
                    row[name] = float(item.values[step, column])
                    if item.quantiles is not None:
                        for number, level in enumerate(self.levels):
                            if level == 0.5:  # that is the value itself
                                continue
                            row[f"{name} {percent(level)}"] = float(item.quantiles[step, column, number])
                found.append(row)
        return found

    def charts(self) -> list[Chart]:
        """A chart for each column of each series."""
        return [
            item.chart(column, self.levels) for item in self.series for column in range(len(self.targets))
        ]

    def _repr_html_(self) -> str:
        return "".join(chart.svg for chart in self.charts())

    def to_dict(self) -> dict[str, Any]:
        """The forecast as JSON-able values."""
        return {
            "targets": list(self.targets),
            "quantiles": list(self.levels),
            "rows": self.rows(),
            "notes": list(self.notes),
        }


def percent(level: float) -> str:
    """A quantile as people read it.

    >>> percent(0.1), percent(0.975)
    ('10 %', '97.5 %')
    """
    return f"{100 * level:.10g} %"


def middle(levels: Sequence[float]) -> int:
    """Which of the quantiles stands for them all: the one that is nearest to the median."""
    return int(np.abs(np.array(levels) - 0.5).argmin())


def forecast(model: Any, data: Data | str | Path | None = None, steps: int | None = None) -> Forecast:
    """What comes after the end of the series that a model was trained on, or of others like them.

    A model gives a horizon at once. Beyond it, its own forecasts are taken for the values.

    Args:
        model: a run or a checkpoint by its path, or a trained model.
        data: a file or folder of the data set of the training, or data; None for what a run was trained on.
        steps: how many; a horizon if None.

    Raises:
        UsageError: the model was trained on no series; more steps than what is known allows.
        DataError: the file is missing, or too short; columns known in advance end too early.

    >>> import bigmodel_core as bm
    >>> trainer = bm.Trainer(bm.models.build("rnn-regressor", units=4))
    >>> sunspots = bm.datasets.load("sunspots")
    >>> history = trainer.fit(sunspots, epochs=1, verbose=False)
    >>> [row["date"] for row in bm.forecast(trainer.model, sunspots, steps=2).rows()]
    ['2009', '2010']
    """
    place: Path | None = None
    if isinstance(model, (str, Path)):
        content = read(Path(model))
        place = _place(content.path)
        model = content.restore()
    encoding = encoding_of(model)
    dataset = encoding.made_by()
    if isinstance(data, Data):
        dataset, place = data.made_by or dataset, data.data_dir
    elif data is not None:
        place = Path(data)
    if dataset is None:
        raise UsageError(
            "the model does not say which data set it was trained on.",
            where="forecast",
            fix="train it on a Data, such as bm.datasets.load(...) gives.",
        )
    lines = dataset.timelines(place, encoding)
    horizon = lines[0].horizon
    steps = horizon if steps is None else steps
    if steps < 1:
        raise UsageError(f"steps is {steps}, expected at least 1.", where="forecast")
    return forecast_of(model, lines, encoding, steps)


def forecast_of(
    model: Any, lines: Sequence[Timeline], encoding: Encoding, steps: int, levels: Sequence[float] = ()
) -> Forecast:
    """The forecast of some series; see `forecast`.

    Args:
        model: what takes (n, length, F) and gives (n, horizon), (n, horizon, k), or these with an axis of
            quantiles at the end.
        lines: the series.
        encoding: of the training.
        steps: how many.
        levels: of the quantiles; those of the model if there are none.
    """
    horizon, k = lines[0].horizon, lines[0].values.shape[1]
    rounds = -(-steps // horizon)
    for line in lines:
        _check_known(line, rounds * horizon)
    levels = tuple(levels) or quantiles_of(model)
    going: list[Timeline] = list(lines)
    found: list[np.ndarray] = []
    for turn in range(rounds):
        x = np.stack([line.last() for line in going])
        x = x.astype(np.float32) if encoding.preprocessing is None else encoding.preprocessing.apply(x)
        numbers = np.asarray(in_recorded_units(np.asarray(model(x)), encoding), np.float64)
        numbers = numbers.reshape(len(lines), horizon, k, -1)
        numbers.sort(-1)  # quantiles that were learned each for itself may cross
        found.append(numbers)
        point = numbers[..., middle(levels) if levels else 0]
        if turn + 1 < rounds:
            going = [line.extended(values) for line, values in zip(going, point, strict=True)]
    whole = np.concatenate(found, 1)[:, :steps]
    series = [
        SeriesForecast(
            line,
            numbers[..., middle(levels) if levels else 0],
            numbers if levels else None,
            tuple(
                f"+{step + 1}" if line.date is None else line.date(len(line) + step) for step in range(steps)
            ),
        )
        for line, numbers in zip(lines, whole, strict=True)
    ]
    notes = [note for line in lines for note in line.notes]
    if rounds > 1:
        narrow = ", and the intervals there are too narrow" if levels else ""
        notes.append(f"Beyond step {horizon} the forecast goes on from itself{narrow}.")
    targets = lines[0].targets or tuple(f"column {number}" for number in range(1, k + 1))
    return Forecast(tuple(series), targets, levels, tuple(notes))


def quantiles_of(model: Any) -> tuple[float, ...]:
    """The levels of the quantiles that a model gives; none if it gives none."""
    layer = model if isinstance(model, Layer) else getattr(model, "layer", None)
    if isinstance(layer, RestoredModel):
        described = layer.about.config or {}
        try:
            layer = config.from_config(described["kind"], described)
        except (BigmodelError, KeyError, TypeError):
            return ()
    return tuple(getattr(layer, "quantiles", ()))


def _place(path: Path) -> Path | None:
    """Where the data of the run that a checkpoint is in were read from."""
    run = path.parent
    return runs.data_dir_of(run, runs.read_manifest(run)) if runs.is_run(run) else None


def _check_known(line: Timeline, rows: int) -> None:
    if line.known is not None and len(line.known) < len(line) + rows:
        there = len(line.known) - len(line)
        raise DataError(
            f"the columns known in advance have {there} rows after the others, a forecast needs {rows}.",
            where=": ".join(part for part in (line.place, line.name) if part) or None,
            fix="add rows in which only these columns are filled"
            + (f", or ask for at most {there // line.horizon * line.horizon} steps." if there else "."),
        )
