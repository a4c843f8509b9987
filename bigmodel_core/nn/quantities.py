"""Numbers as people read them."""

from __future__ import annotations


def count(number: int | None) -> str:
    """A whole number as people read it.

    >>> count(1234567)
    '1,234,567'
    """
    return "" if number is None else f"{number:,}"


def size(nbytes: float | None) -> str:
    """A number of bytes as people read it.

    >>> size(512), size(53_300), size(2.5e9)
    ('512 bytes', '53.3 kB', '2.5 GB')
    """
    if nbytes is None:
        return ""
    if nbytes < 1000:
        return f"{nbytes:.0f} bytes"
    for unit in ("kB", "MB"):
        nbytes /= 1000
        if nbytes < 1000:
            return f"{nbytes:.1f} {unit}"
    return f"{nbytes / 1000:.1f} GB"
