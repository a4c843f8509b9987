"""Models that recommend: what they compute, and of whom they know nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import BigmodelError, ConfigError

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


def test_two_tower_multiplies_what_two_networks_make() -> None:
    network = bm.models.TwoTower((4, 6), width=3, widths=(5, 2)).build(bm.Spec(("N", 1), "int64"))
    state = {
        path: RANDOM.normal(size=array.shape).astype("float32") for path, array in network.state().items()
    }
    network.load_state(state)
    mine = (
        np.maximum(state["user/weight"].astype("float64") @ state["user_1/weight"], 0)
        @ state["user_2/weight"]
    )
    theirs = np.maximum(state["item/weight"] @ state["item_1/weight"] + state["item_1/bias"], 0)
    theirs = theirs @ state["item_2/weight"] + state["item_2/bias"]
    scores = network(np.array([[1], [2], [3], [0]]))
    np.testing.assert_allclose(scores[:3, 1:], mine @ theirs.T + state["usual"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(scores[3, 1:], state["usual"], rtol=1e-5)  # of who is unknown
    assert (scores[:, 0] < scores[:, 1:].min(1)).all()


def clubs(folder: Path, target: str) -> bm.Data:
    """Two clubs of users, each with items of its own, of which a user takes 8 of 10."""
    lines = [
        f"u{user},{'ab'[user % 2]}{item},{5 - item // 4}"
        for user in range(20)
        for item in RANDOM.permutation(10)[:8]
    ]
    (folder / "ratings.csv").write_text("\n".join(["user,item,rating", *lines]) + "\n")
    return bm.datasets.load("ratings", folder, target=target)


def test_users_are_recommended_what_their_kind_takes_and_they_have_not(tmp_path: Path) -> None:
    data = clubs(tmp_path, "item")
    model = bm.models.TwoTower(width=8, widths=(8,), dropout=0.0).fitted(data)
    bm.Trainer(model, optimizer=bm.optimizers.Adam(0.02)).fit(data, epochs=30, verbose=False)
    best = bm.recommend(model, "u1", 3, data=data)
    had = {
        data.labels[code] for code in data.train.y[data.train.x[:, 0] == data.made_by.users.index("u1") + 1]
    }
    assert len(best) == 3
    assert {item[0] for item, _ in best} == {"b"}
    assert not had & {item for item, _ in best}
    assert [score for _, score in best] == sorted((score for _, score in best), reverse=True)
    found = bm.ranking(model, data, k=4)
    assert found["recall"] > 0.9 > 0.7 > found["popular_recall"]


def test_lists_are_measured_as_scikit_learn_measures_them(tmp_path: Path) -> None:
    ndcg_score = pytest.importorskip("sklearn.metrics").ndcg_score
    data = clubs(tmp_path, "rating")
    model = bm.models.MatrixFactorization(factors=2).fitted(data)
    bm.Trainer(model).fit(data, epochs=1, verbose=False)
    found = bm.ranking(model, data, k=5)
    wanted = []
    for user in np.unique(data.test.x[:, 0]):
        pairs = np.stack([np.full(20, user), np.arange(1, 21)], 1)
        scores = model(pairs)[:, 0].astype("float64")
        scores[data.train.x[data.train.x[:, 0] == user, 1] - 1] = -100
        true = np.isin(np.arange(1, 21), data.test.x[data.test.x[:, 0] == user, 1])
        wanted.append((true[np.argsort(-scores)[:5]].sum() / true.sum(), ndcg_score([true], [scores], k=5)))
    assert (found["recall"], found["ndcg"]) == pytest.approx(tuple(np.mean(wanted, 0)), rel=1e-6)


def test_models_of_other_data_recommend_nothing() -> None:
    with pytest.raises(BigmodelError, match="encoded|ratings"):
        bm.recommend(bm.models.TwoTower((4, 6)), "ann")
    with pytest.raises(BigmodelError, match="k is 0, expected a whole number of at least 1"):
        bm.recommend(bm.models.TwoTower((4, 6)), "ann", 0)
