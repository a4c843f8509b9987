"""Taps of a filter or a window, and pixels that meet along an axis: plain functions for all devices."""

from __future__ import annotations

import math


def period(stride: int, dilation: int) -> int:
    """The distance between taps that meet the same pixels of a strided grid."""
    return stride // math.gcd(stride, dilation)


def first_inside(start, gap):
    """How many steps of `gap` from `start` lead to 0 or more."""
    return (gap - 1 - start) // gap if start < 0 else 0


def steps_inside(start, gap, size):
    """How many steps of `gap` from `start` stay below `size`, the start included."""
    return (size - 1 - start) // gap + 1 if start < size else 0


def inside(number, step, window, padding, length):
    """Where a window begins along an axis, and which of its pixels, from and to, are in the image."""
    begin = number * step - padding
    return begin, max(0, -begin), min(window, length - begin)


def meeting(place, taps, step, gap, period, length):
    """The first tap that meets an output from a pixel, how many do, and that output.

    From one such tap to the next, `period` taps on, the output is `period * gap // step` before.
    """
    tap = 0
    while tap < period and (place - tap * gap) % step != 0:
        tap += 1
    output = (place - tap * gap) // step
    back = period * gap // step
    if output >= length:
        skipped = (output - length) // back + 1
        tap += skipped * period
        output -= skipped * back
    count = 0
    if tap < taps and output >= 0 and (place - tap * gap) % step == 0:
        count = min((taps - 1 - tap) // period, output // back) + 1
    return tap, count, output
