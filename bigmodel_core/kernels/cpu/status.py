"""How kernels on the CPU report failures: the code, the value found, the limit it broke, and where."""

from __future__ import annotations

from bigmodel_core.kernels.status import CODE, FOUND, LIMIT, OK, POSITION


def report(status, code, found, limit, position):
    """Set a status, which keeps what is reported first."""
    if status[CODE] == OK:
        status[FOUND] = found
        status[LIMIT] = limit
        status[POSITION] = position
        status[CODE] = code
