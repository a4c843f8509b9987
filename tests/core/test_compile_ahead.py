"""Kernels compiled by copies of the process: the same results, nothing left behind, none where unsafe."""

from __future__ import annotations

import json
import os
import sys
import types
from pathlib import Path

import pytest

from bigmodel_core.errors import KernelError
from bigmodel_core.kernels.cpu.engine.compile_ahead import compile_ahead
from bigmodel_core.kernels.cpu.engine.fingerprint import code_length
from bigmodel_core.kernels.cpu.engine.native import NativeFunction
from tests.processes import run_code

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="copies are made on Linux only")

TRAIN = """
import json, os, sys, threading
import numpy as np
import bigmodel_core as bm
from bigmodel_core.kernels import cache

bm.set_num_threads(2)
forks, fork = [], os.fork
os.fork = lambda: forks.append(fork()) or forks[-1]
if "thread" in sys.argv:
    threading.Thread(target=threading.Event().wait, daemon=True).start()
model = bm.Sequential(bm.layers.Dense(9), bm.layers.Tanh(), bm.layers.Dense(3))
step = bm.compile(model, loss="mean_squared_error", optimizer=bm.optimizers.SGD(0.01))
x = np.linspace(-1, 1, 60, dtype="float32").reshape(10, 6)
losses = [step(x, np.ones((10, 3), "float32")) for _ in range(3)]
try:
    os.waitpid(-1, os.WNOHANG)
    left = True
except ChildProcessError:
    left = False
facts = {"losses": losses, "forks": len(forks), "left": left, "compiled": len(cache.compilations)}
print(json.dumps({**facts, "files": cache.statistics()["files"]}))
"""


def train(folder: Path, *arguments: str) -> dict[str, object]:
    done = run_code(TRAIN, *arguments, BIGMODEL_CACHE_DIR=str(folder))
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_copies_share_the_work_and_are_gone_afterwards(tmp_path: Path) -> None:
    shared, again = train(tmp_path / "shared"), train(tmp_path / "shared")
    assert shared["forks"] == 1 and not shared["left"]
    assert shared["compiled"] == shared["files"] and int(str(shared["files"])) > 6
    assert again["forks"] == again["compiled"] == 0
    alone = train(tmp_path / "alone", "thread")
    assert alone["forks"] == 0, "a thread may hold a lock that a copy would wait for"
    assert alone["files"] == shared["files"]
    assert alone["losses"] == shared["losses"] == again["losses"]


def _broken(number: int) -> NativeFunction:
    def broken_kernel(ctx, chunk):
        return [ctx, {chunk: number}]

    return NativeFunction(broken_kernel)


def test_a_kernel_that_does_not_compile_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIGMODEL_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("bigmodel_core.kernels.cpu.engine.compile_ahead._can_fork", lambda: True)
    monkeypatch.setattr("bigmodel_core.kernels.cpu.engine.compile_ahead.num_threads", lambda: 2)
    forks, fork = [], os.fork
    monkeypatch.setattr(os, "fork", lambda: forks.append(fork()) or forks[-1])
    kernels = [_broken(number) for number in range(8)]
    with pytest.raises(KernelError, match="broken_kernel"):
        compile_ahead(kernels)
    assert len(forks) == 1
    with pytest.raises(ChildProcessError):
        os.waitpid(forks[0], os.WNOHANG)
    with pytest.raises(KernelError, match="broken_kernel"):
        _ = kernels[-1].address


def _short(ctx, chunk):
    return ctx + chunk


def _long(ctx, chunk):
    return _short(ctx, chunk) * _short(chunk, ctx) + _short(ctx, 1)


def test_the_code_of_a_kernel_counts_once_each_function_that_it_calls() -> None:
    def recursive(n):
        return recursive(n - 1) if n else 0

    own = len(_long.__code__.co_code)
    assert code_length(_long) == own + code_length(_short) > own
    assert code_length(recursive) == len(recursive.__code__.co_code)


def test_the_kernels_with_the_most_code_are_compiled_first(monkeypatch: pytest.MonkeyPatch) -> None:
    places = "bigmodel_core.kernels.cpu.engine.compile_ahead"
    order: list[str] = []
    monkeypatch.setattr(f"{places}._can_fork", lambda: True)
    monkeypatch.setattr(f"{places}.num_threads", lambda: 2)
    monkeypatch.setattr(f"{places}._fork", lambda: 1)  # a copy that takes nothing
    monkeypatch.setattr(f"{places}._wait_for", lambda children, patience: None)
    monkeypatch.setattr(f"{places}.compile_native", lambda kernel: order.append(kernel.name))
    short, long = (types.FunctionType(f.__code__, globals(), f.__name__) for f in (_short, _long))
    kernels = [NativeFunction(f) for f in (short, short, short, short, long, short, short, short)]
    monkeypatch.setattr(NativeFunction, "is_ready", property(lambda self: False))
    compile_ahead(kernels)
    assert order == ["_long", *["_short"] * 7]
