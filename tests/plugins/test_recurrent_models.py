"""Models of sequences, and the series they learn from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import DataError, ShapeError
from bigmodel_datasets import Sine, Sunspots

CASES: list[tuple[Any, list[Any], None]] = [
    (bm.models.RnnRegressor(4), [(4, 5, 1)], None),
    (bm.models.RnnClassifier(4, 3), [(4, 5, 2)], None),
    (bm.models.LstmClassifier(4, 3, bidirectional=True), [(4, 2, 3, 4)], None),
    (bm.models.GruClassifier(4, 3, layers=2, dropout=0.2), [(4, 1, 3, 4)], None),
    (bm.models.TimeSeriesForecaster(4), [(4, 5, 1)], None),
    (bm.models.NBeats(2, 2, (0.1, 0.9), blocks=2, width=4, layers=1, dropout=0.2), [(4, 5, 3)], None),
    (bm.models.Tcn(3, channels=4, blocks=2), [(4, 5, 1)], None),
    (bm.models.CharRnn(2, 4, 3), [np.array([[0, 1, 1], [1, 0, 1]])], None),
]
"""What `test_conformance` sweeps: models, inputs, no references."""


def test_images_are_read_row_by_row() -> None:
    image = np.random.default_rng(0).normal(size=(3, 2, 5, 4)).astype("float32")
    model = bm.models.GruClassifier(6, 3)
    network = model.build(bm.Spec(("N", 2, 5, 4)))
    scores = network(image)
    sequences = model.build(bm.Spec(("N", "T", 8)))
    sequences.load_state(network.state())
    np.testing.assert_array_equal(sequences(image.transpose(0, 2, 1, 3).reshape(3, 5, 8)), scores)


def test_flat_samples_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"expected \(N, T, features\)"):
        bm.models.LstmClassifier().build(bm.Spec(("N", 784)))


def test_sunspots_are_the_published_ones() -> None:
    data = Sunspots(length=1, test_fraction=0.5).load()
    years = np.concatenate([data.train.x, data.test.x])[:, 0, 0] * 100
    assert len(years) == 308
    assert years[0] == pytest.approx(5)  # 1700
    assert years[1957 - 1700] == pytest.approx(190.2)
    assert years.argmax() == 1957 - 1700
    assert data.test.y is not None
    assert data.test.y[-1, 0] == pytest.approx(0.029)  # 2008


def test_each_target_follows_its_window() -> None:
    data = Sunspots(length=20).load()
    for split in (data.train, data.test):
        assert split.y is not None
        np.testing.assert_array_equal(split.x[1:, -1, 0], split.y[:-1, 0])
    assert data.train.y is not None
    np.testing.assert_array_equal(data.test.x[0, -1], data.train.y[-1])


def test_series_refuse_what_they_cannot_do() -> None:
    with pytest.raises(DataError, match="too few"):
        Sunspots(length=308).load()
    with pytest.raises(DataError, match="not read from a folder"):
        Sine().load(data_dir=__import__("pathlib").Path("."))


def test_a_sine_continues_its_sample() -> None:
    data = Sine(length=40, samples=50).load()
    x, y = data.train.x[..., 0].astype(float), data.train.y
    assert y is not None
    # sin(a + b) + sin(a - b) = 2 sin(a) cos(b): three neighbours of a wave give its frequency.
    twice_cosine = (x[:, 2:] + x[:, :-2])[:, -1] / x[:, -2]
    clear = np.abs(x[:, -2]) > 0.3
    np.testing.assert_allclose((twice_cosine * x[:, -1] - x[:, -2])[clear], y[clear, 0], atol=1e-4)


def test_the_forecaster_beats_the_last_value() -> None:
    data = Sunspots(length=20).load()
    assert data.train.y is not None and data.test.y is not None
    model = bm.models.TimeSeriesForecaster()
    network = model.build(bm.Spec(("N", 20, 1)), seed=1)
    step = bm.compile(network, "mean_squared_error", bm.optimizers.Adam(0.005))
    generator = np.random.default_rng(0)
    for _ in range(60):
        order = generator.permutation(len(data.train.x))
        for start in range(0, len(order), 32):
            chosen = order[start : start + 32]
            step(data.train.x[chosen], data.train.y[chosen])
    error = float(np.mean((network(data.test.x) - data.test.y) ** 2))
    last_value = float(np.mean((data.test.x[:, -1] - data.test.y) ** 2))
    assert error < 0.5 * last_value
