"""Every dialect as raw ASGI: read the body, run the path, answer."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from typing import Any

from gateway.api.addresses import MODEL_NAMED
from gateway.api.asgi import WRITE_NOW, Receive, Send
from gateway.api.client import Client, ClientGone, refuse_too_long
from gateway.api.codings import Read, codings_of, decoding
from gateway.api.credentials import KEY_HEADERS, key_of
from gateway.api.media import refuse_forms
from gateway.api.request_ids import RequestIds
from gateway.api.respond import Respond
from gateway.api.trace import trace_lines
from gateway.errors import ApiError, BadRequest, Overloaded, Unauthenticated
from gateway.handoffs import CLIENT_GONE_STATUS, Call, Dialect
from gateway.house import House
from gateway.limits.refusal_pace import TOO_MUCH
from gateway.path import serve
from gateway.request_log import Request
from gateway.tracing import requests as request_spans
from telemetry.spans import Span

log = logging.getLogger("switchyard.api")
MAX_UNIT_CHARS = 256
TRACES = (b"traceparent", b"tracestate")
READ = frozenset({*KEY_HEADERS, *TRACES, b"x-switchyard-unit", b"content-type", b"content-encoding", b"content-length"})
"""Headers that are looked at here."""


async def answer(
    scope: dict[str, Any], receive: Receive, send: Send, dialect: Dialect, house: House, ids: RequestIds
) -> None:
    """Serve one request from its first byte to its last, whatever happens."""
    began_s = time.perf_counter()
    respond = Respond(send, dialect, began_s=began_s, ids=ids, write_now=scope["extensions"][WRITE_NOW])
    house.metrics.came()
    client = Client(scope, receive, house.body_clock)
    span = None
    was_late = False
    if house.tracing is not None:
        span = request_spans.begin(house.tracing, scope["method"], scope["headers"])
    try:
        call = _call(scope, dialect, client, ids, house, span)
        client.key = call.key
        house.keys_at_work.clients.add(client)
        try:
            await client.while_listening(serve(call, house, respond))
        finally:  # before its end is told: what is told to a wrong key may take a second
            house.keys_at_work.clients.discard(client)
    except ApiError as error:
        error.let_go()
        if respond.attempt is None:
            house.refused.observe(respond.principal, respond.arm, error)
        if isinstance(error, Unauthenticated) and house.door.note(scope):
            error = await house.door.slow(scope)
        elif error.status == TOO_MUCH and respond.principal is not None and not respond.started:
            was_late = await house.pace.take(respond.principal.tenant, client.hold_back)
        await respond.fail(error)
    except ClientGone:
        respond.status = CLIENT_GONE_STATUS
    except asyncio.CancelledError:  # the server stops and has waited as long as it may
        await respond.fail(Overloaded("The gateway is stopping.", code="shutting_down", retry_after_s=5))
    except Exception:
        log.exception("request %s failed in the gateway", ids.own)
        await respond.fail(ApiError("The gateway failed on this request; it is our fault.", code="internal_error"))
    finally:
        if respond.streams:
            await respond.stop_pings()
        took_s = time.perf_counter() - began_s
        house.metrics.answered(dialect.name, respond, took_s)
        noted = house.requests.on and not was_late
        if noted or span is not None:
            ended = _ended(scope, respond, ids, took_s)
            if noted:
                house.requests.note(ended)
            if span is not None:
                request_spans.end(span, ended, scope["path"])


def _ended(scope: dict[str, Any], respond: Respond, ids: RequestIds, took_s: float) -> Request:
    return Request(
        time.time(),
        took_s,
        ids.own,
        ids.given,
        scope["method"],
        scope["path"],
        respond.status,
        None if respond.error is None else respond.error.code,
        respond.principal,
        respond.model or (None if respond.error is None else respond.error.model),
        respond.arm,
        respond.streams,
        respond.attempt,
        respond.first_byte_s,
    )


def _text_of(value: bytes) -> str:
    """A header as who sent it wrote it: most send UTF-8, and what is none of it is Latin-1."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _call(
    scope: dict[str, Any],
    dialect: Dialect,
    client: Client,
    ids: RequestIds,
    house: House,
    span: Span | None,
) -> Call:
    keys: list[tuple[bytes, bytes]] = []
    unit = None
    body: Read = client.body
    codings: list[str] = []
    traces: dict[bytes, list[bytes]] = {}
    max_body_bytes = house.caps.max_body_bytes
    for name, value in scope["headers"]:
        if name not in READ:
            continue
        if name in KEY_HEADERS:
            keys.append((name, value))
        elif name == b"x-switchyard-unit":
            unit = _text_of(value)
            if len(unit) > MAX_UNIT_CHARS:
                raise BadRequest(
                    f"X-Switchyard-Unit is {len(unit)} characters long; the limit is {MAX_UNIT_CHARS}.",
                    param="X-Switchyard-Unit",
                    code="invalid_value",
                )
        elif name == b"content-type":
            refuse_forms(value)
        elif name == b"content-encoding":
            codings += codings_of(value)
        elif name == b"content-length" and int(value) > max_body_bytes:
            body = partial(refuse_too_long, max_body_bytes)
        elif name in TRACES:
            traces.setdefault(name, []).append(value)
    if codings:
        body = decoding(body, codings, max_body_bytes, house.desk.do)
    trace = trace_lines(traces.get(b"traceparent", ()), traces.get(b"tracestate", ())) if traces else b""
    named = scope.get(MODEL_NAMED)
    return Call(
        dialect, key_of(keys), unit, body, ids.own, ids.at_the_engine, trace, named, client.let_go, client.known, span
    )
