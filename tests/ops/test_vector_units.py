"""Narrower vector units than the host's: the tests of images and recurrence again, under each of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bigmodel_core.kernels.cpu.target import UNITS, vector_unit

FOLDER = Path(__file__).parent
FILES = (
    "test_images.py",
    "test_image_gradients.py",
    "test_transposed_convolution.py",
    "test_winograd.py",
    "test_recurrent.py",
)


def runs_here(name: str) -> bool:
    """Whether the host has the registers of a unit, all or as halves of its own."""
    host = vector_unit()
    if name == "generic":
        return host.name != "generic"
    return name == "avx2" and host.name == "avx512"


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in UNITS if name in ("avx2", "generic")])
def test_a_narrower_unit_passes_the_same_tests(name: str, tmp_path: Path) -> None:
    if not runs_here(name):
        pytest.skip(f"the host's own unit is {vector_unit().name}")
    report = tmp_path / "outcome"
    command = [
        *(
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            "-m",
            "not torch",
        ),
        *("-k", "not narrower", "--rootdir", str(FOLDER.parents[1]), f"--basetemp={report}"),
        *(str(FOLDER / file) for file in FILES),
    ]
    done = subprocess.run(
        command,
        cwd=FOLDER.parents[1],
        env={**os.environ, "BIGMODEL_VECTOR_UNIT": name, "HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    assert " passed" in done.stdout
