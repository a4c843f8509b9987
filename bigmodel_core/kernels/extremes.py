"""The larger and the smaller of two numbers, for kernels of all devices: NaN if one of them is.

On the CPU they become instructions, with which the loop over a row's largest number becomes vector code.
"""

from __future__ import annotations


def larger(a, b):
    """The larger of two numbers."""
    return a if a > b or a != a else b


def smaller(a, b):
    """The smaller of two numbers."""
    return a if a < b or a != a else b
