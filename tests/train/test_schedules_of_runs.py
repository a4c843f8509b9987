"""Schedules that take their length from the run, and names with options."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import CheckpointError, ConfigError, UnknownNameError
from bigmodel_core.registry import config

from .conftest import At, Crash, crash, labelled


def rates(optimizer: Any, *epochs: int, out: Path | None = None, **options: Any) -> list[float]:
    """The learning rates of all steps; an epoch has 3."""
    found: list[float] = []

    class Rates(bm.Callback):
        def on_batch_end(self, trainer: Any, step: int, logs: Any) -> None:
            found.append(logs["learning_rate"])

    made = bm.Trainer(bm.layers.Dense(3), "cross_entropy", optimizer, callbacks=[Rates()], out=out)
    for number in epochs:
        made.fit(labelled(90), number, 30, verbose=False, **options)
    return found


def cosine(rate: float, steps: int) -> list[float]:
    return [rate * (1 + math.cos(math.pi * step / steps)) / 2 for step in range(steps)]


@pytest.mark.parametrize(
    "schedule", [bm.schedules.Cosine(0.5), "cosine:rate=0.5", {"name": "cosine", "rate": 0.5}]
)
def test_cosine_takes_its_length_from_the_run(schedule: Any) -> None:
    optimizer = config.make("optimizer", {"name": "sgd", "learning_rate": schedule})
    assert rates(optimizer, 4) == pytest.approx(cosine(0.5, 12))


def test_a_second_fit_has_one_cosine_over_both() -> None:
    expected = cosine(0.5, 6)[:6] + cosine(0.5, 12)[6:]
    assert rates(bm.optimizers.SGD(bm.schedules.Cosine(0.5)), 2, 2) == pytest.approx(expected)


def test_a_warm_up_leaves_the_rest_of_the_run() -> None:
    schedule = bm.schedules.WarmUp(3, then=bm.schedules.Cosine(0.5))
    expected = [0.0, 0.5 / 3, 1.0 / 3, *cosine(0.5, 9)]
    assert rates(bm.optimizers.SGD(schedule), 4) == pytest.approx(expected)


def test_step_decay_counts_epochs_or_steps() -> None:
    by_epoch = bm.optimizers.SGD(bm.schedules.StepDecay(1.0, epochs=2, factor=0.5))
    by_step = bm.optimizers.SGD(bm.schedules.StepDecay(1.0, every=4, factor=0.5))
    assert rates(by_epoch, 5) == [1.0] * 6 + [0.5] * 6 + [0.25] * 3
    assert rates(by_step, 3) == [1.0] * 4 + [0.5] * 4 + [0.25]


@pytest.mark.parametrize(
    "options", [{}, {"every": 3, "epochs": 2}, {"epochs": 0}, {"every": 0}, {"every": 1.5}]
)
def test_step_decay_needs_one_length(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="every|epochs"):
        bm.schedules.StepDecay(1.0, **options)


@pytest.mark.parametrize("schedule", [bm.schedules.Cosine(0.5), bm.schedules.StepDecay(0.5, epochs=1)])
def test_a_loop_of_ones_own_has_to_say_the_length(schedule: Any) -> None:
    step = bm.compile(bm.layers.Dense(3), "cross_entropy", bm.optimizers.SGD(schedule))
    with pytest.raises(ConfigError, match="does not know"):
        step(*labelled())


@pytest.mark.parametrize("epochs", [None, 4, 6])
def test_a_run_that_goes_on_keeps_the_length_it_had(tmp_path: Path, epochs: int | None) -> None:
    def made(*callbacks: Any, out: Path | None = None) -> bm.Trainer:
        optimizer = bm.optimizers.SGD(bm.schedules.Cosine(0.5))
        return bm.Trainer(bm.layers.Dense(3), "cross_entropy", optimizer, callbacks=callbacks, out=out)

    with pytest.raises(Crash):
        made(At(7, crash), out=tmp_path / "run").fit(labelled(90), 4, 30, verbose=False)
    resumed = made()
    resumed.fit(labelled(90), epochs, 30, verbose=False, resume=tmp_path / "run")
    assert resumed.step.optimizer.learning_rate == bm.schedules.Cosine(0.5, 12)
    if epochs != 6:
        whole = made()
        whole.fit(labelled(90), 4, 30, verbose=False)
        assert all(
            np.array_equal(whole.step.state()[path], array) for path, array in resumed.step.state().items()
        )


def test_a_schedule_that_was_saved_without_a_field_of_today_is_the_same(tmp_path: Path) -> None:
    from bigmodel_core.train.checkpoint_file import read_file, write_file

    optimizer = bm.optimizers.SGD(bm.schedules.StepDecay(1.0, every=4))
    rates(optimizer, 2, out=tmp_path / "run")
    texts, arrays = read_file(tmp_path / "run" / "last.safetensors")
    old = texts["training"].replace(',"epochs":null}', "}")
    assert old != texts["training"]
    write_file(tmp_path / "run" / "last.safetensors", {**texts, "training": old}, arrays)
    assert len(rates(optimizer, 3, resume=tmp_path / "run")) == 3


def test_another_schedule_is_still_another(tmp_path: Path) -> None:
    rates(bm.optimizers.SGD(bm.schedules.Cosine(0.5)), 2, out=tmp_path / "run")
    for optimizer in (
        bm.optimizers.SGD(bm.schedules.Cosine(0.25)),
        bm.optimizers.SGD(bm.schedules.Cosine(0.5), clip_norm=1.0),
    ):
        with pytest.raises(CheckpointError, match="another optimizer"):
            rates(optimizer, 3, resume=tmp_path / "run")


# Names with options ---------------------------------------------------------------------------------------


def test_names_with_options_work_where_names_do() -> None:
    made = bm.Trainer(
        "mlp:widths=8,activation=elu:alpha=2",
        "cross_entropy:label_smoothing=0.25",
        "sgd:momentum=0.9,nesterov=true",
        ["top_k_accuracy:k=2"],
        callbacks=["early-stopping:patience=3"],
    )
    assert made.step.optimizer == bm.optimizers.SGD(momentum=0.9, nesterov=True)
    assert made.step.loss == bm.losses.CrossEntropy(label_smoothing=0.25)
    assert made.metrics[0].k == 2 and made.callbacks[0].patience == 3
    assert made.model.activation == "elu:alpha=2"


def test_the_activation_of_a_layer_may_have_options() -> None:
    x = np.linspace(-2, 2, 12).astype("float32").reshape(4, 3)
    layer = bm.layers.Dense(3, activation="elu:alpha=2")
    found = layer(x) if layer.is_built else (layer.build(bm.Spec(("N", 3))), layer(x))[1]
    state = layer.state()
    y = x.astype("float64") @ state["weight"] + state["bias"]
    np.testing.assert_allclose(found, np.where(y > 0, y, 2 * np.expm1(y)), rtol=1e-5, atol=1e-6)


def test_models_and_data_sets_by_name_take_options(tmp_path: Path) -> None:
    assert bm.models.build("mlp:widths=8,4").widths == (8, 4)
    assert bm.models.build("mlp:widths=8,4", dropout=0.5).dropout == 0.5
    (tmp_path / "t.csv").write_text("a,kind,b\n" + "".join(f"{n},{'xy'[n % 2]},{n}\n" for n in range(20)))
    assert bm.datasets.load("csv:target=kind", tmp_path / "t.csv").labels == ("x", "y")


def test_unknown_options_behind_names_are_told() -> None:
    with pytest.raises(ConfigError, match="momentun"):
        bm.Trainer(bm.layers.Dense(3), "cross_entropy", "sgd:momentun=0.9")
    with pytest.raises(UnknownNameError, match="options"):
        bm.optimizers.get("sgd:momentum=0.9")
