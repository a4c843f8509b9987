"""What the tests of the command line share: running it, in this process or a fresh one, and a trained run."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bigmodel_core.cli.app import main
from tests.processes import python


@dataclass(frozen=True)
class Result:
    """What a command gave."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Stdout, which has to be one JSON document."""
        return json.loads(self.out)


Command = Callable[..., Result]


def run_here(*arguments: object) -> Result:
    """Run a command in this process and the current folder."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return Result(code, out.getvalue(), err.getvalue())


def run_fresh(
    *arguments: object, cwd: Path | None = None, beside: Iterable[Path] = (), **variables: str
) -> Result:
    """Run a command in a process of its own, which finds the packages in the folders `beside`, too."""
    done = python("-m", "bigmodel_core.cli", *arguments, ends=None, beside=beside, cwd=cwd, **variables)
    return Result(done.returncode, done.stdout, done.stderr)


def run_all(folder: Path, *commands: tuple[object, ...]) -> None:
    """Run commands in a folder; none may fail."""
    with contextlib.chdir(folder):
        for command in commands:
            result = run_here(*command, "--quiet")
            assert result.code == 0, result.err


@pytest.fixture
def bigmodel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run commands in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return run_here


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run on the digits, and the run exported with and without preprocessing."""
    folder = tmp_path_factory.mktemp("trained")
    run_all(
        folder,
        ("train", "mlp", "--data", "digits", "--epochs", 8),
        ("export", "model.onnx"),
        ("export", "raw.onnx", "--with-preprocessing"),
    )
    return folder


@pytest.fixture
def in_trained(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run commands in the folder with the trained run; tests only read there."""
    monkeypatch.chdir(trained)
    return run_here
