"""The closing line of continuous integration counts each test once, over both runs of pytest."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import WITHOUT_TORCH

FIRST = f"""\
SKIPPED [200] tests/ops/test_images.py: {WITHOUT_TORCH}
SKIPPED [1] tests/onnx/test_against_torch.py:19: {WITHOUT_TORCH}
SKIPPED [9] tests/test_cuda_device.py:20: no CUDA device
================= 2 failed, 5851 passed, 210 skipped, 1 warning in 480.12s (0:08:00) =================
"""
SECOND = "=========== 1 failed, 240 passed, 5 skipped, 1 warning, 2 errors in 60.03s (0:01:00) ===========\n"


@pytest.fixture(scope="module")
def ci() -> Any:
    path = Path(__file__).parents[1] / ".ci" / "closing_line.py"
    spec = importlib.util.spec_from_file_location("closing_line", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_one_run_closes_as_pytest_wrote_it(ci: Any) -> None:
    assert ci.closing_line([FIRST]) == FIRST.splitlines()[-1]
    assert ci.closing_line([FIRST, "Traceback: no closing line\n"]) == FIRST.splitlines()[-1]


def test_of_two_runs_each_test_is_counted_once(ci: Any) -> None:
    expected = "3 failed, 6091 passed, 14 skipped, 2 warnings, 2 errors in 540.15s (2 runs)"
    assert ci.closing_line([FIRST, SECOND]).strip("= ") == expected


def test_without_any_run_there_is_no_line(ci: Any) -> None:
    assert ci.closing_line(["", "pip failed\n"]) == ""
