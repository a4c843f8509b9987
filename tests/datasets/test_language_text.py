"""Texts for language models: runs of tokens, and masked passages that differ from epoch to epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm

LINES = [f"The {n} dogs of house {n * 7 % 31} see the tree. They bark {n % 9} times." for n in range(400)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: Any) -> Path:
    place: Path = tmp_path_factory.mktemp("novels")
    (place / "a.txt").write_text("\n".join(LINES[:200]), "utf-8")
    (place / "b.txt").write_text("\n".join(LINES[200:]), "utf-8")
    (place / "NOTE.txt").write_text("about the texts " * 50, "utf-8")
    return place


# Runs of tokens ---------------------------------------------------------------------------------------------


def test_characters_of_a_folder_follow_each_other(folder: Path) -> None:
    data = bm.datasets.load("text", folder, length=20)
    text = "".join(data.labels[number] for number in data.train.x.ravel())
    assert "\n".join(LINES).startswith(text)


def test_the_tokenizer_of_characters_has_the_numbers_of_the_labels(folder: Path) -> None:
    data = bm.datasets.load("text", folder, unknown="~")
    assert data.tokenizer.tokens == data.labels and data.vocabulary == data.classes
    assert data.tokenizer.decode(data.tokenizer.encode("dog中").ids) == "dog~"


def test_the_target_is_the_token_after_each(folder: Path) -> None:
    data = bm.datasets.load("text", folder, tokenizer="bpe", vocabulary=300, length=16)
    x, y = np.asarray(data.train.x), np.asarray(data.train.y)
    np.testing.assert_array_equal(y[:, :-1], x[:, 1:])
    np.testing.assert_array_equal(y[:-1, -1], x[1:, 0])


def test_documents_are_packed_with_the_end_between_them(folder: Path) -> None:
    data = bm.datasets.load("text", folder, tokenizer="bpe", vocabulary=300, length=16)
    tokens = np.concatenate([np.asarray(split.x).ravel() for split in data.splits().values()])
    assert (tokens == data.tokenizer.special("end")).sum() == 1
    (place,) = np.flatnonzero(tokens == data.tokenizer.special("end"))
    assert data.tokenizer.decode(tokens[:place]) == "\n".join(LINES[:200])


def test_tokens_of_large_files_are_kept_in_a_file_with_the_same_samples(
    folder: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    import bigmodel_datasets.text_files as files

    wanted = np.asarray(bm.datasets.load("text", folder, tokenizer="bpe", vocabulary=300).train.x)
    monkeypatch.setattr(files, "MAPPED_FROM", 1)
    monkeypatch.setattr(files, "PIECE", 1000)
    monkeypatch.setattr(bm.files, "cache_folder", lambda name: tmp_path / "cache" / name)
    for _ in range(2):
        data = bm.datasets.load("text", folder, tokenizer="bpe", vocabulary=300)
        np.testing.assert_array_equal(np.asarray(data.train.x), wanted)
    (kept,) = (tmp_path / "cache" / "text").iterdir()
    assert kept.suffix == ".uint16" and isinstance(data.train.x.values, np.memmap)


def test_a_file_of_tokens_that_breaks_off_does_not_appear(
    folder: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    import bigmodel_datasets.text_files as files

    def breaks(paths: Any, tokenizer: Any) -> Any:
        yield np.arange(5)
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "MAPPED_FROM", 1)
    monkeypatch.setattr(files, "_tokens", breaks)
    monkeypatch.setattr(bm.files, "cache_folder", lambda name: tmp_path / name)
    with pytest.raises(KeyboardInterrupt):
        bm.datasets.load("text", folder, tokenizer="bpe", vocabulary=300)
    assert list((tmp_path / "text").iterdir()) == []


def test_a_model_of_tokens_trains_and_is_fed_other_texts(folder: Path, tmp_path: Path) -> None:
    data = bm.datasets.load("text", folder, tokenizer="bpe", vocabulary=300, length=16)
    model = bm.models.build("char-rnn", units=16, width=8).fitted(data)
    trainer = bm.Trainer(model, out=tmp_path / "run")
    trainer.fit(data, verbose=False)
    other = bm.datasets.load("text", folder / "b.txt", like=tmp_path / "run")
    assert other.tokenizer == data.tokenizer and other.input_shape == (16,)
    assert trainer.evaluate(other)["loss"] < np.log(300)


def test_a_model_takes_vocabulary_and_context_from_the_data(folder: Path) -> None:
    data = bm.datasets.load("text", folder, tokenizer="bpe", vocabulary=300, length=100)
    model = bm.models.build("gpt", context=64).fitted(data)
    assert (model.vocabulary, model.context) == (300, 100)
    assert bm.models.build("gpt", context=128).fitted(data).context == 128


# Masked passages --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def masked(folder: Path) -> bm.Data:
    return bm.datasets.load("masked-text", folder, length=48, vocabulary=200)


def epoch_of(data: bm.Data, seed: int, epoch: int) -> list[Any]:
    return list(bm.Loader(data.train, 64, shuffle_seed=seed).epoch(epoch))


def test_fifteen_percent_are_to_be_guessed_in_three_ways(masked: bm.Data) -> None:
    counts = np.zeros(4)
    for epoch in range(20):
        for (x, _), y in epoch_of(masked, 0, epoch):
            target, mask = y["masked"], masked.tokenizer.special("mask")
            is_guessed = target >= 0
            is_text = (x >= 0) & ~np.isin(x, [1, 2])
            counts += [
                is_text.sum(),
                (is_guessed & (x == mask)).sum(),
                (is_guessed & (x != mask) & (x != target)).sum(),
                (is_guessed & (x == target)).sum(),
            ]
    assert counts[0] > 100_000
    np.testing.assert_allclose(counts[1:] / counts[0], [0.12, 0.015, 0.015], rtol=0.1)


def test_special_tokens_and_ends_are_never_guessed(masked: bm.Data) -> None:
    for (x, segments), y in epoch_of(masked, 0, 0):
        assert not np.isin(y["masked"], list(masked.tokenizer.specials.values())).any()
        assert ((x == -1) == (segments == -1)).all() and (y["masked"][x == -1] == -1).all()


def test_every_token_that_stays_is_that_of_the_text(masked: bm.Data) -> None:
    text = " ".join(LINES).lower()
    (x, _), y = epoch_of(masked, 0, 0)[0]
    whole = np.where(y["masked"] >= 0, y["masked"], x)
    for row in whole:
        first = masked.tokenizer.decode(
            row[1 : np.flatnonzero(row == masked.tokenizer.special("separator"))[0]]
        )
        assert first.replace(" ", "") in text.replace(" ", "")


def test_half_of_the_second_passages_follow_the_first(masked: bm.Data) -> None:
    found = np.concatenate([y["next"] for epoch in range(10) for _, y in epoch_of(masked, 0, epoch)])
    assert abs(found.mean() - 0.5) < 4 * 0.5 / np.sqrt(len(found))


def test_what_is_said_of_the_second_passage_is_true(masked: bm.Data) -> None:
    text = " ".join(LINES).lower().replace(" ", "")
    separator = masked.tokenizer.special("separator")
    for (x, _), y in epoch_of(masked, 3, 1):
        whole = np.where(y["masked"] >= 0, y["masked"], x)
        for row, is_other in zip(whole, y["next"], strict=True):
            middle, end = np.flatnonzero(row == separator)
            both = "".join(masked.tokenizer.decode(part) for part in (row[1:middle], row[middle + 1 : end]))
            assert (both.replace(" ", "") in text) == (not is_other)


def test_masks_differ_between_epochs_and_return_with_the_key(masked: bm.Data) -> None:
    def guessed(seed: int, epoch: int) -> set[bytes]:
        return {row.tobytes() for _, y in epoch_of(masked, seed, epoch) for row in y["masked"]}

    assert guessed(0, 1) == guessed(0, 1)
    assert len(guessed(0, 1) & guessed(0, 2)) < 5 and len(guessed(0, 1) & guessed(1, 1)) < 5


def test_a_sample_does_not_depend_on_the_others_of_its_batch(masked: bm.Data) -> None:
    whole = masked.test.y["masked"]
    for row in range(0, len(masked.test), 3):
        np.testing.assert_array_equal(whole[row], whole[:][row])


def test_samples_of_evaluation_stay_the_same(masked: bm.Data) -> None:
    first, second = (np.asarray(masked.test.x[0]) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_passages_alone_have_no_segments(folder: Path) -> None:
    data = bm.datasets.load("masked-text", folder, length=32, pairs=False, vocabulary=200)
    assert isinstance(data.train.x, bm.Source) and isinstance(data.train.y, bm.Source)
    assert int(np.asarray(data.train.x).shape[1]) <= 32


def test_training_meets_new_masks_and_resumes_to_the_same_bits(masked: bm.Data, tmp_path: Path) -> None:
    class Guesser(bm.Layer):
        def __call__(self, tokens: Any, segments: Any) -> Any:
            table = self.parameter("table", (200, 8), lambda generator, shape: generator.normal(size=shape))
            vectors = bm.ops.gather(table, bm.ops.maximum(tokens, 0))
            return {"masked": bm.layers.Dense(200)(vectors), "next": bm.layers.Dense(2)(vectors[:, 0])}

    class Stops(bm.Callback):
        def on_batch_end(self, trainer: Any, step: int, logs: Any) -> None:
            trainer.stop = step == 3

    loss = {"masked": "cross_entropy", "next": "cross_entropy"}
    whole = bm.Trainer(Guesser(), loss, out=tmp_path / "whole")
    whole.fit(masked, epochs=2, batch_size=32, verbose=False)
    broken = bm.Trainer(Guesser(), loss, callbacks=[Stops()], out=tmp_path / "broken")
    broken.fit(masked, epochs=2, batch_size=32, verbose=False)
    again = bm.Trainer(Guesser(), loss, out=tmp_path / "again")
    again.fit(masked, batch_size=32, resume=tmp_path / "broken", epochs=2, verbose=False)
    for path, array in whole.model.state().items():
        np.testing.assert_array_equal(again.model.state()[path], array)
