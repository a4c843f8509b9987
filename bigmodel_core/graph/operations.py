"""The functions behind the operators of Values: the one thing that graphs need of what stands on them."""

from __future__ import annotations

import importlib
from typing import Any


def operations() -> Any:
    """The functions of `bigmodel_core.ops`, imported when the first operator is applied: ops are made of
    Values, and `a + b` on Values is an op."""
    return importlib.import_module("bigmodel_core.ops")
