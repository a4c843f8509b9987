"""Numba is as it was once a kernel is compiled."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest

from bigmodel_core.errors import KernelError
from bigmodel_core.kernels.cpu.engine.native import NativeFunction


def kernel(ctx: Any, chunk: Any) -> Any:
    return ctx + chunk * 3


def wrong(ctx: Any, chunk: Any) -> Any:
    return [ctx, {chunk: 1}]


@pytest.mark.parametrize("is_enabled", [True, False])
def test_collections_and_rules_are_put_back(
    is_enabled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from numba.core.typing.npydecl import NumpyRulesArrayOperator as Rules

    monkeypatch.setenv("BIGMODEL_CACHE_DIR", str(tmp_path))
    before = Rules.generic
    try:
        if not is_enabled:
            gc.disable()
        assert NativeFunction(kernel, "intp(intp, intp)").address
        with pytest.raises(KernelError):
            _ = NativeFunction(wrong).address
        assert gc.isenabled() is is_enabled
    finally:
        gc.enable()
    assert Rules.generic is before
