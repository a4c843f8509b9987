"""How kernels on the CPU report failures: the code, the value found, the limit it broke, and where."""

from __future__ import annotations


def report(status, code, found, limit, position):
    """Set a status, which keeps what is reported first."""
    if status[0] == 0:
        status[1] = found
        status[2] = limit
        status[3] = position
        status[0] = code
