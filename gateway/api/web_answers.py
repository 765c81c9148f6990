"""What is not inference: answered by FastAPI, with the request's ids, and noted like that."""

from __future__ import annotations

import time
from typing import Any

from fastapi import FastAPI

from gateway.api.addresses import form_at
from gateway.api.asgi import ON_KNOWN, Message, Receive, Send
from gateway.api.request_ids import REQUEST_ID, RequestIds, with_headers
from gateway.api.respond import Respond
from gateway.house import House
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
    began_s, statuses = time.perf_counter(), [0]

    async def seen(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])
        await send(message)

    method, path = scope["method"], scope["path"]
    who = None if house is None else house.door.who(scope["headers"])
    if house is not None and not await _may_enter(scope, house, who):
        refusal = await house.door.slow(scope)
        await Respond(seen, form_at(path), began_s=began_s, ids=ids).fail(refusal)
        return
    scope[REQUEST_ID] = ids.own
    header = form_at(path).request_id_header
    headers = ids.headers if header is None else (*ids.headers, (header, ids.own.encode()))
    noted = house is not None and path not in PROBED
    span = None
    if house is not None and house.tracing is not None and noted:
        span = request_spans.begin(house.tracing, method, scope["headers"])
    try:
        await web(scope, receive, with_headers(seen, headers))
    finally:
        if house is not None and who is None and (statuses[-1] in REFUSED_STRANGERS or house.door.sends_key(scope)):
            house.door.note(scope)
        if house is not None and noted and (house.requests.on or span is not None):
            took_s = time.perf_counter() - began_s
            ended = Request(time.time(), took_s, ids.own, ids.given, method, path, statuses[-1], None)
            if house.requests.on:
                house.requests.note(ended)
            if span is not None:
                request_spans.end(span, ended, getattr(scope.get("route"), "path", None))


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
