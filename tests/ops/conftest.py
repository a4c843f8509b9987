"""What the tests of convolutions share: a look at which of their ways was taken."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> Callable[[ModuleType], list[bool]]:
    """A list of what a module of kernels answers from now on, asked whether a convolution fits it."""

    def note(kernels: ModuleType) -> list[bool]:
        answers: list[bool] = []
        fits = kernels.fits

        def noting(geometry: Any, **more: Any) -> bool:
            answers.append(fits(geometry, **more))
            return answers[-1]

        monkeypatch.setattr(kernels, "fits", noting)
        return answers

    return note
