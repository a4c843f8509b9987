"""Factors of low rank: two small layers in the place of a large one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, GraphError

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(6, 16)).astype("float32")


@pytest.fixture(scope="module")
def dense() -> Any:
    model = bm.Sequential(bm.layers.Dense(16, activation="relu"), bm.layers.Dense(3))
    model.build(bm.Spec(("N", 16)), seed=3)
    return model


def nearest(matrix: np.ndarray, rank: int) -> np.ndarray:
    """The nearest matrix of a rank."""
    left, sizes, right = np.linalg.svd(matrix.astype("float64"), full_matrices=False)
    return (left[:, :rank] * sizes[:rank]) @ right[:rank]


def test_a_dense_layer_becomes_the_nearest_of_its_rank(dense: Any) -> None:
    state = dense.state()
    hidden = np.maximum(X @ nearest(state["dense_1/weight"], 4) + state["dense_1/bias"], 0)
    expected = hidden @ state["dense_2/weight"] + state["dense_2/bias"]
    np.testing.assert_allclose(bm.factorize(dense, rank=4)(X), expected, rtol=1e-4, atol=1e-5)


def test_filters_become_the_nearest_of_their_rank() -> None:
    model = bm.Sequential(bm.layers.Conv2d(8, 3, stride=2, padding=1), bm.layers.Flatten())
    x = DRAW.normal(size=(2, 4, 8, 8)).astype("float32")
    model.build(bm.Spec(("N", 4, 8, 8)), seed=1)
    small, same = bm.factorize(model, rank=3), bm.clone(model)
    weight = model.state()["conv2d_1/weight"]
    same.load_state(
        {**model.state(), "conv2d_1/weight": nearest(weight.reshape(8, -1), 3).reshape(8, 4, 3, 3)}
    )
    assert small.state()["conv2d_1/weight_down"].shape == (3, 4, 3, 3)
    np.testing.assert_allclose(small(x), same(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("energy", [0.5, 0.8])
def test_the_rank_is_the_lowest_that_keeps_the_energy(dense: Any, energy: float) -> None:
    sizes = np.linalg.svd(dense.state()["dense_1/weight"].astype("float64"), compute_uv=False) ** 2
    rank = next(rank for rank in range(1, 17) if sizes[:rank].sum() >= energy * sizes.sum())
    assert bm.factorize(dense, energy).state()["dense_1/weight_down"].shape == (16, rank)


def test_a_layer_that_would_not_become_smaller_stays(dense: Any) -> None:
    small = bm.factorize(dense, rank=4).state()  # 4 x (16 + 3) numbers are more than 16 x 3
    np.testing.assert_array_equal(small["dense_2/weight"], dense.state()["dense_2/weight"])
    with pytest.raises(GraphError, match="no layer becomes smaller by factors that keep rank 8"):
        bm.factorize(dense, rank=8)


def test_a_weight_that_is_used_in_another_way_stays_whole() -> None:
    model = bm.models.build("gpt", vocabulary=32, context=8, layers=1, heads=2, width=16)
    tokens = DRAW.integers(0, 32, (2, 5))
    model(tokens)
    state = bm.factorize(model, rank=2).state()
    assert "embedding/weight" in state and "block_1/attention/query/weight_down" in state


def test_factors_train_on_reload_and_export(dense: Any, tmp_path: Path) -> None:
    small = bm.factorize(dense, rank=2)
    before = small.state()
    trainer = bm.Trainer(small, "cross_entropy", bm.optimizers.Adam(0.05), out=tmp_path / "run")
    history = trainer.fit((X, np.arange(6) % 3), epochs=5, verbose=False)
    assert history["loss"][-1] < history["loss"][0]
    assert all(
        (small.state()[f"dense_1/weight_{part}"] != before[f"dense_1/weight_{part}"]).any()
        for part in ("up", "down")
    )
    again = bm.load(tmp_path / "run" / "last.safetensors")
    np.testing.assert_array_equal(again(X), small(X))
    bm.export(again, tmp_path / "small.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "small.onnx")
    (found,) = session.run(None, {session.get_inputs()[0].name: X})
    np.testing.assert_allclose(found, small(X), rtol=1e-4, atol=1e-5)
    assert sum(a.size for a in again.state().values()) == 2 * (16 + 16) + 16 + 2 * (16 + 3) + 3


@pytest.mark.parametrize("options", [{"energy": 0}, {"energy": 1.5}, {"rank": 0}])
def test_a_wrong_option_is_named(dense: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        bm.factorize(dense, **options)
