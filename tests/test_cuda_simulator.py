"""Starts the tests of `tests/cuda` in Numba's simulator, which needs a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bigmodel_core.errors import DeviceError
from bigmodel_core.kernels.cuda.runtime import require_device

FOLDER = Path(__file__).parent / "cuda"


@pytest.mark.slow
def test_the_simulator_suite_passes() -> None:
    """Every op, training, failures, kernels of one's own on a simulated device; Numba alone is enough."""
    command = [sys.executable, "-m", "pytest", str(FOLDER), "-q", "-p", "no:cacheprovider"]
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    environment.pop("PYTEST_ADDOPTS", None)
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=600, cwd=FOLDER.parent.parent
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed and int(passed[1]) > 90, done.stdout[-2000:]
    assert "skipped" not in done.stdout


def _has_device() -> bool:
    try:
        require_device()
    except DeviceError:
        return False
    return True


@pytest.mark.skipif(_has_device(), reason="there is a device, on which these tests run")
def test_collection_without_device_or_simulator_finds_nothing() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_ENABLE_CUDASIM"}
    command = [sys.executable, "-m", "pytest", str(FOLDER), "-q", "-p", "no:cacheprovider", "--collect-only"]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, cwd=FOLDER.parent.parent
    )
    assert done.returncode == 5, done.stdout  # no tests collected
