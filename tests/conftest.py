"""What all tests share: settings of hypothesis, markers that skip, a neutral environment."""

from __future__ import annotations

import importlib.util
import os
import signal

import pytest
from hypothesis import settings

for name in ("BIGMODEL_PLUGINS", "BIGMODEL_DISABLE_PLUGINS"):
    os.environ.pop(name, None)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Jobs that a shell starts in the background ignore Ctrl-C, and what they start does, too; tests press it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("bigmodel", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("bigmodel")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `torch` where PyTorch is not installed."""
    if importlib.util.find_spec("torch") is None:
        for item in items:
            if item.get_closest_marker("torch"):
                item.add_marker(pytest.mark.skip(reason="PyTorch is not installed"))
