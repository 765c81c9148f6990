"""What tenants have lacked of an engine's slots, and is kept for them from then on; and what they have had at once, and
is kept for a while too. Pure: who calls tells the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

KEPT_S = 10.0
QUIET_S = 5.0
"""What who runs nothing has had at once is kept for no longer."""


@dataclass(slots=True)
class _Need:
    number: int
    until_s: float
    """When it is forgotten, unless its tenant has so many then."""


class Needs:
    """Of one engine. `held` is always the number of slots of each tenant that has one."""

    def __init__(self) -> None:
        self._lacked: dict[str, _Need] = {}
        self._had: dict[str, _Need] = {}

    def __bool__(self) -> bool:
        return bool(self._lacked or self._had)

    def clear(self) -> None:
        """Know nothing."""
        self._lacked.clear()
        self._had.clear()

    def lacks(self, tenant: str, more: int, held: Mapping[str, int], now: float) -> None:
        """A tenant waits for so many more: of what another has more it should have half."""
        self._forget(held, now)
        own = held.get(tenant, 0)
        number = min(own + more, (own + max(held.values(), default=0)) // 2)
        if number > own:
            self._lacked[tenant] = _Need(number, now + KEPT_S)

    def leaves(self, tenant: str, held: Mapping[str, int], now: float) -> None:
        """A tenant gives one of its slots back."""
        number = held[tenant]
        need = self._lacked.get(tenant)
        if need is not None and number >= need.number:
            need.until_s = now + KEPT_S
        self._forget(held, now)
        had = self._had.get(tenant)
        if number > 1 and (had is None or number >= had.number):
            self._had[tenant] = _Need(number, now + KEPT_S)
        elif number == 1 and had is not None:
            had.until_s = min(had.until_s, now + QUIET_S)

    def _forget(self, held: Mapping[str, int], now: float) -> None:
        """What is over: else it would be looked through for each request for ever."""
        if self._lacked:
            self._lacked = {
                one: need for one, need in self._lacked.items() if now < need.until_s or held.get(one, 0) >= need.number
            }
        if self._had:
            self._had = {one: had for one, had in self._had.items() if now < had.until_s}

    def kept_from(self, tenant: str, held: Mapping[str, int], now: float) -> int:
        """Free slots that others lack, or have just had, who would have no more with them than this tenant has."""
        own = held.get(tenant, 0)
        kept = {one: need.number for one, need in self._lacked.items() if need.number <= own and now < need.until_s}
        for one, had in self._had.items():
            if now < had.until_s:
                kept[one] = max(kept.get(one, 0), min(had.number, own))
        return sum(max(0, number - held.get(one, 0)) for one, number in kept.items() if one != tenant)
