"""Prometheus' text format of samples by the name of their family."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from gateway.metrics.families import FAMILIES, Family

Samples = Mapping[str, Sequence[Sequence[Any]]]
"""Family → `[labels, value]` each; of a histogram `[labels, counts by bucket, sum of seconds]`."""
ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


def exposition(samples: Samples) -> str:
    """All families that have samples, in the order of the table; those that it does not have are left out."""
    return "".join(
        f"{line}\n" for family in FAMILIES if (found := samples.get(family.name)) for line in _lines(family, found)
    )


def _lines(family: Family, samples: Sequence[Sequence[Any]]) -> Iterator[str]:
    yield f"# HELP {family.name} {family.text}"
    yield f"# TYPE {family.name} {family.kind}"
    for sample in samples:
        labels = _labels(family.labels, sample[0])
        if family.kind == "histogram":
            yield from _histogram(family, labels, sample[1], sample[2])
        else:
            yield f"{family.name}{_braced(labels)} {_number(sample[1])}"


def _histogram(family: Family, labels: str, counts: Sequence[float], total_s: float) -> Iterator[str]:
    up_to = list(accumulate(counts))
    for bound, count in zip((*family.buckets, "+Inf"), up_to, strict=True):
        within = f'le="{bound}"'
        yield f"{family.name}_bucket{_braced(labels, within)} {_number(count)}"
    yield f"{family.name}_sum{_braced(labels)} {_number(total_s)}"
    yield f"{family.name}_count{_braced(labels)} {_number(up_to[-1])}"


def _labels(names: Sequence[str], values: Sequence[object]) -> str:
    return ",".join(f'{name}="{str(value).translate(ESCAPES)}"' for name, value in zip(names, values, strict=True))


def _braced(*labels: str) -> str:
    inner = ",".join(one for one in labels if one)
    return f"{{{inner}}}" if inner else ""


def _number(value: float) -> str:
    return repr(float(value))
