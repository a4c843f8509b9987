"""Which operator set and file version suit which runtime."""

from __future__ import annotations

import re

from bigmodel_core.errors import ConfigError

OLDEST, DEFAULT, NEWEST = 13, 17, 23
"""Operator sets that can be written. The default runs in every ONNX Runtime since 1.12 (2022)."""

_RUNTIMES = {6: 13, 8: 14, 9: 15, 11: 16, 12: 17, 14: 18, 15: 19, 17: 20, 18: 21}
"""The newest operator set of ONNX Runtime 1.x, from version to version."""

_IR = {13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11}
"""The oldest file version (IR) that may hold an operator set."""


def chosen(opset: int | None, target_runtime: str | None) -> tuple[int, int]:
    """The operator set and file version to write.

    Args:
        opset: the operator set, if somebody requested one.
        target_runtime: the oldest ONNX Runtime that has to load the file, such as "1.17".

    Raises:
        ConfigError: the two contradict each other, or there is no such version.

    >>> chosen(None, None), chosen(None, "1.17"), chosen(13, None)
    ((17, 8), (20, 9), (13, 7))
    """
    if opset is not None and not OLDEST <= opset <= NEWEST:
        raise ConfigError(
            f"opset {opset} cannot be written.", where="Onnx.opset", fix=f"use {OLDEST} to {NEWEST}."
        )
    if target_runtime is None:
        found = opset or DEFAULT
        return found, _IR[found]
    limit = _newest_of(target_runtime)
    if opset is not None and opset > limit:
        raise ConfigError(
            f"ONNX Runtime {target_runtime} runs opsets up to {limit}, not {opset}.",
            where="Onnx.opset",
            fix=f"use opset {limit}, or leave it out.",
        )
    found = opset or limit
    return found, _IR[found]


def _newest_of(runtime: str) -> int:
    match = re.fullmatch(r"v?1\.(\d+)(?:\.\d+)*", runtime.strip())
    fitting = [opset for minor, opset in _RUNTIMES.items() if match and minor <= int(match[1])]
    if not fitting:
        raise ConfigError(
            f"'{runtime}' is not a supported version of ONNX Runtime.",
            where="Onnx.target_runtime",
            fix="write it as 1.17; the oldest is 1.6.",
        )
    return max(fitting)
