"""Which adapter makes room for a load. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

RECENT_S = 300.0
"""What was used no longer ago is its tenant's need; what has rested for longer goes first, whosever it is."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What is known of versions, by id."""

    kept: Callable[[], Collection[int]] = tuple
    """Those that must not make room for others."""
    spare: Callable[[], Collection[int]] = tuple
    """Those that do so first, as they get nothing but copies of requests."""
    tenant_of: Callable[[int], str] = lambda _version_id: ""
    tenants: Callable[[], int] = lambda: 0
    """Number of those that have adapters."""


def first_to_go(
    idle_s: Mapping[int, float], resident: Collection[int], tenant: str, claims: Claims, left: Collection[int] = ()
) -> int | None:
    """Of the `resident` versions on which nothing runs, given with the seconds since their last use, the one that makes
    room for an adapter of `tenant`; `None` when all are kept. `left` are those that an earlier controller has left.

    First what was left, as nobody has asked this controller for it; then what is spare, then what has rested for long;
    else it is one of the tenant that then has most, so that who loads much takes places from itself. Of these the one
    that has rested longest.
    """
    kept, spare = claims.kept(), claims.spare()
    number = Counter(claims.tenant_of(version_id) for version_id in resident)
    number[tenant] += 1

    def rank(version_id: int) -> tuple[bool, bool, bool, int, float, int]:
        rests_s = idle_s[version_id]
        most = 0 if rests_s > RECENT_S else -number[claims.tenant_of(version_id)]
        return version_id not in left, version_id not in spare, rests_s <= RECENT_S, most, -rests_s, version_id

    return min((one for one in idle_s if one not in kept), key=rank, default=None)
