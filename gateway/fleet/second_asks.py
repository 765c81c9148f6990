"""How often a worker asks a second engine about a request that one has refused for a reason that it does not know."""

from __future__ import annotations

from dataclasses import dataclass, field

WINDOW_S = 60.0
MOST_OF_A_TENANT, MOST = 16, 256
"""For one engine in a window, of those in which the second engine agreed: who sends bad bodies doubles nobody's load,
and takes no other tenant's part.
"""


@dataclass(slots=True)
class SecondAsks:
    """Times are `time.monotonic()`."""

    _ends_s: float = 0.0
    _of_tenants: dict[tuple[str, str], int] = field(default_factory=dict)
    """(engine URL, tenant) → second engines asked in this window."""
    _of_engines: dict[str, int] = field(default_factory=dict)

    def take(self, url: str, tenant: str, now_s: float) -> bool:
        """Whether one more may be asked about what the engine at this URL refused; it is counted then."""
        if now_s >= self._ends_s:
            self._ends_s = now_s + WINDOW_S
            self._of_tenants.clear()
            self._of_engines.clear()
        of_tenant, of_engine = self._of_tenants.get((url, tenant), 0), self._of_engines.get(url, 0)
        if of_tenant >= MOST_OF_A_TENANT or of_engine >= MOST:
            return False
        self._of_tenants[url, tenant] = of_tenant + 1
        self._of_engines[url] = of_engine + 1
        return True

    def give_back(self, url: str, tenant: str) -> None:
        """The second engine served the request: to ask it was right."""
        if self._of_tenants.get((url, tenant), 0) > 0:
            self._of_tenants[url, tenant] -= 1
            self._of_engines[url] -= 1
