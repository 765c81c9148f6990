"""Whether a worker has a job: its lease ends later than now, and no later than a lease may."""

from __future__ import annotations

from typing import Any

from registry.training.rows import TrainingJobRow

MOST_LEASE_S = 3_600
"""That a worker asks for."""
SKEW_S = 60
"""By which the clocks of two machines may differ."""
FURTHEST_MS = (MOST_LEASE_S + SKEW_S) * 1000
"""A lease that ends later than so long from now was given by a clock that has been put back since: it is over, as else
nobody could have the job before that clock's time has come again.
"""


def held(lease_until_ms: Any, at_ms: int) -> Any:
    """Of a row's column in a query, and of its value."""
    return (lease_until_ms > at_ms) & (lease_until_ms <= at_ms + FURTHEST_MS)


def free(at_ms: int) -> Any:
    """In a query: nobody has the job then."""
    return ~held(TrainingJobRow.lease_until_ms, at_ms)
