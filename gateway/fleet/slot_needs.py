"""What tenants have lacked of an engine's slots, and is kept for them from then on. Pure: who calls tells the time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

KEPT_S = 10.0


@dataclass(slots=True)
class _Need:
    number: int
    until_s: float
    """When it is forgotten, unless its tenant has so many then."""


class Needs:
    """Of one engine. `held` is always the number of slots of each tenant that has one."""

    def __init__(self) -> None:
        self._needs: dict[str, _Need] = {}

    def __bool__(self) -> bool:
        return bool(self._needs)

    def clear(self) -> None:
        """Know nothing."""
        self._needs.clear()

    def lacks(self, tenant: str, more: int, held: Mapping[str, int], now: float) -> None:
        """A tenant waits for so many more: of what another has more it should have half."""
        self._needs = {
            one: need for one, need in self._needs.items() if now < need.until_s or held.get(one, 0) >= need.number
        }
        own = held.get(tenant, 0)
        number = min(own + more, (own + max(held.values(), default=0)) // 2)
        if number > own:
            self._needs[tenant] = _Need(number, now + KEPT_S)

    def leaves(self, tenant: str, held: Mapping[str, int], now: float) -> None:
        """A tenant gives one of its slots back."""
        need = self._needs.get(tenant)
        if need is not None and held[tenant] >= need.number:
            need.until_s = now + KEPT_S

    def kept_from(self, tenant: str, held: Mapping[str, int], now: float) -> int:
        """Free slots that others lack who would have no more with them than this tenant has."""
        own = held.get(tenant, 0)
        return sum(
            max(0, need.number - held.get(one, 0))
            for one, need in self._needs.items()
            if one != tenant and need.number <= own and now < need.until_s
        )
