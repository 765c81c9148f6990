"""What is not inference: answered by FastAPI, with the request's ids, and noted like that."""

from __future__ import annotations

import time
from typing import Any

from fastapi import FastAPI

from gateway.api.addresses import form_at
from gateway.api.asgi import ON_HELD_BACK, ON_KNOWN, Message, Receive, Send
from gateway.api.request_ids import REQUEST_ID, RequestIds, with_headers
from gateway.api.respond import Respond
from gateway.door import OPERATOR
from gateway.house import House
from gateway.limits.refusal_pace import TOO_MUCH
from gateway.request_log import Request
from gateway.tracing import requests as request_spans

PROBED = frozenset({"/healthz", "/readyz", "/metrics"})
"""What probes ask for all the time: not noted."""
PROBES = frozenset({"/healthz", "/readyz"})
"""What a load balancer asks for, on whose address many may come."""

REFUSED_STRANGERS = frozenset({401, 404, 405})
"""What who has no valid key hears, of what exists and of what does not."""


async def answer_by_web(
    web: FastAPI, scope: dict[str, Any], receive: Receive, send: Send, house: House | None, ids: RequestIds
) -> None:
    """Serve one request; without a house, which is there when the gateway has started, nobody notes it."""
    began_s, method, path = time.perf_counter(), scope["method"], scope["path"]
    who = None if house is None else house.door.who(scope["headers"])
    seen = _Seen(send, holds_refusals=who is not None and not who.startswith(OPERATOR))
    if house is not None and not await _may_enter(scope, house, who):
        refusal = await house.door.slow(scope)
        await Respond(seen, form_at(path), began_s=began_s, ids=ids).fail(refusal)
        return
    scope[REQUEST_ID] = ids.own
    header = form_at(path).request_id_header
    headers = ids.headers if header is None else (*ids.headers, (header, ids.own.encode()))
    noted = house is not None and path not in PROBED
    span, was_late = None, False
    if house is not None and house.tracing is not None and noted:
        span = request_spans.begin(house.tracing, method, scope["headers"])
    try:
        await web(scope, receive, with_headers(seen, headers))
        was_late = await _tell_refusal(seen, scope, house, who)
    finally:
        if house is not None and who is None and (seen.status in REFUSED_STRANGERS or house.door.sends_key(scope)):
            house.door.note(scope)
        if house is not None and noted and (house.requests.on or span is not None):
            took_s = time.perf_counter() - began_s
            ended = Request(time.time(), took_s, ids.own, ids.given, method, path, seen.status, None)
            if house.requests.on and not was_late:
                house.requests.note(ended)
            if span is not None:
                request_spans.end(span, ended, getattr(scope.get("route"), "path", None))


class _Seen:
    """A `send` that knows what was answered. What refuses a tenant for its load may be held, until nothing else of the
    request is left.
    """

    def __init__(self, send: Send, *, holds_refusals: bool) -> None:
        self._send = send
        self._holds_refusals = holds_refusals
        self.status = 0
        self.refusal: list[Message] = []

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        if self._holds_refusals and self.status == TOO_MUCH:
            self.refusal.append(message)
        else:
            await self._send(message)

    async def tell(self) -> None:
        """Send what was held."""
        for message in self.refusal:
            await self._send(message)


async def _tell_refusal(seen: _Seen, scope: dict[str, Any], house: House | None, who: str | None) -> bool:
    """Answer who was refused for its load, if that is due; whether it is told late."""
    if not seen.refusal or house is None or who is None:
        return False
    was_late = await house.pace.take(who, scope["extensions"][ON_HELD_BACK])
    await seen.tell()
    return was_late


async def _may_enter(scope: dict[str, Any], house: House, who: str | None) -> bool:
    """Return when it is the turn of who asks: a tenant's requests begin one by one, and so do all strangers'. False:
    too many have come from this address without a valid key.
    """
    door = house.door
    if who is not None:
        scope["extensions"][ON_KNOWN](who)
    elif door.is_slowed(scope) and (scope["path"] not in PROBES or door.sends_key(scope)):
        door.note(scope)
        return False
    await door.turns.take(who or "")
    return True
