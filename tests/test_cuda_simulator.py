"""Starts the tests of `tests/cuda` in Numba's simulator, which needs a process of its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bigmodel_core.errors import DeviceError
from bigmodel_core.kernels.cuda.engine.runtime import require_device
from tests.processes import run_pytest

FOLDER = Path(__file__).parent / "cuda"


@pytest.mark.slow
def test_the_simulator_suite_passes() -> None:
    """Every op, training, failures, kernels of one's own on a simulated device; Numba alone is enough."""
    done = run_pytest(
        FOLDER, cwd=FOLDER.parents[1], timeout=600, NUMBA_ENABLE_CUDASIM="1", PYTEST_ADDOPTS=None
    )
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
    none_collected = 5
    run_pytest(
        FOLDER, "--collect-only", cwd=FOLDER.parents[1], ends=none_collected, NUMBA_ENABLE_CUDASIM=None
    )
