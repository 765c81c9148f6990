"""A series of numbers as one line of characters."""

from __future__ import annotations

from collections.abc import Sequence

BARS = "▁▂▃▄▅▆▇█"
GAP = " "


def spark(values: Sequence[float | None], most: int = 60) -> str:
    """At most `most` characters, each as high as the largest of its part is beside the largest of all; a gap where
    nothing is known. All zeros are a flat line.
    """
    parts = _parts(values, most)
    highest = max((value for value in parts if value is not None), default=0.0)
    return "".join(GAP if value is None else _bar(value, highest) for value in parts)


def _parts(values: Sequence[float | None], most: int) -> list[float | None]:
    size = -(-len(values) // most) or 1
    chunks = [values[at : at + size] for at in range(0, len(values), size)]
    return [max((value for value in chunk if value is not None), default=None) for chunk in chunks]


def _bar(value: float, highest: float) -> str:
    if highest <= 0:
        return BARS[0]
    return BARS[min(len(BARS) - 1, int(value / highest * len(BARS)))]
