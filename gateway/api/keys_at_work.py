"""Which requests are under way with which key: they end with it, wherever they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.api.client import Client
from gateway.errors import Unauthenticated
from gateway.steps.authenticate import authenticate
from registry.catalog.snapshot import Catalog

EVERY_S = 0.25
"""Time is looked at too, as a key may reach its end: no message says so."""


class KeysAtWork:
    """Of one worker. A key with nothing under way is forgotten."""

    def __init__(self, catalog: Callable[[], Catalog], *, ends: bool) -> None:
        """`ends`: whether requests end with their key; else they finish."""
        self._catalog = catalog
        self._ends = ends
        self._clients: dict[str, set[Client]] = {}

    def begin(self, key: str | None, client: Client) -> None:
        """A request with this key is under way, until its `end`. Costs a fraction of a microsecond."""
        if key is not None:
            clients = self._clients.get(key)
            if clients is None:
                clients = self._clients[key] = set()
            clients.add(client)

    def end(self, key: str | None, client: Client) -> None:
        """It is over."""
        if key is not None:
            clients = self._clients[key]
            clients.discard(client)
            if not clients:
                del self._clients[key]

    async def run(self) -> None:
        """End what keys that are over have under way; for ever, or not at all where it may finish."""
        while self._ends:
            await asyncio.sleep(EVERY_S)
            self.look()

    def look(self) -> None:
        """End what keys that are over have under way."""
        catalog = self._catalog()
        for key, clients in self._clients.items():
            try:
                authenticate(key, catalog)
            except Unauthenticated as error:
                for client in clients:  # which ends in a later turn of the loop
                    client.end(_over(error))


def _over(error: Unauthenticated) -> Unauthenticated:
    how = "reached its end" if error.code == "expired_api_key" else "was revoked"
    return Unauthenticated(
        f"The API key {how} while this was under way. What was made until then is charged.", code="revoked_api_key"
    )
