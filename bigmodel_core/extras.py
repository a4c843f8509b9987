"""Packages that only some features need: imported when they are used, never with the core."""

from __future__ import annotations

import importlib
from typing import Any

from bigmodel_core.errors import MissingPackageError


def optional(module: str, extra: str | None, purpose: str) -> Any:
    """A module of a package that may be missing.

    Args:
        module: its name, as in "matplotlib.pyplot".
        extra: the extra of bigmodel that brings the package; None if bigmodel itself requires it.
        purpose: what it is for, as the beginning of a sentence: "plots".

    Raises:
        MissingPackageError: the package is not installed; the message says how to install it.

    >>> optional("json", "plot", "plots").dumps([1])
    '[1]'
    >>> optional("no_such_package", "plot", "plots")
    Traceback (most recent call last):
    bigmodel_core.errors.MissingPackageError: plots need the package no_such_package, which is not installed.
      Fix: pip install "bigmodel[plot]"
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name != package:
            raise  # the package is there, and is broken itself
        raise MissingPackageError(
            f"{purpose} need the package {package}, which is not installed.",
            fix=f'pip install "bigmodel[{extra}]"' if extra else f"pip install {package}",
        ) from None
