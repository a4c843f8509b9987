"""Averages of parameters beside training: those of PyTorch, kept over a resume, used on request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, UsageError

from .conftest import assert_same_bits, copy_dense, crashed_and_resumed, labelled

L, O = bm.layers, bm.optimizers


def built() -> Any:
    model = bm.Sequential(L.Dense(8), L.BatchNorm(), L.Tanh(), L.Dense(3))
    model.build(bm.Spec(("N", 5)), seed=3)
    return model


def test_averages_are_those_of_pytorch(torch: Any) -> None:
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    model = bm.Sequential(L.Dense(8), L.Tanh(), L.Dense(3))
    state = model.build(bm.Spec(("N", 5)), seed=3).state()
    theirs = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    copy_dense(state, {"dense_1": theirs[0], "dense_2": theirs[2]})
    average = AveragedModel(theirs, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    optimizer = torch.optim.SGD(theirs.parameters(), 0.5)
    step = bm.compile(model, "cross_entropy", O.SGD(0.5), ema=0.9)
    x, y = labelled(60)
    for _ in range(5):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(theirs(torch.tensor(x)), torch.tensor(y)).backward()
        optimizer.step()
        average.update_parameters(theirs)
        step(x, y)
    np.testing.assert_allclose(
        step.averages()["dense_1/weight"], average.module[0].weight.detach().T, atol=1e-5
    )
    np.testing.assert_allclose(step.averages()["dense_2/bias"], average.module[2].bias.detach(), atol=1e-5)
    np.testing.assert_allclose(model.state()["dense_1/weight"], theirs[0].weight.detach().T, atol=1e-5)


def test_training_does_not_see_them() -> None:
    one, other = built(), built()
    steps = bm.compile(one, "cross_entropy", "adam"), bm.compile(other, "cross_entropy", "adam", ema=0.9)
    for _ in range(3):
        assert steps[0](*labelled(60)) == steps[1](*labelled(60))
    assert_same_bits(one.state(), other.state())


def test_both_halves_and_sums_keep_the_same_averages() -> None:
    x, y = labelled(60)
    whole, halves, sums = (bm.compile(built(), "cross_entropy", O.SGD(0.1), ema=0.5) for _ in range(3))
    for _ in range(3):
        whole(x, y)
        halves.apply(halves.gradients(x, y)[1])
        sums.accumulate(x, y)
        sums.apply()
    for path, array in whole.averages().items():
        np.testing.assert_allclose(halves.averages()[path], array, atol=1e-6)
        np.testing.assert_allclose(sums.averages()[path], array, atol=1e-6)


def run(out: Path | None, *callbacks: Any) -> bm.Trainer:
    made = bm.Trainer(
        built(), "cross_entropy", O.SGD(0.1), ["accuracy"], ema=0.9, out=out, callbacks=callbacks
    )
    made.fit(labelled(64), 3, 16, verbose=False)
    return made


def test_they_are_evaluated_saved_and_exported_on_request(tmp_path: Path) -> None:
    trainer, (x, y) = run(tmp_path / "run"), labelled(64)
    averaged = trainer.averaged()
    scores = averaged(x)
    assert trainer.evaluate((x, y), averaged=True)["accuracy"] == pytest.approx(
        (scores.argmax(1) == y).mean()
    )
    assert np.abs(scores - trainer.network(x)).max() > 1e-3
    np.testing.assert_allclose(bm.load(tmp_path / "run" / "averaged.safetensors")(x), scores, rtol=1e-6)
    bm.export(averaged, tmp_path / "averaged.onnx")  # verified in ONNX Runtime
    np.testing.assert_allclose(bm.from_onnx(tmp_path / "averaged.onnx")(x), scores, atol=1e-5)


def test_a_resumed_run_ends_with_the_same_averages(tmp_path: Path) -> None:
    whole = run(None)
    resumed = crashed_and_resumed(run, tmp_path / "run", 6, labelled(64))
    assert_same_bits(whole.step.averages(), resumed.step.averages())


def test_wrong_shares_and_no_averages() -> None:
    for wrong in (1.0, -0.1, "0.9", True):
        with pytest.raises(ConfigError, match="ema is"):
            bm.compile(built(), "cross_entropy", "sgd", ema=wrong)  # type: ignore[arg-type]  # it is refused
    trainer = bm.Trainer(built(), "cross_entropy", "sgd")
    trainer.fit(labelled(16), verbose=False)
    with pytest.raises(UsageError, match="no averages"):
        trainer.evaluate(labelled(16), averaged=True)
