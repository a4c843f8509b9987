"""A narrower vector unit than the host's: the tests of images and recurrence again, under that."""

from __future__ import annotations

from pathlib import Path

import pytest

from bigmodel_core.kernels.cpu.engine.target import vector_unit
from tests.processes import run_pytest

FOLDER = Path(__file__).parent
FILES = (
    "test_attention.py",
    "test_images.py",
    "test_image_gradients.py",
    "test_transposed_convolution.py",
    "test_winograd.py",
    "test_few_filters.py",
    "test_recurrent.py",
)
ELSEWHERE = (
    *("narrower", "float64", "dropout", "dropped", "second", "plain", "of_a_bias", "share_steps"),
    *("norm", "moments", "sequences", "borders", "error", "wrong", "does_not_fit"),
    *("max_pool", "average", "adaptive", "global", "upsample", "dimensional", "convolutions_equal_finite"),
)
"""Tests of what the width of a vector changes nothing of, and finite differences of what NumPy checks, too:
each would compile its kernels once more."""


@pytest.mark.slow
def test_a_narrower_unit_passes_the_same_tests(tmp_path: Path) -> None:
    """On AVX-512 that of AVX2, with half the lanes and half the registers; elsewhere the generic one."""
    host = vector_unit().name
    if host == "generic":
        pytest.skip("there is no narrower unit")
    name = "avx2" if host == "avx512" else "generic"
    report = tmp_path / "outcome"
    done = run_pytest(
        *("-p", "no:xdist", "-m", "not torch", "-k", f"not ({' or '.join(ELSEWHERE)})"),
        *("--rootdir", FOLDER.parents[1], f"--basetemp={report}"),
        *(FOLDER / file for file in FILES),
        cwd=FOLDER.parents[1],
        timeout=900,
        BIGMODEL_VECTOR_UNIT=name,
        HYPOTHESIS_STORAGE_DIRECTORY=str(tmp_path),
    )
    assert " passed" in done.stdout
