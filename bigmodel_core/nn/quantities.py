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


def duration(seconds: float) -> str:
    """A time in words.

    >>> duration(7.4e-6), duration(0.0123), duration(75), duration(7384)
    ('7.4 µs', '12.3 ms', '1 min 15 s', '2 h 3 min')
    """
    if not seconds < 1e12:
        return f"{seconds:g} s"
    if seconds < 60:
        unit, factor = ("µs", 1e6) if seconds < 1e-3 else ("ms", 1e3) if seconds < 1 else ("s", 1)
        return f"{seconds * factor:.3g} {unit}"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
