"""Models of a horizon: what their outputs are, what they see, and that they learn quantiles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, ShapeError

SMALL: dict[str, dict[str, Any]] = {
    "n-beats": {"blocks": 2, "width": 8, "layers": 2},
    "tcn": {"channels": 4, "blocks": 2},
}
MODELS = pytest.mark.parametrize("name", SMALL)


def built(name: str, **options: Any) -> bm.Model:
    model: bm.Model = bm.models.build(name, **SMALL[name], **options)
    return model


@MODELS
def test_the_output_has_horizon_columns_and_quantiles(name: str) -> None:
    x = bm.Spec(("N", 8, 3))
    assert built(name, outputs=5)(x).shape == ("N", 5)
    assert built(name, outputs=5, columns=2)(x).shape == ("N", 5, 2)
    assert built(name, outputs=5, quantiles=(0.1, 0.9))(x).shape == ("N", 5, 2)
    assert built(name, outputs=5, columns=2, quantiles=(0.1, 0.5, 0.9))(x).shape == ("N", 5, 2, 3)


@MODELS
def test_forecasts_move_with_the_level_of_the_columns_that_are_forecast(name: str) -> None:
    network = built(name, outputs=4, columns=2).build(bm.Spec(("N", 8, 3)), seed=1)
    x = np.random.default_rng(0).normal(size=(5, 8, 3)).astype("float32")
    higher = x + np.array([2, -3, 0], np.float32)
    np.testing.assert_allclose(network(higher), network(x) + np.array([2, -3]), atol=1e-5)


def test_a_convolution_sees_no_further_than_its_taps() -> None:
    network = built("tcn", outputs=1, kernel_size=2, relative=False).build(bm.Spec(("N", 12, 1)), seed=1)
    x = np.random.default_rng(0).normal(size=(1, 12, 1)).astype("float32")
    seen = []
    for step in range(12):
        other = x.copy()
        other[0, step] += 1
        seen.append(bool(network(other) != network(x)))
    assert not any(seen[: 12 - 7]) and seen[-1]  # 1 + 2 * (2 - 1) * (2^2 - 1) steps


@MODELS
def test_a_model_is_fitted_to_targets_and_loss(name: str, tmp_path: Path) -> None:
    rows = [f"{value},{value % 7}" for value in range(60)]
    (tmp_path / "s.csv").write_text("\n".join(["a,b", *rows]) + "\n")
    data = bm.datasets.load("series", tmp_path / "s.csv", columns=("a", "b"), length=6, horizon=3)
    model = built(name).fitted(data, bm.losses.Quantile((0.2, 0.8)))
    assert (model.outputs, model.columns, model.quantiles) == (3, 2, (0.2, 0.8))
    again = built(name, quantiles=(0.05, 0.95)).fitted(data)
    assert again.usual_loss == {"name": "quantile", "quantiles": [0.05, 0.95]}


def noise(tmp_path: Path) -> Path:
    """Values without a pattern, uniform from 0 to 100: their quantiles are known."""
    values = np.random.default_rng(0).uniform(0, 100, 2000)
    (tmp_path / "s.csv").write_text("\n".join(f"{value:.3f}" for value in values))
    return tmp_path / "s.csv"


def test_intervals_hold_as_many_values_as_they_say(tmp_path: Path) -> None:
    data = bm.datasets.load("series", noise(tmp_path), length=4, horizon=2)
    model = built("n-beats", quantiles=(0.1, 0.5, 0.9), relative=False).fitted(data)
    trainer = bm.Trainer(model, optimizer=bm.optimizers.Adam(0.005))
    trainer.fit(data, 6, 64, verbose=False)
    low, middle, high = np.moveaxis(trainer.predict(data.test), -1, 0)
    truth = data.test.truth
    assert np.mean(truth < low) == pytest.approx(0.1, abs=0.07)
    assert np.mean(truth < middle) == pytest.approx(0.5, abs=0.1)
    assert np.mean(truth > high) == pytest.approx(0.1, abs=0.07)


def test_metrics_are_of_the_middle_quantile(tmp_path: Path) -> None:
    data = bm.datasets.load("series", noise(tmp_path), length=4, horizon=2)
    model = built("n-beats", quantiles=(0.1, 0.5, 0.9)).fitted(data)
    trainer = bm.Trainer(model)
    trainer.fit(data, 1, 64, verbose=False)
    expected = np.abs(trainer.predict(data.test)[..., 1] - data.test.truth).mean()
    assert trainer.evaluate(data.test)["mean_absolute_error"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("columns", [("a",), ("a", "b")])
def test_quantiles_have_real_units_in_onnx_runtime(columns: tuple[str, ...], tmp_path: Path) -> None:
    ort = pytest.importorskip("onnxruntime")
    rows = [f"{200 + value},{value % 7}" for value in range(60)]
    (tmp_path / "s.csv").write_text("\n".join(["a,b", *rows]) + "\n")
    data = bm.datasets.load("series", tmp_path / "s.csv", columns=columns, length=6, horizon=3)
    trainer = bm.Trainer(built("n-beats", quantiles=(0.1, 0.9)).fitted(data))
    trainer.fit(data, 1, 16, verbose=False)
    bm.export(trainer.model, tmp_path / "m.onnx", with_preprocessing=True)
    session = ort.InferenceSession(tmp_path / "m.onnx")
    raw = data.preprocessing.invert(data.test.x).astype("float32")
    (found,) = session.run(None, {session.get_inputs()[0].name: raw})
    np.testing.assert_allclose(found, trainer.predict(data.test), rtol=1e-4, atol=1e-3)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="between 0 and 1 that grow"):
        bm.losses.Quantile((0.9, 0.1))
    with pytest.raises(ConfigError, match="between 0 and 1 that grow"):
        built("tcn", quantiles=(0.0, 0.5))
    with pytest.raises(ShapeError, match=r"expected \(N, T, features\) with at least 2 features"):
        built("n-beats", columns=2).build(bm.Spec(("N", 8, 1)))
    arrays = np.zeros((4, 2), np.float32)
    with pytest.raises(ShapeError, match="a number for each of 3 quantiles"):
        bm.function(bm.losses.Quantile())(arrays, arrays)
