"""Requests under way end with their key, wherever they are."""

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
    """Of one worker."""

    def __init__(self, catalog: Callable[[], Catalog], *, ends: bool) -> None:
        """`ends`: whether requests end with their key; else they finish."""
        self._catalog = catalog
        self._ends = ends
        self.clients: set[Client] = set()
        """Of the requests that are under way."""

    async def run(self) -> None:
        """End what keys that are over have under way; for ever, or not at all where it may finish."""
        while self._ends:
            await asyncio.sleep(EVERY_S)
            self.look()

    def look(self) -> None:
        """End what keys that are over have under way."""
        catalog = self._catalog()
        over: dict[str, Unauthenticated] = {}
        for key in {client.key for client in self.clients if client.key is not None}:
            try:
                authenticate(key, catalog)
            except Unauthenticated as error:
                over[key] = error
        for client in self.clients if over else ():  # each ends in a later turn of the loop
            if (why := over.get(client.key or "")) is not None:
                client.end(_over(why))


def _over(error: Unauthenticated) -> Unauthenticated:
    how = "reached its end" if error.code == "expired_api_key" else "was revoked"
    return Unauthenticated(
        f"The API key {how} while this was under way. What was made until then is charged.", code="revoked_api_key"
    )
