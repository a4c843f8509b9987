"""Test-time augmentation: the mean over several views of each sample, against NumPy in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.data.source import Source
from bigmodel_core.errors import UsageError

DRAW = np.random.default_rng(4)
X = DRAW.normal(size=(20, 6)).astype(np.float32)


@dataclass(frozen=True)
class Reversed(bm.Augmentation):
    """The columns the other way round, always."""

    moves: ClassVar[bool | None] = True

    def __call__(self, x: np.ndarray, draws: bm.Draws) -> np.ndarray:
        return x[..., ::-1].copy()


@dataclass(frozen=True)
class Noise(bm.Augmentation):
    """Each sample with a number of its own added."""

    moves: ClassVar[bool | None] = False

    def __call__(self, x: np.ndarray, draws: bm.Draws) -> np.ndarray:
        return x + draws.uniform().reshape(-1, *(1,) * (x.ndim - 1)).astype(x.dtype)


class Rows(Source):
    """An array that is read when it is needed."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def read(self, indices: np.ndarray, out: np.ndarray) -> None:
        out[...] = self.array[indices]


def trainer_of(outputs: int, loss: str, **options: Any) -> bm.Trainer:
    model = bm.Sequential(bm.layers.Dense(outputs))
    model.build(bm.Spec(("N", 6)), seed=1)
    return bm.Trainer(model, loss, **options)


def softmax(scores: np.ndarray) -> np.ndarray:
    return np.exp(scores) / np.exp(scores).sum(1, keepdims=True)


def sigmoid(scores: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-scores))


def both(scores: np.ndarray) -> np.ndarray:
    return np.concatenate([1 - sigmoid(scores), sigmoid(scores)], 1)


def scores_of(trainer: bm.Trainer, x: np.ndarray) -> np.ndarray:
    state = {key.rsplit("/")[-1]: value.astype(np.float64) for key, value in trainer.network.state().items()}
    return x.astype(np.float64) @ state["weight"] + state["bias"]


@pytest.mark.parametrize(
    ("outputs", "loss", "chances"),
    [
        (3, "cross_entropy", softmax),
        (1, "binary_cross_entropy", both),
        (3, "binary_cross_entropy", sigmoid),
    ],
)
def test_probabilities_are_the_mean_of_those_of_views(
    outputs: int, loss: str, chances: Callable[[np.ndarray], np.ndarray]
) -> None:
    trainer = trainer_of(outputs, loss)
    expected = chances(scores_of(trainer, X)) / 3 + 2 / 3 * chances(scores_of(trainer, X[:, ::-1]))
    np.testing.assert_allclose(trainer.predict_proba(X, augment=Reversed(), times=3), expected, rtol=1e-5)


def test_numbers_are_the_mean_of_those_of_views() -> None:
    trainer = trainer_of(2, "mean_squared_error")
    expected = (scores_of(trainer, X) + scores_of(trainer, X[:, ::-1])) / 2
    np.testing.assert_allclose(
        trainer.predict(X, augment=[Reversed()], times=2), expected, rtol=1e-4, atol=1e-6
    )


def test_predicted_scores_stand_for_the_mean_of_probabilities() -> None:
    trainer = trainer_of(3, "cross_entropy")
    found = trainer.predict(X, augment=Reversed(), times=4).astype(np.float64)
    np.testing.assert_allclose(
        softmax(found), trainer.predict_proba(X, augment=Reversed(), times=4), rtol=1e-5
    )


def test_one_view_is_the_sample_as_it_is() -> None:
    trainer = trainer_of(3, "cross_entropy")
    np.testing.assert_array_equal(trainer.predict(X, augment=Noise(), times=1), trainer.predict(X))


def test_a_sample_is_seen_alike_whatever_stands_beside_it() -> None:
    trainer = trainer_of(3, "cross_entropy")
    whole = trainer.predict(X, augment=Noise(), times=5)
    np.testing.assert_allclose(trainer.predict(X[[7, 2]], augment=Noise(), times=5), whole[[7, 2]], rtol=1e-5)


def test_the_seed_chooses_the_views() -> None:
    trainer = trainer_of(3, "cross_entropy")
    assert not np.allclose(*(trainer.predict(X, augment=Noise(), times=3, seed=seed) for seed in (0, 1)))


def test_samples_that_are_read_are_seen_as_arrays_are() -> None:
    trainer = trainer_of(3, "cross_entropy")
    found = trainer.predict(bm.Split(Rows(X)), batch_size=7, augment=Noise(), times=3)
    np.testing.assert_allclose(found, trainer.predict(X, augment=Noise(), times=3), rtol=1e-5)


def test_metrics_are_those_of_the_means() -> None:
    trainer, y = trainer_of(3, "cross_entropy", metrics=["accuracy"]), DRAW.integers(0, 3, 20)
    expected = np.mean(trainer.predict_proba(X, augment=Reversed()).argmax(1) == y)
    assert trainer.evaluate((X, y), augment=Reversed()) == {"accuracy": expected}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"augment": "mixup"}, "mixes samples"),
        ({"augment": []}, "there is no augmentation"),
        ({"augment": Noise(), "times": 0}, "times is 0"),
        ({"augment": Noise(), "times": 2.0}, r"times is 2\.0"),
    ],
)
def test_views_that_say_nothing_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        trainer_of(3, "cross_entropy").predict(X, **options)


def of_places() -> tuple[bm.Trainer, np.ndarray]:
    """A model that says something of each pixel, (N, H, W, classes)."""
    model = bm.Sequential(bm.layers.Dense(2))
    model.build(bm.Spec(("N", 2, 3, 4)), seed=0)
    return bm.Trainer(model, "cross_entropy"), DRAW.normal(size=(2, 2, 3, 4)).astype(np.float32)


def test_what_moves_places_is_refused_where_places_are_told() -> None:
    trainer, x = of_places()
    with pytest.raises(UsageError, match="an augmentation moves places"):
        trainer.predict(x, augment=Reversed())


def test_what_moves_no_place_is_taken_where_places_are_told() -> None:
    trainer, x = of_places()
    assert trainer.predict_proba(x, augment=Noise()).shape == (2, 2, 3, 2)
