"""One delivery: signed JSON by POST to the operator's address or a tenant's. Of the answer only the status is read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Collection, Mapping
from dataclasses import dataclass

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
    """Sends, on one event loop. Its clients are made when they are needed: most gateways tell nobody."""

    def __init__(self, destinations: Destinations) -> None:
        self._to = destinations
        self._clients: dict[bool, httpx.AsyncClient] = {}

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
        is_pinned = bool(pinned)
        http = self._clients.get(is_pinned)
        if http is None:
            http = self._clients[is_pinned] = httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=not is_pinned)
        async with http.stream("POST", url, content=body, headers=dict(head), extensions=pinned) as answer:
            return answer.status_code

    async def close(self) -> None:
        """Close every connection."""
        for http in self._clients.values():
            await http.aclose()


def send_once(destinations: Destinations, url: str, event_id: str, body: bytes, secret: str) -> int:
    """The status that a tenant's address answers with. Blocking, on an event loop of its own: to look a name up takes a
    thread that nobody else must wait for. Raises `Undelivered`.
    """

    async def send() -> int:
        sender = Sender(destinations)
        try:
            return await sender.post(url, event_id, body, [secret])
        finally:
            await sender.close()

    return asyncio.run(send())


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
