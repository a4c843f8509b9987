"""Samples of several inputs: a tuple or a dict of arrays, from the split to the trained model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import DataError, UsageError


@dataclass(frozen=True)
class Bilinear(bm.Layer):
    """Scores of two inputs of different widths."""

    def __call__(self, left: Any, right: Any) -> Any:
        return bm.layers.Dense(2)(bm.layers.Dense(4)(left) * bm.layers.Dense(4)(right))


GENERATOR = np.random.default_rng(0)
LEFT = GENERATOR.normal(size=(40, 3)).astype("float32")
RIGHT = GENERATOR.normal(size=(40, 5)).astype("float32")
Y = (LEFT[:, 0] * RIGHT[:, 0] > 0).astype("int64")


def data_of(x: Any) -> bm.Data:
    split = bm.Split(x, Y)
    return bm.Data("pairs", split.take(np.arange(30)), split.take(np.arange(30, 40)), labels=("no", "yes"))


def trained(data: Any) -> dict[str, np.ndarray]:
    trainer = bm.Trainer(Bilinear(), "cross_entropy", metrics=["accuracy"])
    trainer.fit(data, epochs=2, batch_size=8, validation=0.2, verbose=False)
    return trainer.model.state()


def test_a_split_takes_from_all_inputs() -> None:
    found = bm.Split({"left": LEFT, "right": RIGHT}, Y).take(np.array([7, 2]))
    np.testing.assert_array_equal(found.x["right"], RIGHT[[7, 2]])


def test_inputs_of_different_lengths_are_named() -> None:
    with pytest.raises(DataError, match="40 samples, and 39 in 'right'"):
        bm.Split({"left": LEFT, "right": RIGHT[1:]})


def test_data_tell_the_shape_of_each_input() -> None:
    data = data_of({"left": LEFT, "right": RIGHT})
    assert data.input_shape == {"left": (3,), "right": (5,)}
    assert data.summary()["input_shape"] == {"left": [3], "right": [5]}


def test_a_loader_gives_batches_in_the_same_form() -> None:
    split = bm.Split((LEFT, RIGHT), Y)
    batches = list(bm.Loader(split, 16, shuffle_seed=3))
    assert all(isinstance(x, tuple) for x, _ in batches)
    order = np.concatenate(list(bm.batches(split, 16, shuffle_seed=3)))
    np.testing.assert_array_equal(np.concatenate([x[1] for x, _ in batches]), RIGHT[order])


def test_a_loader_writes_to_buffers_of_each_input() -> None:
    split = bm.Split((LEFT, RIGHT), Y)
    out = (np.empty((16, 3), "float32"), np.empty((16, 5), "float32"))
    x, _ = next(bm.Loader(split, 16).epoch(out=(out, np.empty(16, "int64"))))
    assert x[1].base is out[1]
    np.testing.assert_array_equal(x[1], RIGHT[:16])


def test_a_loader_does_not_augment_several_inputs() -> None:
    with pytest.raises(UsageError, match="2 inputs"):
        bm.Loader(bm.Split((LEFT, RIGHT), Y), 8, augment=["random-shift"])


def test_a_dict_trains_to_the_same_bits_as_a_tuple_whatever_its_order() -> None:
    wanted = trained(data_of((LEFT, RIGHT)))
    found = trained(data_of({"right": RIGHT, "left": LEFT}))
    assert all(np.array_equal(found[path], array) for path, array in wanted.items())


def test_arrays_train_to_the_same_bits_as_data() -> None:
    wanted = trained(data_of((LEFT, RIGHT)))
    found = trained(({"left": LEFT[:30], "right": RIGHT[:30]}, Y[:30]))
    assert all(np.array_equal(found[path], array) for path, array in wanted.items())


def test_evaluation_and_prediction_take_the_split() -> None:
    data = data_of({"right": RIGHT, "left": LEFT})
    trainer = bm.Trainer(Bilinear(), "cross_entropy", metrics=["accuracy"])
    trainer.fit(data, verbose=False)
    scores = trainer.predict(data.test)
    np.testing.assert_allclose(scores, trainer.model(LEFT[30:], RIGHT[30:]), atol=1e-6)
    assert trainer.evaluate(data)["accuracy"] == pytest.approx((scores.argmax(1) == Y[30:]).mean())


def test_an_input_of_another_name_is_refused() -> None:
    with pytest.raises(DataError, match="left, middle; the model takes left, right"):
        trained(data_of({"left": LEFT, "middle": RIGHT}))


def test_data_of_two_inputs_survive_like_themselves() -> None:
    data = data_of({"left": LEFT, "right": RIGHT})
    other = bm.Data("pairs", bm.Split((LEFT, RIGHT), Y), bm.Split((LEFT, RIGHT), Y), labels=("yes", "no"))
    np.testing.assert_array_equal(other.like(data).train.y, 1 - Y)


def test_validation_is_split_off_all_inputs() -> None:
    data = data_of({"left": LEFT, "right": RIGHT}).split_validation(0.2)
    assert data.validation is not None
    rows = np.concatenate([data.train.x["left"], data.validation.x["left"]])
    assert {row.tobytes() for row in rows} == {row.tobytes() for row in LEFT[:30]}
