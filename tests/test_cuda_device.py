"""`device="cuda"` where it cannot work: one clear error, nothing imported before."""

from __future__ import annotations

import importlib.util
import types
from typing import Any

import pytest

import bigmodel_core as bm
from bigmodel_core.errors import DeviceError
from bigmodel_core.kernels.cuda.engine import runtime
from bigmodel_core.plan import cuda as plan
from bigmodel_core.plan import device_named
from tests.processes import run_code


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Each test finds nothing decided yet, and no simulator."""
    monkeypatch.setattr(runtime, "simulated", lambda: False)
    for cached in (runtime.numba_cuda, plan.cuda_device):
        cached.cache_clear()
    yield
    for cached in (runtime.numba_cuda, plan.cuda_device):
        cached.cache_clear()


def test_without_the_extra_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DeviceError) as caught:
        device_named("cuda")
    assert "CUDA support is not installed." in str(caught.value)
    assert "pip install 'bigmodel[cuda]'" in str(caught.value)


def fake(monkeypatch: pytest.MonkeyPatch, **members: Any) -> None:
    """A `numba.cuda` that is installed and reports what a test wants."""
    found = types.SimpleNamespace(**members)
    monkeypatch.setattr(runtime, "numba_cuda", lambda: found)
    monkeypatch.setattr(runtime.numba_cuda, "cache_clear", lambda: None, raising=False)


def test_without_a_driver_the_message_gives_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(
        monkeypatch,
        is_available=lambda: False,
        gpus=[],
        cuda_error=lambda: "driver library cannot be found:\nmore",
    )
    with pytest.raises(DeviceError) as caught:
        runtime.require_device()
    assert "there is no CUDA device here: driver library cannot be found." in str(caught.value)
    assert "nvidia-smi" in str(caught.value)


def test_a_driver_without_a_device_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, is_available=lambda: True, gpus=[], cuda_error=lambda: None)
    with pytest.raises(DeviceError, match="no driver or no device was found"):
        runtime.require_device()


def test_a_driver_that_fails_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> bool:
        raise RuntimeError("CUDA_ERROR_SYSTEM_NOT_READY")

    fake(monkeypatch, is_available=fail)
    with pytest.raises(DeviceError, match="CUDA_ERROR_SYSTEM_NOT_READY"):
        runtime.require_device()


def test_a_model_built_for_cuda_says_the_same() -> None:
    if importlib.util.find_spec("numba_cuda") is not None:
        pytest.skip("CUDA support is installed here")
    with pytest.raises(DeviceError, match="CUDA support is not installed"):
        bm.Sequential(bm.layers.Dense(3)).build(bm.Spec(("N", 4)), device="cuda")


def test_unknown_devices_are_named() -> None:
    with pytest.raises(DeviceError, match="there is no device 'tpu'"):
        device_named("tpu")


def test_declaring_kernels_imports_no_numba() -> None:
    """Importing ops and their CUDA kernels loads no Numba."""
    code = (
        "import sys, bigmodel_core.ops, bigmodel_core.plan, bigmodel_core.kernels.cuda.engine.kernels as k;"
        "k.cuda_kernel(lambda out, thread, threads: None);"
        "print([m for m in sys.modules if m.split('.')[0] in ('numba', 'numba_cuda', 'llvmlite')])"
    )
    assert run_code(code).stdout.strip() == "[]"
