"""Forecasts without a network, compared with NumPy on the series itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import UsageError

VALUES = (50 + 10 * np.sin(np.arange(120) / 2) + np.random.default_rng(0).normal(size=120)).round(3)
LENGTH, HORIZON, SEASON, TEST = 24, 6, 12, 18  # a fifth of 91 windows
STARTS = np.arange(91 - TEST, 91)
TRUTH = np.stack([VALUES[start + LENGTH : start + LENGTH + HORIZON] for start in STARTS])
TRAINED = np.arange(91 - TEST - HORIZON + 1)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bm.ForecastError]:
    path = tmp_path_factory.mktemp("series") / "s.csv"
    path.write_text("\n".join(map(str, VALUES)))
    data = bm.datasets.load("series", path, length=LENGTH, horizon=HORIZON, season=SEASON)
    return {item.name: item for item in bm.baselines(data)}


def usual_error() -> float:
    ends = TRAINED + LENGTH
    return float(np.abs(VALUES[ends] - VALUES[ends - SEASON]).mean())


def test_the_naive_forecast_is_the_last_value(found: dict[str, bm.ForecastError]) -> None:
    error = np.abs(TRUTH - VALUES[STARTS + LENGTH - 1][:, None]).mean()
    assert found["naive"].mae == pytest.approx(error, rel=1e-4)
    assert found["naive"].mase == pytest.approx(error / usual_error(), rel=1e-4)


def test_the_seasonal_forecast_is_the_value_a_season_before(found: dict[str, bm.ForecastError]) -> None:
    before = np.stack([VALUES[start + LENGTH - SEASON :][:HORIZON] for start in STARTS])
    assert found["seasonal naive (12)"].mae == pytest.approx(np.abs(TRUTH - before).mean(), rel=1e-4)


def test_the_autoregression_is_the_least_squares_one(found: dict[str, bm.ForecastError]) -> None:
    def design(starts: np.ndarray) -> np.ndarray:
        return np.stack([np.append(VALUES[start : start + LENGTH], 1) for start in starts])

    targets = np.stack([VALUES[start + LENGTH : start + LENGTH + HORIZON] for start in TRAINED])
    weights = np.linalg.pinv(design(TRAINED)) @ targets
    error = np.abs(TRUTH - design(STARTS) @ weights).mean()
    assert found["linear autoregression"].mae == pytest.approx(error, rel=1e-3)


def test_several_columns_are_compared_each_with_its_own(tmp_path: Path) -> None:
    rows = [f"{value},{1000 * value}" for value in VALUES]
    (tmp_path / "s.csv").write_text("\n".join(["a,b", *rows]) + "\n")
    path = tmp_path / "s.csv"
    both = bm.baselines(bm.datasets.load("series", path, columns=("a", "b"), length=LENGTH))
    one = bm.baselines(bm.datasets.load("series", path, target=("a",), length=LENGTH))
    for two, single in zip(both, one, strict=True):
        assert two.mase == pytest.approx(single.mase, rel=1e-3)
        assert two.mae == pytest.approx(single.mae * 1001 / 2, rel=1e-3)


def test_a_constant_series_has_no_scaled_error(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("3\n" * 60)
    naive = bm.baselines(bm.datasets.load("series", tmp_path))[0]
    assert (naive.mae, naive.mase) == (0, None)


def test_data_that_are_no_series_are_refused() -> None:
    with pytest.raises(UsageError, match="no windows of a series"):
        bm.baselines(bm.datasets.load("digits"))
