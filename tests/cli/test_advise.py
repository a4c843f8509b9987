"""`bigmodel advise` and `bm.advise`: models that suit data and fit limits, measured; why the rest do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.cli.advise import _bytes
from bigmodel_core.errors import UsageError
from bigmodel_core.nn.quantities import duration
from bigmodel_core.train.advice import Candidate, _rank
from tests.cli.conftest import Command


def digits() -> bm.Data:
    return bm.datasets.load("digits")


def test_what_suits_the_data_is_measured_and_ordered_by_what_it_reaches() -> None:
    found = bm.advise(digits(), models=["logistic-regression", "mlp"], seconds=0.05, epochs=3)
    scores = [one.score or 0.0 for one in found]
    assert scores == sorted(scores, reverse=True) and scores[0] > 0.3
    by_name = {one.name: one for one in found}
    assert (
        by_name["logistic-regression"].parameters == 650
        and by_name["logistic-regression"].measure == "val_accuracy"
    )
    for one in found:
        assert one.step is not None and one.seconds is not None and one.memory is not None
        assert one.seconds >= 3 * 21 * one.step > 0  # 21 steps an epoch, and validation
        assert one.memory > 4 * (one.parameters or 0)


def test_several_labels_a_sample_are_tried_with_a_loss_that_takes_them() -> None:
    x = np.random.default_rng(0).normal(size=(40, 4)).astype("float32")
    split = bm.Split(x, x[:, :2] > 0)
    data = bm.Data("own", split, split, labels=("high", "low"), task="multilabel")
    (found,) = bm.advise(data, models=["logistic-regression"], seconds=0.05)
    assert not found.reason and found.score is not None


def test_what_does_not_suit_the_data_says_why() -> None:
    found = bm.advise(digits(), models=["gpt", "linear-regression"], seconds=0.05)
    reasons = {one.name: one.reason for one in found}
    assert (
        "expected integers" in reasons["gpt"] and "does not take these data" in reasons["linear-regression"]
    )


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"memory": 100_000}, "too much memory"),
        ({"memory": 150_000}, "a step takes too much memory"),
        ({"minutes": 1e-6}, "training takes"),
    ],
)
def test_what_does_not_fit_comes_with_the_reason(limits: dict[str, Any], said: str) -> None:
    (one,) = bm.advise(digits(), models=["mlp"], seconds=0.05, **limits)
    assert said in one.reason


def test_a_model_that_would_take_ages_is_not_tried() -> None:
    """784 x 10 numbers in 2e11 operations a second and core: 6 x 7,840 x 540 x 100,000 of them."""
    x, y = np.zeros((600, 1, 28, 28), "float32"), np.arange(600) % 10
    data = bm.Data("zeros", bm.Split(x, y), bm.Split(x, y))
    (one,) = bm.advise(data, models=["logistic-regression"], epochs=100_000, minutes=1e-5, seconds=0.05)
    least = duration(12.7008 / bm.num_threads())
    assert one.reason == f"training takes {least} at the very least" and one.step is None


def test_another_task_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="its task is classification"):
        bm.advise(digits(), task="regression")


def test_low_losses_come_first_and_what_does_not_fit_last() -> None:
    a, b = Candidate("a", measure="val_loss", score=0.5), Candidate("b", measure="val_loss", score=0.1)
    assert sorted([Candidate("c", reason="no"), a, b], key=_rank)[:2] == [b, a]


def test_the_shell_names_the_command_to_begin_with(bigmodel: Command) -> None:
    short = ("advise", "--model", "mlp", "--model", "gpt", "--try", 0.05, "--epochs", 2)
    result = bigmodel(*short)
    assert (
        "bigmodel train mlp --data digits --epochs 2" in result.out and "gpt: it does not take" in result.out
    )
    told = bigmodel(*short, "--json").json
    assert [(one["model"], one["fits"]) for one in told["models"]] == [("mlp", True), ("gpt", False)]
    assert told["command"] == "bigmodel train mlp --data digits --epochs 2"


def test_nothing_that_fits_is_a_failure(bigmodel: Command) -> None:
    result = bigmodel("advise", "--model", "mlp", "--memory", "10kB")
    assert result.code == 1 and "No model suits" in result.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--memory", "lots"), "is no size"),
        (("--memory", "0GB"), "is no size"),
        (("--model", "mpl"), "there is no model 'mpl'"),
        (("--task", "regression"), "its task is classification"),
        (("--data", "digts"), "there is no data"),
    ],
)
def test_wrong_usage(bigmodel: Command, arguments: tuple[str, ...], said: str) -> None:
    result = bigmodel("advise", *arguments)
    assert result.code == 2 and said in result.err


def test_sizes_are_read_as_people_write_them() -> None:
    assert [_bytes(text) for text in ("2GB", "512 MiB", "1.5g", "100")] == [2 * 10**9, 2**29, 15 * 10**8, 100]
