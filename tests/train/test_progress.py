"""What is seen of training on a terminal, in a notebook and in a log."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

import bigmodel_core as bm
from bigmodel_core.train import progress
from bigmodel_core.train.progress import Bar, Cell, Lines, Reporter, reporter

from .conftest import labelled


class Stream:
    """Standard output of some place."""

    def __init__(self, is_terminal: bool = False) -> None:
        self.is_terminal, self.text = is_terminal, ""

    def isatty(self) -> bool:
        return self.is_terminal

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None: ...


def shown(text: str) -> list[str]:
    """The lines that a reader sees: a carriage return goes back to the begin of the line."""
    lines = []
    for line in text.split("\n"):
        seen = ""
        for part in line.split("\r"):
            seen = part + seen[len(part) :]
        lines.append(seen.rstrip())
    return lines


def train() -> None:
    bm.Trainer(bm.layers.Dense(3), "cross_entropy", "adam").fit(labelled(), epochs=2, batch_size=9)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock on which each look is ten seconds after the one before."""
    time = ModuleType("time")
    now = iter(range(0, 1_000_000, 10))
    time.monotonic = lambda: float(next(now))  # type: ignore[attr-defined]  # of a module made here
    monkeypatch.setattr(progress, "time", time)


@pytest.mark.parametrize(
    ("is_terminal", "place", "term", "kind"),
    [
        (True, "_io", "xterm", Bar),
        (True, "_io", "dumb", Lines),
        (False, "_io", "xterm", Lines),
        (False, "ipykernel.iostream", "xterm", Cell),
    ],
)
def test_what_suits_the_place(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool, place: str, term: str, kind: type[Any]
) -> None:
    monkeypatch.setattr(Stream, "__module__", place)
    monkeypatch.setattr(sys, "stdout", Stream(is_terminal))
    monkeypatch.setenv("TERM", term)
    assert type(reporter(True)) is kind
    assert type(reporter(False)) is Reporter


def test_a_log_has_a_line_for_each_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    train()
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition("  ")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]


def test_a_long_epoch_has_a_line_a_minute(capsys: pytest.CaptureFixture[str], clock: None) -> None:
    train()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("epoch 1/2  batch 6 of 10  loss ")
    assert [line.partition("  ")[0] for line in lines] == ["epoch 1/2"] * 2 + ["epoch 2/2"] * 2


def test_a_cell_of_a_notebook_ends_with_the_epochs_alone(
    monkeypatch: pytest.MonkeyPatch, clock: None
) -> None:
    stream = Stream()
    monkeypatch.setattr(Stream, "__module__", "ipykernel.iostream")
    monkeypatch.setattr(sys, "stdout", stream)
    train()
    assert f"\r{'█' * 12}{'░' * 12}  epoch 2/2  batch 5 of 10  loss " in stream.text
    assert [line.partition("  ")[0] for line in shown(stream.text)] == ["epoch 1/2", "epoch 2/2", ""]
