"""What the tests of the command line share: running it, in this process or a fresh one, and a trained run."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bigmodel_core.cli.app import main


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


def run_fresh(*arguments: object, cwd: Path | None = None, **variables: str) -> Result:
    """Run a command in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bigmodel_core.cli", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def bigmodel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run commands in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return run_here


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run on the digits, and the run exported with and without preprocessing."""
    folder = tmp_path_factory.mktemp("trained")
    with contextlib.chdir(folder):
        for command in (
            ("train", "mlp", "--data", "digits", "--epochs", 8, "--quiet"),
            ("export", "model.onnx", "--quiet"),
            ("export", "raw.onnx", "--with-preprocessing", "--quiet"),
        ):
            result = run_here(*command)
            assert result.code == 0, result.err
    return folder


@pytest.fixture
def in_trained(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run commands in the folder with the trained run; tests only read there."""
    monkeypatch.chdir(trained)
    return run_here
