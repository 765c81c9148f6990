"""One delivery: signed JSON by POST to the operator's address or a tenant's. Of the answer only the status is read.

Each has a connection of its own, which is closed however it ends: httpx leaves one open whose request is cancelled in
the middle of TLS's handshake, or between two steps of its pool.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from gateway.settings import GatewaySettings
from gateway.webhooks.addresses import Network, NotAllowed, allowed_address
from registry.webhooks.outbox import Delivery
from registry.webhooks.signing import signed_headers

TIMEOUT_S = 10.0
"""Of a delivery, from the look-up of the host's name to the status of its answer."""


@dataclass(frozen=True, slots=True)
class Destinations:
    """What the settings say of where events go."""

    operators_url: str | None
    operators_secret: str | None
    networks: tuple[Network, ...]
    """Besides the public internet, where tenants' addresses may lie."""

    @classmethod
    def of(cls, settings: GatewaySettings) -> Destinations:
        """As they say."""
        return cls(settings.budget_webhook_url, settings.budget_webhook_secret, tuple(settings.webhook_networks))


class Undelivered(Exception):
    """Why nothing was delivered; said without the URL, which may have a secret in it."""


class Sender:
    """Sends, on one event loop. Certificates are read when they are needed: most gateways tell nobody."""

    def __init__(self, destinations: Destinations) -> None:
        self._to = destinations
        self._trusted: dict[bool, ssl.SSLContext] = {}
        """By whether the environment has a say."""

    async def deliver(self, delivery: Delivery) -> str | None:
        """What went wrong; `None` when the event was taken."""
        try:
            if delivery.url is None:
                status = await self._post_to_operator(delivery)
            elif not delivery.secrets:
                return "its secret cannot be read"
            else:
                status = await self.post(delivery.url, delivery.event_id, delivery.body, delivery.secrets)
        except Undelivered as error:
            return str(error)
        return None if 200 <= status < 300 else f"status {status}"

    async def post(self, url: str, event_id: str, body: bytes, secrets: Collection[str]) -> int:
        """The status that a tenant's address answers with. Raises `Undelivered`."""
        return await _in_time(self._post_to_tenant(url, _head(event_id, body, secrets), body))

    async def _post_to_tenant(self, url: str, head: Mapping[str, str], body: bytes) -> int:
        """To the address that was looked at, by no proxy; the name stands in the head and is the certificate's."""
        to = httpx.URL(url)
        encrypted = to.scheme == "https"
        port = to.port or (443 if encrypted else 80)
        address = await allowed_address(to.host, port, encrypted=encrypted, networks=self._to.networks)
        named = {**head, "host": to.netloc.decode("ascii")}
        return await self._send(to.copy_with(host=address), named, body, sni_hostname=to.host)

    async def _post_to_operator(self, delivery: Delivery) -> int:
        """To whatever the settings name, by a proxy if the environment names one."""
        if self._to.operators_url is None:
            raise Undelivered("no address is set any more")
        secrets = () if self._to.operators_secret is None else (self._to.operators_secret,)
        head = _head(delivery.event_id, delivery.body, secrets)
        return await _in_time(self._send(httpx.URL(self._to.operators_url), head, delivery.body))

    async def _send(self, url: httpx.URL, head: Mapping[str, str], body: bytes, **pinned: str) -> int:
        asks_environment, opened = not pinned, _Opened()
        trusted = self._trusted.get(asks_environment)
        if trusted is None:
            trusted = self._trusted[asks_environment] = httpx.create_ssl_context(trust_env=asks_environment)
        extensions = {**pinned, "trace": opened.note}
        async with httpx.AsyncClient(timeout=TIMEOUT_S, verify=trusted, trust_env=asks_environment) as http:
            try:
                async with http.stream("POST", url, content=body, headers=dict(head), extensions=extensions) as answer:
                    return answer.status_code
            finally:
                await opened.close()


def send_once(destinations: Destinations, url: str, event_id: str, body: bytes, secret: str) -> int:
    """The status that a tenant's address answers with. Blocking, on an event loop of its own: to look a name up takes a
    thread that nobody else must wait for. Raises `Undelivered`.
    """

    return asyncio.run(Sender(destinations).post(url, event_id, body, [secret]))


class _Opened:
    """The connection that httpx opened for one request."""

    def __init__(self) -> None:
        self._stream: Any = None

    async def note(self, step: str, of: Mapping[str, Any]) -> None:
        """Told by httpx of each of its steps."""
        if step.endswith(".connect_tcp.complete"):  # or socks, of a proxy
            self._stream = of["return_value"]

    async def close(self) -> None:
        """At its first step, so that no cancellation comes between."""
        if self._stream is not None:
            await self._stream.aclose()


async def _in_time(sending: Awaitable[int]) -> int:
    """Raises `Undelivered`; texts of other errors may have the URL, so their names stand for them."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await sending
    except NotAllowed as error:
        raise Undelivered(f"nothing is sent there: {error}") from None
    except TimeoutError:
        raise Undelivered(f"no answer within {TIMEOUT_S:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        raise Undelivered(type(error).__name__) from None


def _head(event_id: str, body: bytes, secrets: Collection[str]) -> dict[str, str]:
    signed = signed_headers(event_id, int(time.time()), body, secrets)
    return {"content-type": "application/json", "user-agent": "switchyard", **signed}
