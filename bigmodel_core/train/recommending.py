"""`bm.recommend`: the items that a user may like best; `bm.ranking`: how good such lists are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bigmodel_core.data.data import Data
from bigmodel_core.data.like import encoding_of
from bigmodel_core.errors import DataError, UsageError
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.network import Network
from bigmodel_core.train.checkpoint import load

BATCH = 256
"""Users, or pairs of a user and an item, that the model sees at a time."""


def recommend(model: Any, user: str, k: int = 10, *, data: Data | None = None) -> list[tuple[str, float]]:
    """The items that a model scores highest for a user, best first, each with its score.

    Args:
        model: a model that was trained on `ratings`: of ratings, or of the next item; its trainer, or the
            path of its run.
        user: the name of the user; for one that training has not seen, it is what is usual.
        k: how many items.
        data: ratings, whose training items of this user are left out; none are if it is None.

    Raises:
        UsageError: the model was not trained on ratings, or k is no positive number.

    ```python
    run = "runs/two-tower-001"
    data = bm.datasets.load("ratings", "ratings.tsv", like=run)
    for item, score in bm.recommend(run, "196", 5, data=data):
        print(item, score)
    ```
    """
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise UsageError(f"k is {k!r}, expected a whole number of at least 1.", fix="pass k=10.")
    users, items = check_names(model)
    code = users.index(user) + 1 if user in users else 0
    scores = _scores(_network(model), np.array([code]), len(items) + 1)[0]
    scores[0] = -np.inf
    if data is not None and code:
        scores[_taken(data.train, code)] = -np.inf
    best = [place for place in np.argsort(-scores, kind="stable")[:k] if np.isfinite(scores[place])]
    return [(items[place - 1], float(scores[place])) for place in best]


def ranking(model: Any, data: Data, k: int = 10) -> dict[str, float]:
    """How good lists of k items are, over the users of the test split, beside lists of the items that
    most users took.

    Items that a user has in the training split are left out. Recall is the share of a user's test items that
    are in the list; NDCG (Jarvelin and Kekalainen, 2002) counts those at the top more.

    Args:
        model: as for `recommend`.
        data: the ratings that it was trained on.
        k: how many items a list has.

    Returns:
        "recall", "ndcg", "popular_recall" and "popular_ndcg".

    Raises:
        UsageError: the model was not trained on ratings, or k is no positive number.
    """
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise UsageError(f"k is {k!r}, expected a whole number of at least 1.", fix="pass k=10.")
    count = len(check_names(model)[1]) + 1
    pairs = _pairs(data.train), _pairs(data.test)
    users = np.unique(pairs[1][0][pairs[1][0] > 0])
    popular = np.bincount(pairs[0][1], minlength=count).astype(np.float64)
    found: dict[str, float] = {}
    for name, scores in (
        ("", _scores(_network(model), users, count)),
        ("popular_", np.tile(popular, (len(users), 1))),
    ):
        recall, ndcg = _measured(scores, users, *pairs, k)
        found |= {f"{name}recall": recall, f"{name}ndcg": ndcg}
    return found


def _measured(scores: np.ndarray, users: np.ndarray, train: Any, test: Any, k: int) -> tuple[float, float]:
    """Mean recall and NDCG of the k highest scores of each user."""
    gains = 1 / np.log2(np.arange(k) + 2)
    recalls, ndcgs = [], []
    for row, user in enumerate(users):
        wanted = np.unique(test[1][(test[0] == user) & (test[1] > 0)])
        if not len(wanted):
            continue
        mine = scores[row].copy()
        mine[0] = -np.inf
        mine[train[1][train[0] == user]] = -np.inf
        hits = np.isin(np.argsort(-mine, kind="stable")[:k], wanted)
        recalls.append(hits.sum() / len(wanted))
        ndcgs.append(gains[: len(hits)][hits].sum() / gains[: len(wanted)].sum())
    if not recalls:
        raise DataError("no user of the test split has an item that training has seen.", where="ranking")
    return float(np.mean(recalls)), float(np.mean(ndcgs))


def check_names(model: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of users and of items that a model was trained on, by code from 1 on.

    Raises:
        UsageError: it was not trained on ratings.
    """
    made = encoding_of(model).made_by()
    users, items = getattr(made, "users", None), getattr(made, "items", None)
    if not users or not items:
        raise UsageError(
            "the model was not trained on ratings of items by users.",
            fix='train it on bm.datasets.load("ratings", file).',
        )
    return tuple(users), tuple(items)


def _network(model: Any) -> Any:
    found = load(model) if isinstance(model, (str, Path)) else getattr(model, "model", model)
    if not isinstance(found, (Layer, Network)):
        raise UsageError(
            f"the model is a {type(found).__name__}, expected a trained model or the path of a run.",
            fix="pass what bm.load(RUN) gives.",
        )
    return found


def _scores(model: Any, users: np.ndarray, count: int) -> np.ndarray:
    """(users, items) float64: of a model of users all its scores, of one of pairs that of each pair."""
    specs = model.inputs if isinstance(model, Network) else model.network.inputs
    if specs[0].shape[-1] == 1:
        parts = [model(users[start : start + BATCH, None]) for start in range(0, len(users), BATCH)]
        return np.concatenate(parts).astype(np.float64)
    items = np.arange(count)
    rows = [model(np.stack([np.full(count, user), items], 1)).reshape(count) for user in users]
    return np.stack(rows).astype(np.float64)


def _pairs(split: Any) -> tuple[np.ndarray, np.ndarray]:
    """The codes of users and of items, wherever the split has the items."""
    x = np.asarray(split.x)
    return x[:, 0], (x[:, 1] if x.shape[1] > 1 else np.asarray(split.y))


def _taken(split: Any, user: int) -> np.ndarray:
    users, items = _pairs(split)
    return items[users == user]
