"""Samples of unequal length: padded to the longest of a batch, batched by length, measured exactly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.data.ragged import rounded
from bigmodel_core.errors import DataError, ShapeError

GENERATOR = np.random.default_rng(0)
TEXTS = [GENERATOR.integers(0, 20, GENERATOR.integers(1, 60)) for _ in range(300)]
NEXT = [(text * 7 + 3) % 20 for text in TEXTS]


@dataclass(frozen=True)
class Tagger(bm.Layer):
    """Scores of 20 tags for each token."""

    def __call__(self, tokens: Any) -> Any:
        table = self.parameter("table", (20, 8), lambda generator, shape: generator.normal(size=shape))
        return bm.layers.Dense(20)(bm.ops.gather(table, bm.ops.maximum(tokens, 0)))


def split_of(count: int = 300, **more: Any) -> bm.Split:
    return bm.Split(bm.Ragged.of(TEXTS[:count]), bm.Ragged.of(NEXT[:count]), **more)


def data_of(train: bm.Split | None = None) -> bm.Data:
    return bm.Data("texts", train or split_of(), split_of(50), ignore=-1)


def rows_of(split: bm.Split) -> list[bytes]:
    return [text[text >= 0].tobytes() for text in np.asarray(split.x)]


# As a source ----------------------------------------------------------------------------------------------


def test_rows_are_padded_at_their_ends() -> None:
    found = bm.Ragged.of([[5, 6, 7], [8], []])[:]
    np.testing.assert_array_equal(found, [[5, 6, 7], [8, -1, -1], [-1, -1, -1]])


def test_weights_are_padded_with_zero() -> None:
    found = bm.Ragged.of([[1.0, 2.0], [3.0]], dtype=np.float32)[:]
    np.testing.assert_array_equal(found, [[1, 2], [3, 0]])


def test_a_view_keeps_lengths() -> None:
    found = bm.Ragged.of(TEXTS).take(np.array([4, 2])).astype("int32")
    np.testing.assert_array_equal(found.lengths(), [len(TEXTS[4]), len(TEXTS[2])])


def test_starts_that_descend_are_refused() -> None:
    with pytest.raises(DataError, match="ascending positions among the 3 values"):
        bm.Ragged(np.arange(3), np.array([0, 2, 1]))


@pytest.mark.parametrize("length", [1, 8, 9, 64, 65, 127, 129, 511, 513, 5000])
def test_a_rounded_length_wastes_at_most_a_fifth_or_three(length: int) -> None:
    assert length <= rounded(length) <= max(length + 3, 1.25 * length)


def test_there_are_few_rounded_lengths() -> None:
    assert len({rounded(length) for length in range(1, 1025)}) <= 40


# Batches ----------------------------------------------------------------------------------------------------


def test_an_epoch_has_each_sample_once() -> None:
    found = [x for batch, _ in bm.Loader(split_of(), 16, shuffle_seed=1) for x in batch]
    assert sorted(x[x >= 0].tobytes() for x in found) == sorted(rows_of(split_of()))


def test_batches_are_as_long_as_their_longest_sample_rounded_up() -> None:
    for x, y in bm.Loader(split_of(), 16, shuffle_seed=1):
        longest = int((x >= 0).sum(1).max())
        assert x.shape == y.shape and x.shape[1] == min(rounded(longest), 59)


def test_training_batches_hold_little_padding() -> None:
    sizes = [(x.size, (x >= 0).sum()) for x, _ in bm.Loader(split_of(), 16, shuffle_seed=1)]
    padded = sum(size for size, _ in sizes) / sum(tokens for _, tokens in sizes)
    assert padded < 1.25  # in the order of the split it is 1.9


def test_batches_in_the_order_of_the_split_keep_it() -> None:
    found = np.concatenate([[x[x >= 0].sum() for x in batch] for batch, _ in bm.Loader(split_of(), 16)])
    np.testing.assert_array_equal(found, [text.sum() for text in TEXTS])


def test_epochs_differ_in_batches_and_in_their_order() -> None:
    split = split_of()
    first, second = (
        [frozenset(batch) for batch in bm.batches(split, 16, shuffle_seed=1, epoch=epoch)] for epoch in (0, 1)
    )
    lengths = [max(len(TEXTS[index]) for index in batch) for batch in first]
    assert not set(first) & set(second) and lengths != sorted(lengths)


def test_a_batch_is_that_of_its_number_wherever_an_epoch_begins() -> None:
    split = split_of()
    whole = list(bm.batches(split, 16, shuffle_seed=1, epoch=3))
    rest = list(bm.batches(split, 16, shuffle_seed=1, epoch=3, start=7))
    assert all(np.array_equal(*pair) for pair in zip(whole[7:], rest, strict=True))


def test_the_last_batch_is_the_small_one() -> None:
    assert [len(batch) for batch in bm.batches(split_of(), 64, shuffle_seed=1)] == [64] * 4 + [44]


def test_a_buffer_of_one_length_is_refused() -> None:
    out = (np.empty((16, 59), "int64"), np.empty((16, 59), "int64"))
    with pytest.raises(ShapeError, match="differ in length"):
        next(bm.Loader(split_of(), 16).epoch(out=out))


def test_axes_of_other_names_are_cut_apart() -> None:
    x = (bm.Ragged.of(TEXTS, "S"), bm.Ragged.of([text[:3] for text in TEXTS]))
    for (left, right), _ in bm.Loader(bm.Split(x, np.zeros(300, "int64")), 16, shuffle_seed=0):
        assert right.shape[1] == 3 and left.shape[1] >= (left >= 0).sum(1).max()


# Training and evaluation ------------------------------------------------------------------------------------


def mean_loss(model: Any, texts: list[np.ndarray], tags: list[np.ndarray]) -> float:
    """The mean over all tokens in NumPy, one text at a time."""
    total, count = 0.0, 0
    for text, own in zip(texts, tags, strict=True):
        scores = model(text[None]).astype(np.float64)[0]
        top = scores.max(1, keepdims=True)
        chances = scores - top - np.log(np.exp(scores - top).sum(1, keepdims=True))
        total, count = total - chances[np.arange(len(own)), own].sum(), count + len(own)
    return total / count


@pytest.mark.parametrize("batch_size", [7, 300])
def test_evaluation_is_that_of_each_text_alone(batch_size: int) -> None:
    trainer = bm.Trainer(Tagger(), "cross_entropy", "adam", ["accuracy"])
    trainer.fit(data_of(), verbose=False)
    found = trainer.evaluate(data_of().train, batch_size)
    assert found["loss"] == pytest.approx(mean_loss(trainer.model, TEXTS, NEXT), rel=1e-5)
    right = sum((trainer.model(x[None])[0].argmax(1) == y).sum() for x, y in zip(TEXTS, NEXT, strict=True))
    assert found["accuracy"] == pytest.approx(right / sum(map(len, TEXTS)))


def test_a_step_on_a_padded_batch_is_that_on_weighted_tokens() -> None:
    texts, tags = bm.Ragged.of(TEXTS[:9])[:], bm.Ragged.of(NEXT[:9])[:]
    padded = bm.compile(Tagger(), bm.losses.CrossEntropy(ignore=-1), bm.optimizers.SGD(1.0))
    weighted = bm.compile(Tagger(), "cross_entropy", bm.optimizers.SGD(1.0))
    padded(texts, tags)
    weighted(np.maximum(texts, 0), np.maximum(tags, 0), (tags >= 0).astype("float32"))
    for path, array in padded.state().items():
        np.testing.assert_allclose(array, weighted.state()[path], atol=1e-6)


def test_losses_take_the_ignored_label_from_the_data_and_note_it() -> None:
    trainer = bm.Trainer(Tagger(), "cross_entropy")
    trainer.fit(data_of(), verbose=False)
    assert trainer.options["loss"]["fields"]["ignore"] == -1


def test_a_label_that_the_loss_ignores_already_stays() -> None:
    trainer = bm.Trainer(Tagger(), bm.losses.CrossEntropy(ignore=0))
    tags = bm.Ragged.of([np.maximum(text, 0) for text in NEXT], padding=0)
    trainer.fit(data_of(bm.Split(bm.Ragged.of(TEXTS), tags)), verbose=False)
    assert trainer.step.loss.ignore == 0


def test_weights_of_unequal_length_are_cut_alike() -> None:
    weights = bm.Ragged.of([np.full(len(text), 2.0) for text in TEXTS], dtype=np.float32)
    plain, weighted = bm.Trainer(Tagger(), "cross_entropy"), bm.Trainer(Tagger(), "cross_entropy")
    plain.fit(data_of(), verbose=False)
    weighted.fit(data_of(split_of(weight=weights)), verbose=False)
    for path, array in plain.model.state().items():
        np.testing.assert_allclose(weighted.model.state()[path], array, atol=1e-6)


def test_predictions_are_in_the_order_of_the_samples() -> None:
    trainer = bm.Trainer(Tagger(), "cross_entropy")
    trainer.fit(data_of(), verbose=False)
    found = trainer.predict(data_of().train, batch_size=16)
    for text, scores in zip(TEXTS, found, strict=True):
        np.testing.assert_allclose(scores[: len(text)], trainer.model(text[None])[0], atol=1e-6)


def test_a_run_that_stops_within_an_epoch_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    class Stops(bm.Callback):
        def on_batch_end(self, trainer: Any, step: int, logs: Any) -> None:
            if step == 23:
                trainer.stop = True

    whole = bm.Trainer(Tagger(), "cross_entropy", out=tmp_path / "whole")
    whole.fit(data_of(), epochs=2, batch_size=16, validation=0.1, verbose=False)
    broken = bm.Trainer(Tagger(), "cross_entropy", callbacks=[Stops()], out=tmp_path / "broken")
    broken.fit(data_of(), epochs=2, batch_size=16, validation=0.1, verbose=False)
    again = bm.Trainer.resume(tmp_path / "broken", callbacks=[])
    again.fit(data_of(), verbose=False)
    assert again.history["val_loss"] == whole.history["val_loss"]
    for path, array in whole.model.state().items():
        np.testing.assert_array_equal(again.model.state()[path], array)


def test_labels_out_of_range_are_found_beside_the_ignored_ones() -> None:
    y = np.array([[0, -1], [3, 1]])
    with pytest.raises(DataError, match="labels run from 0 to 3"):
        bm.Data("tags", bm.Split(y, y), bm.Split(y, y), labels=("a", "b"), ignore=-1)


def test_the_summary_names_the_free_axis() -> None:
    summary = data_of().summary()
    assert summary["input_shape"] == summary["target_shape"] == ["T"]
