"""How kernels report failures: the code, the limit that was broken, and the first position if it was."""

from __future__ import annotations

from bigmodel_core.kernels.cuda.engine.launch import LAST
from bigmodel_core.kernels.cuda.engine.runtime import cuda
from bigmodel_core.kernels.status import CODE, LIMIT, POSITION


def report(status, code, limit, position):
    """Set a status; of all threads that report, the one with the lowest position counts.

    The fourth integer becomes `LAST - position`; the plan turns it round and reads the value found.
    """
    cuda.atomic.max(status, POSITION, LAST - position)
    status[LIMIT] = limit
    status[CODE] = code
