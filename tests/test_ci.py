"""The closing line of continuous integration counts each test once, over both runs of pytest."""

from __future__ import annotations

import runpy
from pathlib import Path

from tests.conftest import WITHOUT_TORCH

FIRST = f"""\
SKIPPED [200] tests/ops/test_images.py: {WITHOUT_TORCH}
SKIPPED [1] tests/onnx/test_against_torch.py:19: {WITHOUT_TORCH}
SKIPPED [9] tests/test_cuda_device.py:20: no CUDA device
================= 2 failed, 5851 passed, 210 skipped, 1 warning in 480.12s (0:08:00) =================
"""
SECOND = "=========== 1 failed, 240 passed, 5 skipped, 1 warning, 2 errors in 60.03s (0:01:00) ===========\n"


closing_line = runpy.run_path(str(Path(__file__).parents[1] / ".ci" / "closing_line.py"))["closing_line"]


def test_one_run_closes_as_pytest_wrote_it() -> None:
    assert closing_line([FIRST]) == FIRST.splitlines()[-1]
    assert closing_line([FIRST, "Traceback: no closing line\n"]) == FIRST.splitlines()[-1]


def test_of_two_runs_each_test_is_counted_once() -> None:
    expected = "3 failed, 6091 passed, 14 skipped, 2 warnings, 2 errors in 540.15s (2 runs)"
    assert closing_line([FIRST, SECOND]).strip("= ") == expected


def test_without_any_run_there_is_no_line() -> None:
    assert closing_line(["", "pip failed\n"]) == ""
