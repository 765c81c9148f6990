"""How fast one tenant's adapters are loaded on an engine on which others' requests run. Pure: who calls tells the time.

vLLM reads an adapter between two steps of its whole batch, so the seconds of a load are lost to everybody's streams. A
tenant may take `share` of an engine's time so, measured over `WINDOW_S`: a few loads at once, then no more than that.
"""

from __future__ import annotations

from gateway.engines.managed import ManagedEngine
from gateway.fleet.eviction import Claims
from gateway.fleet.hub import Hub

WINDOW_S = 10.0


class LoadPace:
    """Of one engine."""

    def __init__(self, share: float) -> None:
        """`share`: above 0; 1 lets every tenant load without a pause."""
        self._share = share
        self._taken: dict[str, tuple[float, float]] = {}
        """Tenant → seconds above its share that it had taken, and when that was; forgotten as time goes by."""

    def pause_s(self, tenant: str, now: float) -> float:
        """Until the tenant's next load may begin; 0: now."""
        return max(0.0, self._left(tenant, now) / self._share - WINDOW_S)

    def took(self, tenant: str, seconds: float, now: float) -> None:
        """A load of the tenant has just ended; it has kept others waiting for so long."""
        left = self._left(tenant, now - seconds) + seconds * (1 - self._share)
        self._taken = {one: taken for one, taken in self._taken.items() if one != tenant and self._left(one, now)}
        if left > 0:
            self._taken[tenant] = left, now

    def _left(self, tenant: str, now: float) -> float:
        taken_s, at_s = self._taken.get(tenant, (0.0, now))
        return max(0.0, taken_s - self._share * max(0.0, now - at_s))


def others_run(engine: ManagedEngine, tenant: str, hub: Hub, claims: Claims) -> bool:
    """Whether requests of other tenants run there, as workers reported last. Whose those for a base are is not known:
    others', while other tenants have adapters.
    """
    held, url = engine.residency, engine.url
    if held.base_name is not None and claims.tenants() > 1 and hub.asked(url, held.base_name):
        return True
    whose = claims.tenant_of
    return any(hub.asked(url, entry.name) for one, entry in held.resident.items() if whose(one) != tenant)
