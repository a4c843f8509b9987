"""The training loop against NumPy, and what it says of wrong arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import FrozenInstanceError, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.data.sampling import permutation
from bigmodel_core.errors import (
    BigmodelError,
    ConfigError,
    DataError,
    DeviceError,
    DtypeError,
    GraphError,
    ShapeError,
    UnknownNameError,
    UsageError,
)
from bigmodel_core.train.prepare import prepared

from .conftest import labelled


def softmax_regression(
    weight: np.ndarray, bias: np.ndarray, x: np.ndarray, y: np.ndarray, order: list[np.ndarray], rate: float
) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Softmax regression by gradient descent with momentum 0.9, in float64; losses by batch."""
    losses = []
    steps = [np.zeros_like(weight), np.zeros_like(bias)]
    for batch in order:
        logits = x[batch] @ weight + bias
        logits = logits - logits.max(1, keepdims=True)
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        losses.append(float(-np.log(p[np.arange(len(batch)), y[batch]]).mean()))
        d = (p - np.eye(weight.shape[1])[y[batch]]) / len(batch)
        for index, gradient in enumerate((x[batch].T @ d, d.sum(0))):
            steps[index] = 0.9 * steps[index] + gradient
        weight, bias = weight - rate * steps[0], bias - rate * steps[1]
    return weight, bias, losses


def logits_loss(logits: np.ndarray, y: np.ndarray) -> float:
    logits = logits - logits.max(1, keepdims=True)
    return float((np.log(np.exp(logits).sum(1)) - logits[np.arange(len(y)), y]).mean())


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    """Three epochs in batches of 32 (the last has 26), ours and NumPy's."""
    x, y = labelled(90)
    x64 = x.astype("float64")
    model = bm.layers.Dense(3)
    model.build(bm.Spec(("N", 5), "float64"), dtype="float64")
    start = model.state()
    order = []
    for epoch in range(3):
        shuffled = permutation(90, 5, "shuffle", epoch)
        order += [shuffled[at : at + 32] for at in range(0, 90, 32)]
    weight, bias, losses = softmax_regression(start["weight"], start["bias"], x64, y, order, 0.1)
    trainer = bm.Trainer(model, "cross_entropy", bm.optimizers.SGD(0.1, momentum=0.9), ["accuracy"], seed=5)
    validation = labelled(40, 5)
    held_out = (validation[0].astype("float64"), validation[1])
    history = trainer.fit((x64, y), epochs=3, batch_size=32, validation=held_out, verbose=False)
    return {
        "trainer": trainer,
        "history": history,
        "weight": weight,
        "bias": bias,
        "losses": losses,
        "validation": validation,
    }


def test_parameters_are_those_of_numpy(reference: dict[str, Any]) -> None:
    state = reference["trainer"].model.state()
    np.testing.assert_allclose(state["weight"], reference["weight"], rtol=1e-10)
    np.testing.assert_allclose(state["bias"], reference["bias"], rtol=1e-10)


def test_the_loss_of_an_epoch_is_the_mean_over_its_samples(reference: dict[str, Any]) -> None:
    parts = (reference["losses"][at : at + 3] for at in (0, 3, 6))
    expected = [np.average(losses, weights=(32, 32, 26)) for losses in parts]
    np.testing.assert_allclose(reference["history"]["loss"], expected, rtol=1e-10)


def test_validation_measures_are_those_of_numpy(reference: dict[str, Any]) -> None:
    x, y = reference["validation"]
    logits = x.astype("float64") @ reference["weight"] + reference["bias"]
    assert reference["history"].last["val_loss"] == pytest.approx(logits_loss(logits, y), rel=1e-10)
    assert reference["history"].last["val_accuracy"] == (logits.argmax(1) == y).mean()


@pytest.mark.parametrize("batch_size", [1, 7, 40, 1000])
def test_evaluate_does_not_depend_on_the_batch_size(reference: dict[str, Any], batch_size: int) -> None:
    x, y = reference["validation"]
    found = reference["trainer"].evaluate((x.astype("float64"), y), batch_size)
    logits = x.astype("float64") @ reference["weight"] + reference["bias"]
    assert found["loss"] == pytest.approx(logits_loss(logits, y), rel=1e-10)
    assert found["accuracy"] == (logits.argmax(1) == y).mean()


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_predict_gives_every_sample_in_order(reference: dict[str, Any], batch_size: int) -> None:
    x = reference["validation"][0].astype("float64")
    found = reference["trainer"].predict(x, batch_size)
    np.testing.assert_allclose(found, x @ reference["weight"] + reference["bias"], rtol=1e-9)


# What can be passed -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TwoInputs(bm.Layer):
    """Adds maps of two inputs; gives their sum and the first input's map."""

    def __call__(self, a: Any, b: Any) -> Any:
        return bm.layers.Dense(1)(a) + bm.layers.Dense(1)(b)


def test_several_inputs_are_a_tuple_of_arrays() -> None:
    draw = np.random.default_rng(0)
    a, b = draw.normal(size=(64, 2)).astype("float32"), draw.normal(size=(64, 3)).astype("float32")
    y = a[:, :1] - 2 * b[:, 1:2] + 1
    trainer = bm.Trainer(TwoInputs(), "mean_squared_error", bm.optimizers.SGD(0.2))
    history = trainer.fit(((a, b), y), epochs=60, batch_size=16, validation=0.25, verbose=False)
    assert history.last["val_loss"] < 1e-6
    np.testing.assert_allclose(trainer.predict((a, b), 10), y, atol=1e-2)


def test_a_model_brings_its_loss_metrics_and_optimizer() -> None:
    trainer = bm.Trainer("logistic-regression")
    assert type(trainer.step.loss).__name__ == "CrossEntropy"
    assert [type(metric).__name__ for metric in trainer.metrics] == ["Accuracy"]


def test_data_bring_their_validation_split() -> None:
    data = bm.datasets.load("digits").split_validation(0.2)
    model = bm.Sequential(bm.layers.Flatten(), bm.layers.Dense(10))
    trainer = bm.Trainer(model, "cross_entropy", bm.optimizers.Adam(0.01), ["accuracy"])
    history = trainer.fit(data, epochs=3, verbose=False)
    assert history.last["val_accuracy"] > 0.8
    assert trainer.evaluate(data.test)["accuracy"] == trainer.evaluate(data)["accuracy"] > 0.8


def test_a_second_fit_goes_on() -> None:
    once = bm.Trainer(bm.layers.Dense(3), "cross_entropy", "adam")
    twice = bm.Trainer(bm.layers.Dense(3), "cross_entropy", "adam")
    once.fit(labelled(), epochs=4, verbose=False)
    twice.fit(labelled(), epochs=1, verbose=False)
    history = twice.fit(labelled(), epochs=3, verbose=False)
    assert [logs["epoch"] for logs in history] == [1, 2, 3, 4]
    assert np.array_equal(once.model.state()["weight"], twice.model.state()["weight"])


def test_a_second_fit_on_other_samples_begins_its_own_epoch() -> None:
    trainer = bm.Trainer(bm.layers.Dense(3), "cross_entropy", callbacks=[StopAt(2)])
    trainer.fit(labelled(90), batch_size=30, verbose=False)
    assert trainer.state.batch == 2
    history = trainer.fit(labelled(60), batch_size=30, verbose=False)
    assert trainer.step.steps == 4 and [logs["epoch"] for logs in history] == [1]


def test_the_seed_decides_everything() -> None:
    def trained(seed: int) -> np.ndarray:
        model = bm.Sequential(bm.layers.Dropout(0.5), bm.layers.Dense(3))
        bm.Trainer(model, "cross_entropy", seed=seed).fit(labelled(), epochs=2, verbose=False)
        return model.state()["dense_1/weight"]

    assert np.array_equal(trained(1), trained(1))
    assert not np.array_equal(trained(1), trained(2))


# Callbacks --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Diary(bm.Callback):
    """Notes what it is told."""

    entries: list[Any] = field(default_factory=list)

    def on_train_begin(self, trainer: bm.Trainer) -> None:
        self.entries.append("begin")

    def on_epoch_begin(self, trainer: bm.Trainer, epoch: int) -> None:
        self.entries.append(("epoch", epoch))

    def on_batch_end(self, trainer: bm.Trainer, step: int, logs: Mapping[str, float]) -> None:
        self.entries.append((step, sorted(logs)))

    def on_epoch_end(self, trainer: bm.Trainer, epoch: int, logs: Mapping[str, float]) -> None:
        self.entries.append(("end of epoch", epoch, "val_loss" in logs))

    def on_train_end(self, trainer: bm.Trainer) -> None:
        self.entries.append("end")


def test_callbacks_are_told_in_order() -> None:
    diary = Diary()
    trainer = bm.Trainer(bm.layers.Dense(3), "cross_entropy", callbacks=[diary])
    trainer.fit(labelled(90), epochs=2, batch_size=45, validation=labelled(9), verbose=False)
    seen = ["learning_rate", "loss"]
    assert diary.entries == [
        "begin",
        ("epoch", 0),
        (1, seen),
        (2, seen),
        ("end of epoch", 0, True),
        ("epoch", 1),
        (3, seen),
        (4, seen),
        ("end of epoch", 1, True),
        "end",
    ]


@dataclass(frozen=True)
class StopAt(bm.Callback):
    """Stops after a step."""

    step: int

    def on_batch_end(self, trainer: bm.Trainer, step: int, logs: Mapping[str, float]) -> None:
        trainer.stop = step == self.step


def test_a_callback_stops_training_between_two_steps() -> None:
    trainer = bm.Trainer(bm.layers.Dense(3), "cross_entropy", callbacks=[StopAt(3)])
    history = trainer.fit(labelled(90), epochs=5, batch_size=45, verbose=False)
    assert trainer.step.steps == 3 and len(history) == 1 and not history.interrupted


def test_the_learning_rate_in_the_logs_is_that_of_the_step() -> None:
    schedule = bm.schedules.InverseTime(1.0)
    rates = []

    @dataclass(frozen=True)
    class Rates(bm.Callback):
        def on_batch_end(self, trainer: bm.Trainer, step: int, logs: Mapping[str, float]) -> None:
            rates.append(logs["learning_rate"])

    optimizer = bm.optimizers.SGD(schedule)
    trainer = bm.Trainer(bm.layers.Dense(3), "cross_entropy", optimizer, callbacks=[Rates()])
    trainer.fit(labelled(90), batch_size=30, verbose=False)
    assert rates == [schedule(0), schedule(1), schedule(2)]
    assert rates[0] > rates[1] > rates[2]


# What is shown ----------------------------------------------------------------------------------------------


def test_a_line_an_epoch_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    bm.Trainer(bm.layers.Dense(3), "cross_entropy", metrics=["accuracy"]).fit(
        labelled(90), epochs=2, validation=0.5
    )
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("epoch 1/2  loss ") and "val_accuracy 0." in first and "samples/s" in first
    assert second.startswith("epoch 2/2")


def test_silence(capsys: pytest.CaptureFixture[str]) -> None:
    bm.Trainer(bm.layers.Dense(3), "cross_entropy").fit(labelled(90), verbose=False)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    bm.Trainer(bm.layers.Dense(3), "cross_entropy").fit(labelled(90), epochs=2)
    out = capsys.readouterr().out
    assert "epoch 1/2  loss" in out and "epoch 2/2  loss" in out


# Mistakes ---------------------------------------------------------------------------------------------------

X, Y = labelled(12)
NOTHING = np.zeros((0, 5), "float32"), np.zeros(0, "int64")

MISTAKES: list[tuple[str, dict[str, Any], type[BigmodelError], str]] = [
    ("no epochs", {"epochs": 0}, ConfigError, "epochs is 0"),
    ("half an epoch", {"epochs": 0.5}, ConfigError, "epochs is 0.5"),
    ("a batch of nothing", {"batch_size": 0}, ConfigError, "batch size is 0"),
    ("a batch of truth", {"batch_size": True}, ConfigError, "batch size is True"),
    ("no samples", {"data": NOTHING}, DataError, "no sample"),
    ("no validation samples", {"validation": NOTHING}, DataError, "no sample"),
    ("all samples held out", {"validation": 1.0}, ConfigError, "fraction"),
    ("a path", {"data": "digits"}, UsageError, "is a str"),
    ("lengths that differ", {"data": (X, Y[:-1])}, DataError, "12, 11"),
    ("no targets", {"data": bm.Split(X)}, DataError, "no targets"),
    (
        "too many features in validation",
        {"validation": (np.zeros((4, 6), "float32"), Y[:4])},
        ShapeError,
        "5",
    ),
    ("targets with an axis too many", {"data": (X, Y[:, None])}, ShapeError, "labels"),
    ("targets that are no classes", {"data": (X, Y + 0.5)}, DtypeError, "integer"),
    ("checkpoints without a folder", {"checkpoint_every": 2, "out": None}, UsageError, "folder"),
    ("an unknown metric", {"metrics": ["acuracy"]}, UnknownNameError, "accuracy"),
    ("an unknown optimizer", {"optimizer": "adamm"}, UnknownNameError, "adam"),
    ("an unknown loss", {"loss": "cross"}, UnknownNameError, "cross"),
    ("no loss", {"loss": None}, UsageError, "loss"),
    ("a measure that is not there", {"monitor": "val_accuracy"}, ConfigError, "val_accuracy"),
    ("a metric for other outputs", {"metrics": ["r2"], "validation": 0.5}, BigmodelError, "shape"),
]


@pytest.mark.parametrize(("options", "kind", "text"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_mistakes_are_told_before_anything_is_written(
    tmp_path: Path, options: dict[str, Any], kind: type[BigmodelError], text: str
) -> None:
    out = tmp_path / "run"
    given = {"loss": "cross_entropy", "out": out, "data": (X, Y), **options}
    names = {"loss", "optimizer", "metrics", "out", "monitor"} & set(given)
    making = {name: given.pop(name) for name in names}
    with pytest.raises(kind, match=text):
        bm.Trainer(bm.layers.Dense(3), **making).fit(given.pop("data"), verbose=False, **given)
    assert not out.exists()


def test_labels_out_of_range_are_told() -> None:
    with pytest.raises(DataError, match="label 3"):
        bm.Trainer(bm.layers.Dense(3), "cross_entropy").fit((X, Y + 1), verbose=False)


def test_a_model_that_is_not_built_predicts_nothing() -> None:
    with pytest.raises(GraphError, match="not built"):
        bm.Trainer(bm.layers.Dense(3), "cross_entropy").predict(X)


def test_a_model_stays_on_its_device() -> None:
    model = bm.layers.Dense(3)
    model.build(bm.Spec(("N", 5)))
    with pytest.raises(DeviceError, match="'cuda'"):
        bm.Trainer(model, "cross_entropy", device="cuda")


def test_preparing_a_run_that_goes_on_changes_neither_trainer_nor_parameters(tmp_path: Path) -> None:
    x, y = labelled(20)
    bm.Trainer(bm.layers.Dense(3), "cross_entropy", "sgd", out=tmp_path).fit((x, y), epochs=2, verbose=False)
    trainer = bm.Trainer(bm.layers.Dense(3), "cross_entropy", "sgd")
    trainer.fit((x, y), verbose=False)
    before, parameters = dict(vars(trainer)), trainer.model.state()
    job = prepared(
        trainer,
        (x, y),
        epochs=3,
        batch_size=None,
        validation=None,
        resume=tmp_path,
        checkpoint_every=None,
        record={},
    )
    assert (job.state.epoch, job.epochs, job.folder) == (2, 3, tmp_path)
    assert vars(trainer) == before
    for path, array in trainer.model.state().items():
        np.testing.assert_array_equal(array, parameters[path])
    with pytest.raises(FrozenInstanceError):
        job.epochs = 5  # type: ignore[misc]  # what is refused
