"""The lock of a run's folder: one writer, and locks of processes that are gone are recognised."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import bigmodel_core as bm
from bigmodel_core.errors import RunInUseError
from bigmodel_core.train import lock as locks
from bigmodel_core.train import runs
from bigmodel_core.train.lock import LOCK, RunLock, check_unused, is_used

from .conftest import At, Crash, crash, labelled


def written(folder: Path, **changes: Any) -> Path:
    """A lock file as this process would write it, with something else."""
    text = {**locks._this_process(), "token": "other", **changes}
    (folder / LOCK).write_text(json.dumps({key: item for key, item in text.items() if item is not None}))
    return folder / LOCK


def dead_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def winners(folder: Path) -> int:
    """How many of 24 attempts, eight at a time, get the lock and have it."""

    def tried(_: int) -> bool:
        lock = RunLock(folder)
        try:
            lock.acquire()
            lock.check()
        except RunInUseError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        return sum(pool.map(tried, range(24)))


def test_only_one_of_many_gets_it(tmp_path: Path) -> None:
    assert winners(tmp_path) == 1


def test_only_one_of_many_takes_over_a_stale_one(tmp_path: Path) -> None:
    written(tmp_path, pid=dead_process())
    assert winners(tmp_path) == 1
    assert [item.name for item in tmp_path.iterdir()] == [LOCK]


def test_it_names_who_has_it(tmp_path: Path) -> None:
    written(tmp_path)
    with pytest.raises(RunInUseError, match=f"by process {os.getpid()} on {platform.node()}"):
        check_unused(tmp_path)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize("change", [{"started": "1"}, {"boot": "another"}])
def test_a_number_that_another_process_has_by_now(tmp_path: Path, change: dict[str, Any]) -> None:
    written(tmp_path, **change)
    assert not is_used(tmp_path)


def test_a_process_that_is_gone(tmp_path: Path) -> None:
    written(tmp_path, pid=dead_process())
    assert not is_used(tmp_path)


@pytest.mark.skipif(not hasattr(os, "fork") or not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_process_that_has_ended_but_was_not_waited_for(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "print()"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        started = locks._started(process.pid)
        process.stdout.read()
        while locks._started(process.pid) != locks._ENDED:
            pass
        written(tmp_path, pid=process.pid, started=started)
        assert not is_used(tmp_path)


@pytest.mark.parametrize("change", [{"host": "elsewhere"}, {"namespace": "pid:[1]"}, {"pid": "x"}])
def test_of_a_process_that_cannot_be_looked_up_the_time_tells(tmp_path: Path, change: dict[str, Any]) -> None:
    path = written(tmp_path, **change)
    assert is_used(tmp_path)
    before = path.stat().st_mtime - locks._SILENCE - 1
    os.utime(path, (before, before))
    assert not is_used(tmp_path)


def test_whoever_trains_shows_that_it_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = RunLock(tmp_path)
    lock.acquire()
    os.utime(lock.path, (100, 100))
    lock.show_life()
    assert lock.path.stat().st_mtime == 100
    monkeypatch.setattr(lock, "_due", 0.0)
    lock.show_life()
    assert lock.path.stat().st_mtime > 100


def test_it_works_where_there_are_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", no_links)
    lock = RunLock(tmp_path)
    lock.acquire()
    with pytest.raises(RunInUseError):
        RunLock(tmp_path).acquire()
    lock.release()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 5000, '{"pid": -1}', "\0"])
def test_a_damaged_lock_counts_as_held_for_a_while(tmp_path: Path, text: str) -> None:
    (tmp_path / LOCK).write_text(text)
    with pytest.raises(RunInUseError, match="delete .*run.lock"):
        check_unused(tmp_path)


def trainer(out: Path, *callbacks: bm.Callback) -> bm.Trainer:
    return bm.Trainer(bm.layers.Dense(3), "cross_entropy", callbacks=callbacks, out=out)


def test_a_run_is_locked_while_it_is_trained_and_not_after(tmp_path: Path) -> None:
    seen = []
    look = At(2, lambda made: seen.append(is_used(tmp_path / "run")))
    trainer(tmp_path / "run", look).fit(labelled(), 2, 30, verbose=False)
    assert seen == [True] and not (tmp_path / "run" / LOCK).exists()
    with pytest.raises(Crash):
        trainer(tmp_path / "other", At(1, crash)).fit(labelled(), verbose=False)
    assert not (tmp_path / "other" / LOCK).exists()


def test_the_files_of_another_process_stay(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    written(tmp_path / "run")
    part = tmp_path / "run" / ".last.safetensors.0.part"
    part.write_text("being written")
    with pytest.raises(RunInUseError):
        trainer(tmp_path / "run").fit(labelled(), verbose=False)
    assert part.exists() and (tmp_path / "run" / LOCK).exists()
    assert not (tmp_path / "run" / runs.MANIFEST).exists()


def test_a_run_that_was_taken_over_stops_before_it_writes(tmp_path: Path) -> None:
    run = tmp_path / "run"
    steal = At(5, lambda made: written(run, pid=1, host="elsewhere"))
    with pytest.raises(RunInUseError, match="taken over the run by process 1 on elsewhere"):
        trainer(run, steal).fit(labelled(90), 4, 30, verbose=False)
    assert runs.epochs_done(run) == 1 and (run / LOCK).exists()
