"""What the host's processor offers: vector width and registers, which shape the generated micro-kernels."""

from __future__ import annotations

import functools
import os
import platform
from dataclasses import dataclass

from bigmodel_core.errors import ConfigError
from bigmodel_core.graph.dtypes import SIZES


@dataclass(frozen=True)
class VectorUnit:
    """A processor's vector registers.

    Args:
        name: "avx512", "avx2", "neon" or "generic".
        bits: width of a register.
        registers: how many there are.
    """

    name: str
    bits: int
    registers: int

    def lanes(self, dtype: str) -> int:
        """How many numbers of a dtype one register holds."""
        return self.bits // (8 * SIZES[dtype])


UNITS = {
    "avx512": VectorUnit("avx512", 512, 32),
    "avx2": VectorUnit("avx2", 256, 16),
    "neon": VectorUnit("neon", 128, 32),
    "generic": VectorUnit("generic", 128, 16),
}


@functools.cache
def features() -> dict[str, bool]:
    """The processor features that LLVM sees."""
    from llvmlite import binding

    return dict(binding.get_host_cpu_features())


@functools.cache
def vector_unit() -> VectorUnit:
    """The widest vector unit of the host, or the narrower one that `BIGMODEL_VECTOR_UNIT` names.

    Raises:
        ConfigError: `BIGMODEL_VECTOR_UNIT` names no known unit.
    """
    forced = os.environ.get("BIGMODEL_VECTOR_UNIT")
    if forced:
        if forced not in UNITS:
            raise ConfigError(f"BIGMODEL_VECTOR_UNIT is '{forced}'.", fix=f"use one of {', '.join(UNITS)}.")
        return UNITS[forced]
    if platform.machine().lower() in ("arm64", "aarch64"):
        return UNITS["neon"]
    found = features()
    if found.get("avx512f") and found.get("avx512vl") and found.get("avx512dq"):
        return UNITS["avx512"]
    if found.get("avx2") and found.get("fma"):
        return UNITS["avx2"]
    return UNITS["generic"]


@functools.cache
def description() -> str:
    """The processor as text: what compiled code depends on."""
    from llvmlite import binding

    enabled = ",".join(sorted(name for name, on in features().items() if on))
    return f"{binding.get_host_cpu_name()} {enabled} {vector_unit().name}"
