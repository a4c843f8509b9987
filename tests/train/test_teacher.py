"""Distillation: the loss of Hinton et al. (2015), and a teacher beside the targets of training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import (
    BigmodelError,
    CheckpointError,
    ConfigError,
    DataError,
    ShapeError,
    UsageError,
)

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(24, 4)).astype("float32")
Y = np.arange(24) % 3


def log_softmax(scores: np.ndarray) -> np.ndarray:
    shifted = scores - scores.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def divergence(student: np.ndarray, teacher: np.ndarray, temperature: float) -> np.ndarray:
    """T squared times KL of each row, in float64."""
    own, theirs = (log_softmax(x.astype("float64") / temperature) for x in (student, teacher))
    return temperature**2 * (np.exp(theirs) * (theirs - own)).sum(-1)


def network(seed: int, *layers: Any) -> Any:
    model = bm.Sequential(*(layers or (bm.layers.Dense(8, activation="relu"), bm.layers.Dense(3))))
    model.build(bm.Spec(("N", 4)), seed=seed)
    return model


@pytest.mark.parametrize("shape", [(6, 10), (6, 1000), (2, 3, 10)], ids=["10", "1000", "tokens"])
def test_the_loss_is_the_mean_divergence_times_the_square_of_the_temperature(shape: tuple[int, ...]) -> None:
    student, teacher = 3 * DRAW.normal(size=(2, *shape))
    found = bm.function(bm.losses.Distillation(4.0), dtype="float64")(student, teacher)
    np.testing.assert_allclose(found, divergence(student, teacher, 4.0).mean(), rtol=1e-10)


def test_one_score_is_that_of_class_1_of_two() -> None:
    student, teacher = 3 * DRAW.normal(size=(2, 6, 1))
    pair = [np.concatenate([np.zeros_like(x), x], 1) for x in (student, teacher)]
    found = bm.function(bm.losses.Distillation(2.0), dtype="float64")(student, teacher)
    np.testing.assert_allclose(found, divergence(*pair, 2.0).mean(), rtol=1e-10)


@pytest.mark.parametrize("weights", [None, np.arange(24) % 4 * 1.0], ids=["plain", "weighted"])
def test_a_step_minimises_the_weighted_sum_of_both_losses(weights: Any) -> None:
    model, teacher = network(1), network(2)
    student, theirs = model(X), teacher(X)
    step = bm.compile(model, "cross_entropy", "sgd", teacher=bm.Teacher(teacher, temperature=3.0, weight=0.7))
    hard = -log_softmax(student.astype("float64"))[np.arange(24), Y]
    expected = np.average(0.3 * hard + 0.7 * divergence(student, theirs, 3.0), weights=weights)
    np.testing.assert_allclose(step(X, Y, weights), expected, rtol=1e-5)


@pytest.mark.parametrize("ignore", [None, -1])
def test_scores_of_yes_or_no_are_learned_one_by_one(ignore: int | None) -> None:
    model, teacher = network(1), network(2)
    y = np.array([[1, 0, 1], [0, 1, -1 if ignore else 1]] * 12)
    pairs = [np.stack([np.zeros((24, 3)), item(X)], -1) for item in (model, teacher)]
    soft = divergence(*pairs, 2.0)[y >= 0].mean()
    loss = bm.losses.BinaryCrossEntropy(ignore=ignore)
    step = bm.compile(model, loss, "sgd", teacher=bm.Teacher(teacher, 2.0, weight=1.0))
    np.testing.assert_allclose(step(X, y), soft, rtol=1e-5)


def test_tokens_that_are_ignored_do_not_count() -> None:
    model, teacher = network(1), network(2)
    x, y = X.reshape(6, 4, 4), Y.reshape(6, 4).copy()
    y[:, 2:] = -1
    for item in (model, teacher):
        item.build(bm.Spec(("N", "T", 4)))
    soft = divergence(model(x), teacher(x), 4.0)[:, :2].mean()
    step = bm.compile(model, bm.losses.CrossEntropy(ignore=-1), "sgd", teacher=bm.Teacher(teacher, weight=1))
    np.testing.assert_allclose(step(x, y), soft, rtol=1e-5)


def test_batches_that_are_added_up_give_the_update_of_one() -> None:
    teacher, states = network(2), []
    for parts in (1, 2):
        model = network(1)
        step = bm.compile(model, "cross_entropy", bm.optimizers.SGD(0.5), teacher=teacher)
        for x, y in zip(np.split(X, parts), np.split(Y, parts), strict=True):
            step.accumulate(x, y)
        step.apply()
        states.append(model.state())
    for path, array in states[0].items():
        np.testing.assert_allclose(array, states[1][path], atol=1e-6)


def test_the_teacher_computes_as_in_inference_and_stays_as_it_is() -> None:
    layers = bm.layers.Dense(8), bm.layers.BatchNorm(), bm.layers.Dropout(0.5), bm.layers.Dense(3)
    teacher, model = network(2, *layers), network(1)
    before, soft = teacher.state(), divergence(model(X), teacher(X), 4.0).mean()
    trainer = bm.Trainer(model, "cross_entropy", "sgd", teacher=bm.Teacher(teacher, weight=1.0))
    history = trainer.fit((X, Y), epochs=1, batch_size=24, verbose=False)
    np.testing.assert_allclose(history["loss"][0], soft, rtol=1e-5)
    assert all((array == before[path]).all() for path, array in teacher.state().items())


def test_the_student_comes_to_say_what_the_teacher_says() -> None:
    teacher, model = network(2), network(1)
    apart = np.abs(teacher(X) - model(X)).max()
    trainer = bm.Trainer(
        model, "cross_entropy", bm.optimizers.Adam(0.05), teacher=bm.Teacher(teacher, weight=1.0)
    )
    trainer.fit((X, Y), epochs=60, verbose=False)
    own, theirs = (np.exp(log_softmax(item(X))) for item in (model, teacher))
    assert np.abs(own - theirs).max() < 0.1 < apart


def test_evaluation_measures_the_loss_of_the_targets_alone() -> None:
    model = network(1)
    trainer = bm.Trainer(model, "cross_entropy", "sgd", teacher=network(2))
    trainer.fit((X, Y), epochs=1, verbose=False)
    hard = -log_softmax(model(X).astype("float64"))[np.arange(24), Y].mean()
    np.testing.assert_allclose(trainer.evaluate((X, Y))["loss"], hard, rtol=1e-5)


# What does not fit -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "teacher, loss, error, words",
    [
        (lambda: network(2, bm.layers.Dense(5)), "cross_entropy", ShapeError, r"gives \(N, 5\), the student"),
        (lambda: network(2, bm.layers.Dense(3), bm.layers.Softmax()), "cross_entropy", UsageError, "softmax"),
        (lambda: network(2), "mean_squared_error", UsageError, "takes no scores"),
    ],
    ids=["classes", "probabilities", "loss"],
)
def test_a_teacher_that_does_not_fit_is_an_error_before_training(
    teacher: Any, loss: str, error: Any, words: str, tmp_path: Path
) -> None:
    y = Y if loss == "cross_entropy" else X[:, :3]
    trainer = bm.Trainer(network(1), loss, "sgd", teacher=teacher(), out=tmp_path / "run")
    with pytest.raises(error, match=words):
        trainer.fit((X, y), verbose=False)
    assert not (tmp_path / "run").exists()


def test_a_teacher_of_other_inputs_is_refused() -> None:
    teacher = bm.Sequential(bm.layers.Dense(3))
    teacher.build(bm.Spec(("N", 6)))
    with pytest.raises(ShapeError, match=r"takes \(N, 6\), the student \(N, 4\)"):
        bm.compile(network(1), "cross_entropy", "sgd", teacher=teacher)(X, Y)


def test_a_teacher_of_other_labels_or_tokens_is_refused() -> None:
    encoding = bm.Encoding("pets", "classification", ("cat", "dog", "owl"))
    split = bm.Split(X, Y, encoding=encoding)
    trained = bm.Tokenizer.train(["a cat"], kind="characters")
    for other, words in (
        (replace(encoding, labels=("owl", "cat", "dog")), "other classes"),
        (replace(encoding, tokenizer=trained), "another tokenizer"),
    ):
        teacher = network(2)
        teacher.network.encoding = other
        with pytest.raises(DataError, match=words):
            bm.Trainer(network(1), "cross_entropy", "sgd", teacher=teacher).fit(split, verbose=False)


def test_with_privacy_there_is_no_teacher() -> None:
    with pytest.raises(UsageError, match="leave out the teacher"):
        bm.Trainer(network(1), "cross_entropy", privacy=bm.Privacy(epsilon=3.0), teacher=network(2))


@pytest.mark.parametrize("options", [{"temperature": 0}, {"weight": 1.5}, {"weight": 0}])
def test_options_out_of_range_are_named(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        bm.Teacher(network(2), **options)


# Resuming --------------------------------------------------------------------------------------------------


@pytest.fixture
def teacher_run(tmp_path: Path) -> Path:
    bm.Trainer(network(2), "cross_entropy", "sgd", out=tmp_path / "teacher").fit((X, Y), verbose=False)
    return tmp_path / "teacher"


def begun(folder: Path, teacher: Any, epochs: int) -> Any:
    trainer = bm.Trainer(network(1), "cross_entropy", "adam", teacher=teacher, out=folder)
    trainer.fit((X, Y), epochs=epochs, batch_size=8, verbose=False)
    return trainer


def test_a_resumed_run_learns_from_its_teacher_to_the_same_bits(tmp_path: Path, teacher_run: Path) -> None:
    whole = begun(tmp_path / "whole", bm.Teacher(teacher_run, 2.0, 0.5), 3).network.state()
    begun(tmp_path / "run", bm.Teacher(teacher_run, 2.0, 0.5), 1)
    trainer = bm.Trainer.resume(tmp_path / "run")
    trainer.fit((X, Y), epochs=3, verbose=False)
    assert all((array == whole[path]).all() for path, array in trainer.network.state().items())


def test_without_its_teacher_a_run_does_not_resume(tmp_path: Path, teacher_run: Path) -> None:
    begun(tmp_path / "run", teacher_run, 1)
    teacher_run.rename(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="the teacher of the run .* is missing"):
        bm.Trainer.resume(tmp_path / "run")
    trainer = bm.Trainer.resume(tmp_path / "run", teacher=tmp_path / "elsewhere")
    assert len(trainer.fit((X, Y), epochs=2, verbose=False)) == 2


def test_another_teacher_is_not_that_of_the_run(tmp_path: Path, teacher_run: Path) -> None:
    begun(tmp_path / "run", teacher_run, 1)
    other = bm.Trainer.resume(tmp_path / "run", teacher=network(5))
    with pytest.raises(BigmodelError, match="another teacher"):
        other.fit((X, Y), epochs=2, verbose=False)
