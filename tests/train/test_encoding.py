"""A trainer answers in the units of the recorded targets, and keeps how its data became numbers."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.data.encoding import Encoding
from bigmodel_core.data.sampling import split_indices
from bigmodel_core.errors import CheckpointError, ConfigError, DataError
from bigmodel_core.train.checkpoint_file import read_file, write_file
from bigmodel_datasets import Series, Text


def plane(folder: Path, name: str = "t.csv", shift: float = 0.0) -> Path:
    """A table of y = 3a - 2b + 1000."""
    a, b = np.random.default_rng(0).normal([[5 + shift], [-2]], [[3], [7]], (2, 250))
    rows = zip(a, b, 3 * a - 2 * b + 1000, strict=True)
    (folder / name).write_text("a,b,y\n" + "".join(f"{p},{q},{y}\n" for p, q, y in rows))
    return folder / name


def fitted(path: Path, **options: Any) -> tuple[bm.Trainer, bm.Data]:
    data = bm.datasets.load("csv", path)
    trainer = bm.Trainer(bm.models.build("linear-regression"), **options)
    trainer.fit(data, 30, validation=0.1, verbose=False)
    return trainer, data


def test_regression_is_in_real_units_wherever_a_trainer_answers(tmp_path: Path) -> None:
    trainer, data = fitted(plane(tmp_path))
    assert data.test.y is not None and data.test.truth is not None
    predicted, truth = trainer.predict(data.test.x), data.test.truth
    assert predicted.dtype == truth.dtype == np.float64
    np.testing.assert_allclose(predicted, truth, atol=6)
    raw = data.preprocessing.invert(data.test.x)
    np.testing.assert_allclose(truth[:, 0], 3 * raw[:, 0] - 2 * raw[:, 1] + 1000, atol=1e-3)
    found = trainer.evaluate(data.test)
    error = predicted - truth
    assert found["mean_absolute_error"] == pytest.approx(np.abs(error).mean(), rel=1e-6)
    assert found["r2"] > 0.99
    assert found["r2"] == pytest.approx(1 - (error**2).sum() / ((truth - truth.mean()) ** 2).sum())
    scaled = trainer.network(data.test.x) - data.test.y
    assert found["loss"] == pytest.approx((scaled.astype(np.float64) ** 2).mean(), rel=1e-4)
    assert trainer.evaluate((data.test.x, data.test.y)) == found
    assert trainer.history.last["val_mean_absolute_error"] > 0.01 and abs(data.test.y).max() < 5


def test_a_model_out_of_a_file_does_the_same_and_brings_data_to_its_scale(tmp_path: Path) -> None:
    trainer, data = fitted(plane(tmp_path), out=tmp_path / "run")
    found = trainer.evaluate(data.test)
    again = bm.Trainer(
        bm.load(tmp_path / "run" / "last"), metrics=["mean_absolute_error", "r2"], loss="mean_squared_error"
    )
    assert again.evaluate(data.test) == pytest.approx(found)
    # The first half of the rows alone has another mean, another deviation and another split.
    lines = plane(tmp_path).read_text().splitlines()
    (tmp_path / "half.csv").write_text("\n".join(lines[:120]))
    anew = bm.datasets.load("csv", tmp_path / "half.csv")
    assert anew.preprocessing != data.preprocessing and anew.target_preprocessing != data.target_preprocessing
    like = bm.datasets.load("csv", tmp_path / "half.csv", like=tmp_path / "run")
    assert like.preprocessing == data.preprocessing and like.target_preprocessing == data.target_preprocessing
    for split in (anew.test, like.test):
        measured = again.evaluate(split)
        assert measured["mean_absolute_error"] == pytest.approx(
            again.evaluate(like.test)["mean_absolute_error"], rel=1e-4
        )
        np.testing.assert_allclose(again.predict(split), anew.test.truth, atol=6)
    history = again.fit(anew, 1, verbose=False)
    assert history["loss"][0] < 0.05  # with a scale of its own the loss would begin anew


def test_targets_of_several_columns_have_a_scale_each() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(200, 3)).astype("float32")
    real = np.stack([x[:, 0] * 1e-4 + 7, x[:, 1] * 1e6 - 1e9], 1).astype(np.float64)
    steps = bm.Preprocessing(1.0, tuple(real.mean(0)), tuple(real.std(0)), "float64", (2,))
    split = bm.Split(x, steps.apply(real))
    data = bm.Data("two", split, split, task="regression", target_preprocessing=steps)
    trainer = bm.Trainer(bm.layers.Dense(2), "mean_squared_error", bm.optimizers.Adam(0.1), ["r2"])
    trainer.fit(data, 30, verbose=False)
    np.testing.assert_allclose((trainer.predict(x) - real) / real.std(0), 0, atol=0.05)
    assert trainer.evaluate(data)["r2"] > 0.99


# What is kept ---------------------------------------------------------------------------------------------


def test_a_checkpoint_keeps_all_of_it_and_a_run_where_its_data_lie(tmp_path: Path) -> None:
    trainer, data = fitted(plane(tmp_path), out=tmp_path / "runs" / "one")
    assert bm.load(tmp_path / "runs" / "one").about.encoding == data.encoding == trainer.encoding
    run = json.loads((tmp_path / "runs" / "one" / "run.json").read_text())
    assert run["data_dir"] == "../../t.csv" and run["dataset"]["fields"]["task"] == "regression"
    bm.Trainer.resume(tmp_path / "runs" / "one").fit(
        bm.datasets.load("csv", tmp_path / "t.csv"), 31, verbose=False
    )


def as_before(path: Path) -> None:
    """A checkpoint as it was written before it kept more than labels, task and preprocessing."""
    texts, arrays = read_file(path)
    about = json.loads(texts["about"])
    about.pop("encoding")
    write_file(path, {**texts, "about": json.dumps(about)}, arrays)


def test_checkpoints_of_before_load_and_measure_as_they_did(tmp_path: Path) -> None:
    data = bm.datasets.load("digits")
    trainer = bm.Trainer(bm.models.build("logistic-regression"), out=tmp_path / "run")
    trainer.fit(data, 1, verbose=False)
    found = trainer.evaluate(data.test)
    for name in ("best.safetensors", "last.safetensors"):
        as_before(tmp_path / "run" / name)
    model = bm.load(tmp_path / "run")
    assert model.about.encoding is not None and not model.about.encoding.complete
    assert (model.about.labels, model.about.preprocessing) == (data.labels, data.preprocessing)
    assert bm.Trainer(model, "cross_entropy", metrics=["accuracy"]).evaluate(data.test) == pytest.approx(
        found
    )
    bm.Trainer.resume(tmp_path / "run").fit(data, 2, verbose=False)


def test_series_of_before_are_scaled_as_they_were(tmp_path: Path) -> None:
    values = np.sin(np.arange(100) / 5) * 40 + 100
    (tmp_path / "s.csv").write_text("\n".join(map(str, values)))
    data = Series(length=8).load(tmp_path / "s.csv")
    before = Encoding("series", "regression", None, data.preprocessing, complete=False)
    (tmp_path / "s.csv").write_text("\n".join(map(str, 2 * values)))
    other = Series(length=8).load(tmp_path / "s.csv", like=before)
    mean, std = data.preprocessing.mean[0], data.preprocessing.std[0]
    np.testing.assert_allclose(
        other.test.y[:, 0], (2 * values[-len(other.test) :] - mean) / std, rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(other.test.truth[:, 0], 2 * values[-len(other.test) :], rtol=1e-6)


def test_a_run_of_before_whose_data_changed_says_so(tmp_path: Path) -> None:
    fitted(plane(tmp_path), out=tmp_path / "run")
    as_before(tmp_path / "run" / "last.safetensors")
    with pytest.raises(CheckpointError, match="written by an earlier version"):
        bm.Trainer.resume(tmp_path / "run").fit(
            bm.datasets.load("csv", plane(tmp_path, "u.csv", shift=1.0)), 31, verbose=False
        )


# Samples in order -----------------------------------------------------------------------------------------


def covered(x: np.ndarray, y: np.ndarray) -> set[float]:
    return set(np.round(np.concatenate([x.reshape(-1), y.reshape(-1)]), 5).tolist())


@pytest.mark.parametrize("way", ["data", "trainer"])
def test_the_end_of_a_series_validates_and_no_window_reaches_into_it(tmp_path: Path, way: str) -> None:
    (tmp_path / "s.csv").write_text("\n".join(str(value) for value in range(300)))  # every value differs
    data = bm.datasets.load("series", tmp_path / "s.csv", length=10)
    count = round(0.1 * len(data.train))
    if way == "data":
        parted = data.split_validation(0.1)
        train, held_out = parted.train, parted.validation
    else:
        from bigmodel_core.train.samples import Samples

        kept, out = Samples.of(data).held_out(0.1, seed=3)
        train, held_out = bm.Split(kept.inputs[0], kept.target), bm.Split(out.inputs[0], out.target)
    assert held_out is not None
    assert np.array_equal(held_out.x, data.train.x[-count:]) and len(train) == len(data.train) - count - 10
    assert not covered(train.x, train.y) & covered(held_out.x, held_out.y)
    trainer = bm.Trainer(bm.models.build("linear-regression"))
    trainer.fit(data, 1, batch_size=1, validation=0.1, verbose=False)
    assert trainer.state.steps == len(data.train) - count - 10


@pytest.mark.parametrize("options", [{"length": 8}, {"length": 8, "step": 3}, {"length": 8, "step": 20}])
def test_the_end_of_a_text_validates_and_no_sample_reaches_into_it(tmp_path: Path, options: dict) -> None:
    text = "".join(map(chr, range(256, 256 + 600)))  # every character differs
    (tmp_path / "t.txt").write_text(text, "utf-8")
    data = Text(**options).load(tmp_path / "t.txt")
    parted = data.split_validation(0.2)
    assert parted.validation is not None
    assert np.array_equal(parted.validation.x[-1], data.train.x[-1])
    assert not covered(parted.train.x, parted.train.y) & covered(parted.validation.x, parted.validation.y)
    gap = len(data.train) - len(parted.train) - len(parted.validation)
    assert gap == 8 // (options.get("step") or 8)


def test_order_is_kept_by_parts_and_lost_by_shuffles(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("\n".join(map(str, range(100))))
    split = bm.datasets.load("series", tmp_path / "s.csv", length=5).train
    assert split.take(np.arange(3, 40)).reach == split.take(np.arange(0, 40, 2)).reach == 5
    assert split.take(np.array([3, 1, 2])).reach is None
    assert bm.datasets.load("digits").train.reach is None


def test_too_short_a_series_is_told() -> None:
    with pytest.raises(DataError, match="12 samples leave none to keep"):
        split_indices(12, 0.2, 0, reach=10)


def test_unknown_has_to_be_one_character() -> None:
    with pytest.raises(ConfigError, match="expected one character"):
        Text(unknown="ab")


def test_a_trainer_that_refuses_data_stays_as_it_was(tmp_path: Path) -> None:
    trainer, data = fitted(plane(tmp_path))
    before = trainer.network.state()
    classes = bm.Data(
        "classes", *[bm.Split(data.test.x, np.zeros(len(data.test), int))] * 2, labels=("a", "b")
    )
    classes = dataclasses.replace(classes, preprocessing=data.preprocessing)
    with pytest.raises(DataError, match="trained for numbers"):
        trainer.fit(classes, 1, verbose=False)
    assert trainer.encoding == data.encoding
    assert all(np.array_equal(before[path], array) for path, array in trainer.network.state().items())
