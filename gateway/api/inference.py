"""Every dialect as raw ASGI: read the body, run the path, answer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, NoReturn

from gateway.api.asgi import Message, Receive, Send
from gateway.api.codings import codings_of, decoding
from gateway.api.media import refuse_forms
from gateway.api.request_ids import RequestIds
from gateway.api.respond import Respond
from gateway.errors import ApiError, BadRequest, Overloaded, PayloadTooLarge, TooSlow
from gateway.handoffs import CLIENT_GONE, CLIENT_GONE_STATUS, Call, Dialect
from gateway.house import House
from gateway.path import serve
from gateway.request_log import Request

log = logging.getLogger("switchyard.api")
MAX_UNIT_CHARS = 256
BODY_GRACE_S = 10.0
"""So long a body may take before anybody looks how quickly it comes."""


class ClientGone(Exception):
    """The client hung up before its request was complete."""


async def answer(
    scope: dict[str, Any], receive: Receive, send: Send, dialect: Dialect, house: House, ids: RequestIds
) -> None:
    """Serve one request from its first byte to its last, whatever happens."""
    began_s = time.perf_counter()
    respond = Respond(send, dialect, began_s=began_s, headers=ids.headers)
    house.metrics.in_flight.inc()
    client = Client(
        receive, house.caps.max_body_bytes, house.settings.body_timeout_s, house.settings.body_min_bytes_per_s
    )
    try:
        await client.while_listening(
            serve(_call(scope, dialect, client.body, ids, house.caps.max_body_bytes), house, respond)
        )
    except ApiError as error:
        if respond.attempt is None:
            house.refused.saw(respond.principal, respond.arm, error)
        await respond.fail(error)
    except ClientGone:
        respond.status = CLIENT_GONE_STATUS
    except asyncio.CancelledError:  # the server stops and has waited as long as it may
        await respond.fail(Overloaded("The gateway is stopping.", code="shutting_down", retry_after_s=5))
    except Exception:
        log.exception("request %s failed in the gateway", ids.own)
        await respond.fail(ApiError("The gateway failed on this request; it is our fault.", code="internal_error"))
    finally:
        await respond.stop_pings()
        house.metrics.in_flight.dec()
        house.metrics.answered(dialect.name, respond.status)
        if respond.first_byte_s is not None:
            house.metrics.first_byte(dialect.name, respond.first_byte_s)
        if house.requests.on:
            _note(scope, respond, house, ids, time.perf_counter() - began_s)


def _note(scope: dict[str, Any], respond: Respond, house: House, ids: RequestIds, took_s: float) -> None:
    house.requests.note(
        Request(
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
    )


class Client:
    """The client's side of one request: its body, and whether it still listens."""

    def __init__(self, receive: Receive, max_body_bytes: int, body_timeout_s: float, bytes_per_s: float) -> None:
        self._receive = receive
        self._max_body_bytes = max_body_bytes
        self._body_timeout_s = body_timeout_s
        self._bytes_per_s = bytes_per_s
        self._serving: asyncio.Task[Any] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._gone = False

    async def while_listening(self, serving: Coroutine[Any, Any, None]) -> None:
        """Run the path; cancel it when the client hangs up: unwinding it closes the engine's socket, and the engine
        stops. Raises `ClientGone` then.
        """
        self._serving = asyncio.current_task()
        try:
            await serving
        except asyncio.CancelledError:
            if not self._gone or self._serving is None:
                raise
            self._serving.uncancel()
            raise ClientGone from None
        finally:
            if self._watcher is not None:
                self._watcher.cancel()

    async def body(self) -> bytes:
        """The whole body; from then on the connection is watched.

        Raises `PayloadTooLarge`, `TooSlow`, `ClientGone`.
        """
        try:
            async with asyncio.timeout(min(BODY_GRACE_S, self._body_timeout_s)) as patience:
                body = await self._read(patience)
        except TimeoutError:
            raise TooSlow(
                f"The body came too slowly: send it within {self._body_timeout_s:g} s, and no slower than "
                f"{self._bytes_per_s} bytes a second after the first {BODY_GRACE_S:g} s.",
                code="body_timeout",
            ) from None
        self._watcher = asyncio.create_task(self._watch())
        return body

    async def _read(self, patience: asyncio.Timeout) -> bytes:
        parts: list[bytes] = []
        length = 0
        began_s = asyncio.get_running_loop().time()
        while True:
            message: Message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            part = message.get("body", b"")
            length += len(part)
            if length > self._max_body_bytes:
                await _refuse_too_long(self._max_body_bytes)
            parts.append(part)
            if not message.get("more_body", False):
                return parts[0] if len(parts) == 1 else b"".join(parts)
            patience.reschedule(began_s + min(BODY_GRACE_S + length / self._bytes_per_s, self._body_timeout_s))

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        if self._serving is not None:
            self._serving.cancel(CLIENT_GONE)


async def _refuse_too_long(most_bytes: int) -> NoReturn:
    """Instead of a body whose length is known: nobody has to send it first."""
    raise PayloadTooLarge(f"The body is longer than {most_bytes} bytes.", code="payload_too_large")


def _call(
    scope: dict[str, Any],
    dialect: Dialect,
    body: Callable[[], Awaitable[bytes]],
    ids: RequestIds,
    max_body_bytes: int,
) -> Call:
    authorization = unit = None
    codings: list[str] = []
    for name, value in scope["headers"]:
        if name == b"authorization":
            if authorization is not None:
                raise BadRequest("There are two Authorization headers; send one.", code="invalid_value")
            authorization = value.decode("latin-1")
        elif name == b"x-switchyard-unit":
            unit = value.decode("latin-1")
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
            body = partial(_refuse_too_long, max_body_bytes)
    if codings:
        body = decoding(body, codings, max_body_bytes)
    return Call(dialect, authorization, unit, body, ids.own, ids.at_the_engine)
