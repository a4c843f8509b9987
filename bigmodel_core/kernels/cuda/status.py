"""How kernels report failures: the code, the limit that was broken, and the first position where it was."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import cuda

from bigmodel_core.kernels import status as codes
from bigmodel_core.kernels.array import Call
from bigmodel_core.kernels.cpu.memory import BITS, INFINITE, MAGNITUDE
from bigmodel_core.kernels.cuda.launch import LAST, Launch, flat, over_items


def report(status, code, limit, position):
    """Set a status; of all threads that report, the one with the lowest position counts.

    The fourth integer becomes `LAST - position`; the plan turns it round and reads the value found.
    """
    cuda.atomic.max(status, 3, LAST - position)
    status[2] = limit
    status[0] = code


def gate(call: Call) -> list[Launch]:
    """Reports numbers that are NaN, infinite or too large, of as many arrays in a launch as there are."""
    found = []
    status = call.status()
    for dtype in BITS:
        arrays = [
            flat(buffer, count, BITS[dtype])
            for buffer, spec in zip(call.input_buffers, call.inputs, strict=True)
            if spec.dtype == dtype and (count := int(np.prod(spec.sizes, dtype=np.int64)))
        ]
        infinite = np.dtype(BITS[dtype]).type(INFINITE[dtype])
        limit = min(infinite, np.array(call.op.limit(dtype), dtype).view(BITS[dtype])[()])
        while arrays:
            count = next(size for size in ARRAYS if size <= len(arrays))
            taken, arrays = arrays[:count], arrays[count:]
            arguments = [*taken, limit, infinite, status]
            items = max(view.size for view in taken)
            found.append(over_items(check_magnitudes(dtype, count), arguments, items))
    return found


ARRAYS = (16, 4, 1)
"""How many arrays a launch looks at: few kernels serve any number of them."""


@functools.cache
def check_magnitudes(dtype: str, count: int) -> Any:
    """The kernel on so many arrays, the bits of floats: their magnitudes have to be below a limit."""
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
    lines += ["    if code != 0:", "        cuda.atomic.max(status, 0, code)"]
    kind = np.dtype(BITS[dtype]).type
    scope: dict[str, Any] = {
        "cuda": cuda,
        "MASK": kind(MAGNITUDE[dtype]),
        "NOT_FINITE": codes.NOT_FINITE,
        "UNPROVEN": codes.UNPROVEN,
    }
    exec(compile("\n".join(lines), "<CUDA kernel check_magnitudes>", "exec"), scope)
    return scope["check_magnitudes"]
