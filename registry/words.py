"""How counts are said."""

from __future__ import annotations


def many(count: int, one: str) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{count:,} {one}{'' if count == 1 else 's'}"
