"""What is not inference: answered by FastAPI, with the request's ids, and noted like that."""

from __future__ import annotations

import time
from typing import Any

from fastapi import FastAPI

from gateway.api.addresses import form_at
from gateway.api.asgi import Message, Receive, Send
from gateway.api.request_ids import REQUEST_ID, RequestIds, with_headers
from gateway.house import House
from gateway.request_log import Request
from gateway.tracing import requests as request_spans

PROBED = frozenset({"/healthz", "/readyz", "/metrics"})
"""What probes ask for all the time: not noted."""


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
        if house is not None and noted and (house.requests.on or span is not None):
            took_s = time.perf_counter() - began_s
            ended = Request(time.time(), took_s, ids.own, ids.given, method, path, statuses[-1], None)
            if house.requests.on:
                house.requests.note(ended)
            if span is not None:
                request_spans.end(span, ended, getattr(scope.get("route"), "path", None))
