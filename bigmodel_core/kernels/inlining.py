"""Helper functions of kernels that become part of what calls them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def inline(*functions: Callable[..., Any]) -> None:
    """Let kernels hold these functions themselves: a loop with a call in it is no vector code, and LLVM
    leaves long ones as calls."""
    for function in functions:
        function.__dict__["is_inlined"] = True
