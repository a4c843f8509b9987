"""What all tests share: settings of hypothesis, markers that skip, a neutral environment."""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
from typing import Any

import pytest
from hypothesis import settings

for name in ("BIGMODEL_PLUGINS", "BIGMODEL_DISABLE_PLUGINS"):
    os.environ.pop(name, None)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Jobs that a shell starts in the background ignore Ctrl-C, and what they start does, too; tests press it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("bigmodel", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("bigmodel")


WITHOUT_TORCH = "PyTorch is not installed"
"""Why tests that compare with PyTorch are skipped; `.ci/run` counts them by it."""


@pytest.fixture(scope="session")
def torch() -> Any:
    """PyTorch, the oracle; a test that takes it is marked `torch`."""
    return importlib.import_module("torch")


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that take PyTorch, and skip those marked `torch` where it is not installed.

    Raises:
        pytest.UsageError: A test is named after an address, which differs between pytest-xdist's processes.
    """
    is_missing = importlib.util.find_spec("torch") is None
    for item in items:
        if " at 0x" in item.nodeid:
            raise pytest.UsageError(f"{item.nodeid}: give its parameters `ids` without addresses")
        if "torch" in getattr(item, "fixturenames", ()):
            item.add_marker("torch")
        if is_missing and item.get_closest_marker("torch"):
            item.add_marker(pytest.mark.skip(reason=WITHOUT_TORCH))
