"""Who comes without a valid key: slowed by address, and told of.

Such a request costs a fraction of a millisecond, and whoever guesses keys sends them as fast as they are answered. So
an address has so many a minute; the answers to more come a second late, and end their connection. Valid keys of the
same address pass as ever.
"""

from __future__ import annotations

import asyncio
import logging
import time
from base64 import b64decode
from collections.abc import Callable, Iterable
from typing import Any

from gateway.api.credentials import KEY_HEADERS
from gateway.catalog_watch import CatalogWatch
from gateway.client_address import Networks, address_of
from gateway.errors import RateLimited
from gateway.metrics import families
from gateway.metrics.families import Family
from gateway.told_together import EVERY_S, Seen, ToldTogether
from gateway.turns import LoopTurns
from registry.tenants.store import hash_secret

log = logging.getLogger("switchyard.door")
MINUTE_S = 60.0
LATE_S = 1.0
"""An answer to one request too many comes so much later."""
OPERATOR = ":"
"""Begins the name of whoever is no tenant."""
MOST_ADDRESSES = 4_096
"""That are remembered; of more, those that have to wait least are forgotten."""
Headers = Iterable[tuple[bytes, bytes]]
Count = Callable[[Family, tuple[str, ...]], None]


class Door:
    """Of one process."""

    def __init__(self, catalog: CatalogWatch, root_key: str, per_minute: int, trusted: Networks, count: Count) -> None:
        """`per_minute`: requests without a valid key, of one address. `count` is of metrics."""
        self._catalog = catalog
        self._root = hash_secret(root_key)
        self._interval_s = MINUTE_S / per_minute
        self._trusted = tuple(trusted)
        self._count = count
        self._full_at_s: dict[str, float] = {}
        """By address, on `time.monotonic()`: when all of its requests of a minute may be sent at once again."""
        self.told = ToldTogether(_tell)
        """By API."""
        self.turns = LoopTurns()

    def who(self, headers: Headers) -> str | None:
        """Whose valid key is sent: the name of a tenant, or an operator's behind a colon. `None`: nobody's."""
        catalog = self._catalog.current
        for name, value in headers:
            if name in KEY_HEADERS and (secret := _secret(value.decode("latin-1"))):
                hashed = hash_secret(secret)
                if (key := catalog.keys.get(hashed)) is not None:
                    return key.tenant
                if hashed == self._root:
                    return OPERATOR
                if (operator := catalog.operators.get(hashed)) is not None:
                    return f"{OPERATOR}{operator.name}"
        return None

    def sends_key(self, scope: Any) -> bool:
        """Whether there is something in the head that is meant to be one."""
        return any(name in KEY_HEADERS for name, _ in scope["headers"])

    def is_slowed(self, scope: Any) -> bool:
        """Whether this address has sent too many such requests."""
        return bool(self._full_at_s) and self._waits_s(self._address(scope), time.monotonic()) > 0

    def note(self, scope: Any) -> bool:
        """Count one request without a valid key; whether it is one too many of its address."""
        now_s, address = time.monotonic(), self._address(scope)
        slowed = self._waits_s(address, now_s) > 0
        if not slowed:
            self._full_at_s[address] = max(now_s, self._full_at_s.get(address, 0.0)) + self._interval_s
            if len(self._full_at_s) > MOST_ADDRESSES:
                self._forget(now_s)
        api = "admin" if scope["path"].startswith("/admin/") else "tenant"
        self._count(families.STRANGERS, (api, "slowed" if slowed else "refused"))
        self.told.note(api, address)
        return slowed

    async def slow(self, scope: Any) -> RateLimited:
        """What one request too many hears, later than it would."""
        await asyncio.sleep(LATE_S)
        wait_s = max(1, round(self._waits_s(self._address(scope), time.monotonic())))
        refusal = RateLimited(
            "Too many requests without a valid key have come from this address. Send a valid key, which is served at "
            "once, or wait.",
            code="too_many_invalid_keys",
            retry_after_s=wait_s,
        )
        refusal.headers = ((b"connection", b"close"),)
        return refusal

    def _address(self, scope: Any) -> str:
        client = scope.get("client")
        return address_of(client[0] if client else "", scope["headers"], self._trusted)

    def _waits_s(self, address: str, now_s: float) -> float:
        return self._full_at_s.get(address, 0.0) + self._interval_s - now_s - MINUTE_S

    def _forget(self, now_s: float) -> None:
        waiting = sorted((at_s, address) for address, at_s in self._full_at_s.items() if at_s > now_s)
        self._full_at_s = {address: at_s for at_s, address in waiting[-MOST_ADDRESSES // 2 :]}


def _tell(seen: Seen) -> None:
    admin = sum(count for (api, _), count in seen.items() if api == "admin")
    (_, address), most = seen.most_common(1)[0]
    log.warning(
        "%d requests without a valid key in %g s, %d of them at the admin API; %d came from %s",
        seen.total(), EVERY_S, admin, most, address,
    )  # fmt: skip


def _secret(text: str) -> str:
    """Of any of the headers that a key may be in; of a browser's login the password."""
    scheme, _, rest = text.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() == "basic":
        try:
            return b64decode(rest.strip(), validate=True).decode().partition(":")[2]
        except ValueError:
            return ""
    return text.strip()
