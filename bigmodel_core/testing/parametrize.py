"""Checks as parameters of a pytest function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bigmodel_core.testing.catalogue import checks_for
from bigmodel_core.testing.checks import Check, Inputs


def parametrize_checks(
    *subjects: Any, inputs: Inputs | None = None, reference: Callable[..., Any] | None = None
) -> Any:
    """A decorator that gives a pytest function the argument `check`, one id for each check of each subject.

    ```python
    @parametrize_checks(Swish(1.5), inputs=[(4, 7)], reference=lambda x: x / (1 + np.exp(-1.5 * x)))
    def test_conformance(check):
        check()
    ```

    Args:
        subjects: layers, ops, losses, optimizers and so on, or classes of them.
        inputs: see `checks_for`.
        reference: see `checks_for`.

    Raises:
        UsageError: there is nothing to check.
    """
    import pytest

    from bigmodel_core.errors import UsageError

    checks: list[Check] = []
    for subject in subjects:
        checks += checks_for(subject, inputs, reference)
    if not checks:
        raise UsageError("there is nothing to check.", fix="pass at least one layer, loss or optimizer.")
    return pytest.mark.parametrize("check", checks, ids=[f"{c.subject}-{c.name}" for c in checks])
