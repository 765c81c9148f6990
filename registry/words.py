"""How counts and sizes are said."""

from __future__ import annotations


def many(count: int, one: str) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{count:,} {one}{'' if count == 1 else 's'}"


_SIZES = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


def size(count: float) -> str:
    """Bytes that were counted, of a file, a disk or memory, in steps of 1,000: `12 B`, `3.4 kB`, `1.25 GB`.

    A bound that is a power of two is written in `KiB`, `MiB` or `GiB`, and so is what stands beside it.
    """
    rounded = float(f"{count:.3g}")
    for scale, unit in _SIZES:
        if rounded >= scale:
            number = rounded / scale
            return f"{number:,.0f} {unit}" if number >= 100 else f"{number:.3g} {unit}"
    return f"{count:.0f} B"
