"""How kernels report failures: the code, the limit that was broken, and the first position where it was."""

from __future__ import annotations

import math

from numba import cuda

from bigmodel_core.kernels import status as codes
from bigmodel_core.kernels.array import Call
from bigmodel_core.kernels.cuda.array import wrapper
from bigmodel_core.kernels.cuda.launch import LAST, Launch, flat, over_items

NOT_FINITE = codes.NOT_FINITE


def report(status, code, limit, position):  # type: ignore[no-untyped-def]
    """Set a status; of all threads that report, the one with the lowest position counts.

    The fourth integer becomes `LAST - position`; the plan turns it round and reads the value found.
    """
    cuda.atomic.max(status, 3, LAST - position)
    status[2] = limit
    status[0] = code


def check_finite(call: Call) -> list[Launch]:
    """Reports numbers that are NaN or infinite."""
    x = call.inputs[0]
    count = math.prod(x.sizes)
    arguments = [
        flat(call.output_buffers[0], 1, "int64"),
        flat(call.input_buffers[0], count, x.dtype),
        call.status(),
    ]
    return [over_items(wrapper(check_numbers, 2, ("thread", "threads", "status")), arguments, max(count, 1))]


def check_numbers(out, x, thread, threads, status):  # type: ignore[no-untyped-def]
    """out (1,), x (all,)."""
    if thread == 0:
        out[0] = 0
    for i in range(thread, x.shape[0], threads):
        if x[i] - x[i] != 0:  # NaN where x is NaN or infinite
            status[0] = NOT_FINITE
