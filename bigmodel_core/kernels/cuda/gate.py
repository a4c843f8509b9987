"""The gate of a plan on a CUDA device: are all numbers of some arrays finite?

Magnitudes are compared as integers, the bits of floats without their sign.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from bigmodel_core.graph.dtypes import DTYPES
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cuda.engine.kernels import cuda_launches
from bigmodel_core.kernels.cuda.engine.launch import CudaLaunch, flat, over_items
from bigmodel_core.kernels.cuda.engine.runtime import cuda
from bigmodel_core.kernels.status import CODE, NOT_FINITE, UNPROVEN

ARRAYS = (16, 4, 1)
"""How many arrays a launch looks at: few kernels serve any number of them."""


@cuda_launches
def gate(call: Call) -> list[CudaLaunch]:
    """Reports numbers that are NaN, infinite or too large, of as many arrays in a launch as there are."""
    found = []
    status = call.status()
    for name in dict.fromkeys(spec.dtype for spec in call.inputs):
        dtype = DTYPES[name]
        bits = np.dtype(dtype.bits).type
        arrays = [
            flat(buffer, count, dtype.bits)
            for buffer, spec in zip(call.input_buffers, call.inputs, strict=True)
            if spec.dtype == name and (count := int(np.prod(spec.sizes, dtype=np.int64)))
        ]
        infinite = bits(dtype.infinite)
        limit = min(infinite, np.array(call.op.limit(name), dtype.numpy).view(bits)[()])
        while arrays:
            count = next(size for size in ARRAYS if size <= len(arrays))
            taken, arrays = arrays[:count], arrays[count:]
            arguments = [*taken, limit, infinite, status]
            items = max(view.size for view in taken)
            found.append(over_items(check_magnitudes(name, count), arguments, items))
    return found


@functools.cache
def check_magnitudes(dtype: str, count: int) -> Any:
    """The kernel for a number of arrays, the bits of floats: their magnitudes must be below a limit."""
    names = [f"x{number}" for number in range(count)]
    lines = [
        f"def check_magnitudes({', '.join(names)}, limit, infinite, status):",
        "    thread, threads = cuda.grid(1), cuda.gridsize(1)",
        "    code = 0",
    ]
    for name in names:
        lines += [
            f"    for i in range(thread, {name}.shape[0], threads):",
            f"        if {name}[i] & MASK >= limit:",
            f"            code = max(code, NOT_FINITE if {name}[i] & MASK >= infinite else UNPROVEN)",
        ]
    lines += ["    if code != 0:", "        cuda.atomic.max(status, CODE, code)"]
    bits = np.dtype(DTYPES[dtype].bits).type
    scope: dict[str, Any] = {
        "cuda": cuda,
        "MASK": bits(DTYPES[dtype].magnitude),
        "CODE": CODE,
        "NOT_FINITE": NOT_FINITE,
        "UNPROVEN": UNPROVEN,
    }
    exec(compile("\n".join(lines), "<CUDA kernel check_magnitudes>", "exec"), scope)
    return scope["check_magnitudes"]
