"""Models that recommend: what they compute, and of whom they know nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError

RANDOM = np.random.default_rng(0)


def test_matrix_factorization_is_what_is_usual_and_a_product_of_vectors() -> None:
    network = bm.models.MatrixFactorization((4, 6), factors=3).build(bm.Spec(("N", 2), "int64"))
    state = {
        path: RANDOM.normal(size=array.shape).astype("float32") for path, array in network.state().items()
    }
    network.load_state(state)
    wanted = state["mean"] + state["user_usual/weight"] + state["item_usual/weight"].T
    wanted = wanted + state["user/weight"].astype("float64") @ state["item/weight"].T
    pairs = np.stack(np.meshgrid(range(1, 4), range(1, 6), indexing="ij"), -1).reshape(-1, 2)
    np.testing.assert_allclose(network(pairs).reshape(3, 5), wanted, rtol=1e-5, atol=1e-6)


def test_of_who_is_unknown_only_the_other_counts() -> None:
    network = bm.models.MatrixFactorization((4, 6), factors=3).build(bm.Spec(("N", 2), "int64"))
    state = {
        path: RANDOM.normal(size=array.shape).astype("float32") for path, array in network.state().items()
    }
    network.load_state(state)
    mean, usual = state["mean"], state["item_usual/weight"]
    np.testing.assert_allclose(network(np.array([[0, 2]])), [mean + usual[1]], rtol=1e-6)
    np.testing.assert_allclose(network(np.array([[0, 0]])), [mean], rtol=1e-6)


def test_it_fills_a_table_of_rank_2_better_than_what_is_usual_for_items() -> None:
    table = RANDOM.normal(size=(30, 2)) @ RANDOM.normal(size=(2, 20))
    pairs = RANDOM.permutation(np.stack(np.meshgrid(range(30), range(20), indexing="ij"), -1).reshape(-1, 2))
    y = table[pairs[:, 0], pairs[:, 1], None].astype("float32")
    data = bm.Data(
        "made",
        bm.Split(pairs[:450] + 1, y[:450]),
        bm.Split(pairs[450:] + 1, y[450:]),
        task="regression",
        category_sizes=(31, 21),
    )
    model = bm.models.MatrixFactorization(factors=4, dropout=0.0).fitted(data)
    trainer = bm.Trainer(model, optimizer=bm.optimizers.Adam(0.02))
    trainer.fit(data, epochs=60, verbose=False)
    usual = np.array([y[:450][pairs[:450, 1] == item].mean() for item in range(20)])
    baseline = np.sqrt(np.mean((usual[pairs[450:, 1]] - y[450:, 0]) ** 2))
    assert trainer.evaluate(data.test)["root_mean_squared_error"] < 0.5 * baseline


@pytest.mark.parametrize("categories", [(3,), (3, 1), 5, (2.5, 3)])
def test_users_and_items_have_to_have_codes(categories: Any) -> None:
    with pytest.raises(ConfigError, match="expected how many codes users have, and items"):
        bm.models.MatrixFactorization(categories)
