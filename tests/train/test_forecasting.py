"""Forecasts past the end of a series: how they go on, what they are called, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import DataError, UsageError
from bigmodel_core.train.forecasting import forecast_of, quantiles_of

PLAIN = bm.Encoding("made", "regression")


def drift(x: np.ndarray) -> np.ndarray:
    """Two values that go on as the last two did, as a line does."""
    last, step = x[:, -1:, 0], x[:, -1:, 0] - x[:, -2:-1, 0]
    return np.concatenate([last + step, last + 2 * step], 1)


def line(**options: Any) -> bm.Timeline:
    return bm.Timeline(np.arange(10.0)[:, None], length=4, horizon=2, targets=("level",), **options)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_line_goes_on_beyond_the_horizon(steps: int) -> None:
    found = forecast_of(drift, [line()], PLAIN, steps)
    np.testing.assert_array_equal(found.series[0].values[:, 0], np.arange(10.0, 10 + steps))


def test_steps_have_dates_or_numbers() -> None:
    dated = line(date=lambda row: str(2000 + row))
    assert [row["date"] for row in forecast_of(drift, [dated], PLAIN, 3).rows()] == ["2010", "2011", "2012"]
    assert [row["step"] for row in forecast_of(drift, [line()], PLAIN, 2).rows()] == ["+1", "+2"]


def test_several_series_go_on_each_for_itself() -> None:
    down = bm.Timeline(np.arange(30.0, 0, -3)[:, None], length=4, horizon=2, name="down", targets=("level",))
    found = forecast_of(drift, [line(name="up"), down], PLAIN, 3)
    assert [(row["series"], row["level"]) for row in found.rows()] == [
        ("up", 10), ("up", 11), ("up", 12), ("down", 0), ("down", -3), ("down", -6),
    ]  # fmt: skip


def test_the_middle_quantile_is_what_it_goes_on_from() -> None:
    def spread(x: np.ndarray) -> np.ndarray:
        return np.stack([drift(x) - 1, drift(x), drift(x) + 2], -1)

    found = forecast_of(spread, [line()], PLAIN, 4, levels=(0.1, 0.5, 0.9))
    np.testing.assert_array_equal(found.series[0].values[:, 0], [10, 11, 12, 13])
    row = found.rows()[-1]
    assert (row["level 10 %"], row["level"], row["level 90 %"]) == (12, 13, 15)
    assert "intervals there are too narrow" in found.notes[-1]


def test_what_is_known_is_used_as_it_is_ahead() -> None:
    known = np.arange(100.0, 114)[:, None]
    found = forecast_of(lambda x: x[:, -2:, 2], [line(known=known)], PLAIN, 4)
    np.testing.assert_array_equal(found.series[0].values[:, 0], [110, 111, 112, 113])


def test_what_is_known_has_to_reach_far_enough() -> None:
    known = np.zeros((13, 1))
    with pytest.raises(DataError, match=r"have 3 rows after the others, a forecast needs 4(.|\n)*at most 2"):
        forecast_of(drift, [line(known=known)], PLAIN, 4)


def test_columns_that_are_not_forecast_end_at_the_horizon() -> None:
    lines = [line(others=np.zeros((10, 1)))]
    assert len(forecast_of(drift, lines, PLAIN, 2).rows()) == 2
    with pytest.raises(UsageError, match="ask for at most 2 steps"):
        forecast_of(drift, lines, PLAIN, 3)


def test_a_series_shorter_than_a_window_is_refused() -> None:
    short = bm.Timeline(np.zeros((3, 1)), length=4)
    with pytest.raises(DataError, match="there are 3 values, and the model looks at 4"):
        forecast_of(drift, [short], PLAIN, 1)


def test_a_chart_begins_where_the_past_ends() -> None:
    (chart,) = forecast_of(drift, [line()], PLAIN, 2).charts()
    assert "recorded: 6 points, from 4 to 9" in chart.description
    assert "forecast: 3 points, from 9 to 11" in chart.description


def test_a_model_without_quantiles_says_none() -> None:
    assert quantiles_of(bm.models.RnnRegressor()) == ()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[bm.Trainer, bm.Data, Path]:
    path = tmp_path_factory.mktemp("series") / "s.csv"
    waves = np.sin(np.arange(90) / 5) * 40 + 100
    rows = [f"{2000 + row // 12}-{row % 12 + 1:02},{value:.3f}" for row, value in enumerate(waves)]
    path.write_text("\n".join(["month,level", *rows]) + "\n")
    data = bm.datasets.load("series", path, target=("level",), date="month", length=8, horizon=3)
    trainer = bm.Trainer(bm.models.build("rnn-regressor", units=4).fitted(data), seed=1)
    trainer.fit(data, 1, 16, verbose=False)
    return trainer, data, path


def test_a_forecast_is_what_the_model_predicts_of_the_last_window(
    trained: tuple[bm.Trainer, bm.Data, Path],
) -> None:
    trainer, data, path = trained
    found = bm.forecast(trainer.model, path)
    (timeline,) = data.made_by.timelines(path, data.encoding)
    x = data.preprocessing.apply(timeline.last()[np.newaxis])
    np.testing.assert_allclose(found.series[0].values[:, 0], trainer.predict(x)[0], rtol=1e-6)
    assert found.series[0].dates == ("2007-07", "2007-08", "2007-09")


def test_a_saved_model_forecasts_the_same(trained: tuple[bm.Trainer, bm.Data, Path], tmp_path: Path) -> None:
    trainer, data, path = trained
    bm.save(trainer.model, tmp_path / "m.safetensors")
    again = bm.forecast(str(tmp_path / "m.safetensors"), path, steps=5)
    assert again.rows() == bm.forecast(trainer.model, data, steps=5).rows()


def test_a_model_of_no_series_says_so() -> None:
    data = bm.datasets.load("digits")
    trainer = bm.Trainer(bm.models.build("logistic-regression").fitted(data))
    trainer.fit(data.train.take(np.arange(64)), 1, verbose=False)
    with pytest.raises(UsageError, match="trained on digits, which is no series"):
        bm.forecast(trainer.model, data)
