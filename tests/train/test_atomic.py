"""Writing fails in the middle: the old checkpoint is whole, and nothing half-written stays."""

from __future__ import annotations

import builtins
import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import CheckpointError
from bigmodel_core.train import runs
from bigmodel_core.train.atomic import remove_remains, write_atomically

from .conftest import labelled


def full(*args: Any, **options: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


class FullFile:
    """A file on a disk that takes a few bytes."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def __enter__(self) -> FullFile:
        return self

    def __exit__(self, *details: object) -> None:
        self.file.close()

    def write(self, part: bytes) -> int:
        self.file.write(part[:3])
        self.file.flush()
        return int(full())


def break_writing(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if how == "write":
        real = builtins.open
        monkeypatch.setattr(
            "builtins.open",
            lambda file, mode="r", *a, **o: (
                FullFile(real(file, mode, *a, **o)) if "x" in mode else real(file, mode, *a, **o)
            ),
        )
    else:
        monkeypatch.setattr(os, how, full)


@pytest.mark.parametrize("how", ["write", "fsync", "replace"])
def test_the_old_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    path = tmp_path / "file"
    write_atomically(path, [b"old"])
    with monkeypatch.context() as broken:
        break_writing(how, broken)
        with pytest.raises(CheckpointError, match="No space left on device"):
            write_atomically(path, [b"new content"])
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["file"]
    write_atomically(path, [b"new ", b"content"])
    assert path.read_bytes() == b"new content"


@pytest.mark.parametrize("how", ["write", "fsync", "replace"])
def test_a_disk_that_gets_full_during_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Fills(bm.Callback):
        def on_epoch_end(self, trainer: bm.Trainer, epoch: int, logs: Any) -> None:
            if epoch == 1:
                break_writing(how, monkeypatch)

    out = tmp_path / "run"
    made = bm.Trainer(bm.layers.Dense(3), "cross_entropy", "adam", callbacks=[Fills()], out=out)
    with pytest.raises(CheckpointError, match="No space left"):
        made.fit(labelled(), epochs=3, verbose=False)
    monkeypatch.undo()
    assert {item.name for item in out.iterdir()} == {runs.BEST, runs.LAST, runs.METRICS, runs.MANIFEST}
    resumed = bm.Trainer.resume(out, callbacks=())
    assert resumed.fit(labelled(), verbose=False).last["epoch"] == 3


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    made = bm.Trainer(bm.layers.Dense(3), "cross_entropy", out=tmp_path / "file" / "run")
    with pytest.raises(CheckpointError, match="cannot create"):
        made.fit(labelled(), verbose=False)


def test_saving_where_no_folder_is(tmp_path: Path) -> None:
    model = bm.layers.Dense(2)
    model(np.ones((1, 2), "float32"))
    with pytest.raises(CheckpointError, match="No such file"):
        bm.save(model, tmp_path / "nowhere" / "model")


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".last.safetensors.12ab34cd.part").write_bytes(b"half")
    (tmp_path / "notes.part").write_bytes(b"the user's own")
    remove_remains(tmp_path)
    assert [item.name for item in tmp_path.iterdir()] == ["notes.part"]
