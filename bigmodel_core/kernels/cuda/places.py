"""Where a number is in an array, for kernels whose threads take one number each; divisions are by sizes."""

from __future__ import annotations


def on_line(element, shape):
    """In an array (blocks, rows, width)."""
    rest = element // shape[2]
    return rest // shape[1], rest % shape[1], element % shape[2]


def pixel(element, shape):
    """In an array of planes (planes, rows, columns, together)."""
    rest = element // shape[3]
    plane, row, column = on_line(rest, (shape[0], shape[1], shape[2]))
    return plane, row, column, element % shape[3]


def voxel(element, shape):
    """In an array of planes with slices (planes, slices, rows, columns, together)."""
    slices, row, column, together = pixel(element, shape[1:])
    return slices // shape[1], slices % shape[1], row, column, together
