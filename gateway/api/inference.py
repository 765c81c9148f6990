"""`POST /v1/chat/completions` and `/v1/completions` as raw ASGI: read the body, run the path, answer."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from typing import Any, Literal

from gateway.api.respond import Message, Receive, Respond, Send
from gateway.errors import ApiError, BadRequest, PayloadTooLarge
from gateway.handoffs import Call
from gateway.path import House, serve

log = logging.getLogger("switchyard.api")
Endpoint = Literal["chat", "completions"]
PATHS: dict[str, Endpoint] = {"/v1/chat/completions": "chat", "/v1/completions": "completions"}
CLIENT_GONE_STATUS = 499
MAX_UNIT_CHARS = 256
_ids = random.Random(os.urandom(32))
"""Request ids must be unique, not secret; the kernel's generator would cost a system call for each."""


class ClientGone(Exception):
    """The client hung up before its request was complete."""


async def answer(scope: dict[str, Any], receive: Receive, send: Send, endpoint: Endpoint, house: House) -> None:
    """Serve one request from its first byte to its last, whatever happens."""
    began_s = time.perf_counter()
    respond = Respond(send, began_s=began_s)
    request_id = f"{_ids.getrandbits(128):032x}"
    respond.describe(request_id, None)
    house.metrics.in_flight.inc()
    try:
        body = await _read_body(receive, house.caps.max_body_bytes)
        call = _call(scope, endpoint, body, request_id)
        await _serve_while_client_listens(call, house, respond, receive)
    except ApiError as error:
        await respond.fail(error)
    except ClientGone:
        respond.status = CLIENT_GONE_STATUS
    except Exception:
        log.exception("request %s failed in the gateway", request_id)
        await respond.fail(ApiError("The gateway failed on this request; it is our fault.", code="internal_error"))
    finally:
        house.metrics.in_flight.dec()
        house.metrics.answered(endpoint, respond.status)
        if respond.first_byte_s is not None:
            house.metrics.first_byte(endpoint, respond.first_byte_s)


async def _serve_while_client_listens(call: Call, house: House, respond: Respond, receive: Receive) -> None:
    """Cancel the path when the client hangs up: unwinding it closes the engine's socket, and the engine stops."""
    serving = asyncio.current_task()
    assert serving is not None
    gone = False

    async def watch() -> None:
        nonlocal gone
        while (await receive())["type"] != "http.disconnect":
            pass
        gone = True
        serving.cancel()

    watcher = asyncio.create_task(watch())
    try:
        await serve(call, house, respond)
    except asyncio.CancelledError:
        if not gone:
            raise
        serving.uncancel()
        raise ClientGone from None
    finally:
        watcher.cancel()


async def _read_body(receive: Receive, limit: int) -> bytes:
    message: Message = await receive()
    parts: list[bytes] = []
    length = 0
    while True:
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        length += len(part)
        if length > limit:
            raise PayloadTooLarge(f"The body is longer than {limit} bytes.", code="payload_too_large")
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)
        message = await receive()


def _call(scope: dict[str, Any], endpoint: Endpoint, body: bytes, request_id: str) -> Call:
    authorization = unit = None
    for name, value in scope["headers"]:
        if name == b"authorization":
            authorization = value.decode("latin-1")
        elif name == b"x-switchyard-unit":
            unit = value.decode("latin-1")
            if len(unit) > MAX_UNIT_CHARS:
                raise BadRequest(
                    f"X-Switchyard-Unit is {len(unit)} characters long; the limit is {MAX_UNIT_CHARS}.",
                    param="X-Switchyard-Unit",
                    code="invalid_value",
                )
    return Call(endpoint, authorization, unit, body, request_id)
