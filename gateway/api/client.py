"""The client's side of one request: its body, and whether it still listens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NoReturn

from gateway.api.asgi import ON_DISCONNECT, ON_HELD_BACK, ON_KNOWN, Receive
from gateway.api.body_clock import BodyClock
from gateway.bytes_in_flight import HeldBytes
from gateway.errors import PayloadTooLarge, TooSlow
from gateway.handoffs import CLIENT_GONE, KEY_OVER

PIECE_BYTES = 16_384
"""Of bodies that come in such pieces, or longer ones, one piece is read in each turn of the loop, of all that a tenant
sends: each takes a part of a millisecond, and whoever sends on many connections sends as many at once.
"""
BODY_GRACE_S = 10.0
"""So long a body may take before anybody looks how quickly it comes."""


class ClientGone(Exception):
    """The client hung up before its request was complete."""


class Client:
    """Of one request, which is served in one task: that is cancelled when the client hangs up, or sends too slowly."""

    __slots__ = ("_clock", "_fault", "_on_disconnect", "_receive", "_serving", "due_s", "hold_back", "key", "known")

    def __init__(self, scope: Mapping[str, Any], receive: Receive, clock: BodyClock) -> None:
        self._receive = receive
        self._on_disconnect: Callable[[Callable[[], None] | None], None] = scope["extensions"][ON_DISCONNECT]
        self.known: Callable[[str], None] = scope["extensions"][ON_KNOWN]
        """Is told whose key was sent."""
        self.hold_back: Callable[[Callable[[], None] | None], None] = scope["extensions"][ON_HELD_BACK]
        """Is told that the answer comes late, by what to call when the client goes, or now, by `None`."""
        self._clock = clock
        self.key: str | None = None
        """That was sent."""
        self._serving: asyncio.Task[Any] | None = None
        self._fault: Exception | None = None
        self.due_s = 0.0

    async def while_listening(self, serving: Coroutine[Any, Any, None]) -> None:
        """Run the path; cancel it when the client hangs up: unwinding it closes the engine's socket, and the engine
        stops. Raises `ClientGone` then.
        """
        self._serving = asyncio.current_task()
        try:
            await serving
        except asyncio.CancelledError:
            if (fault := self._take_fault()) is None:
                raise
            try:
                raise fault from None
            finally:
                del fault  # or it, its traceback and this frame would be a ring, with the request in it
        finally:
            self._on_disconnect(None)

    def _take_fault(self) -> Exception | None:
        """Why we have cancelled the task, which is cancelled no more then; `None`: somebody else has."""
        fault, self._fault = self._fault, None
        if fault is not None and self._serving is not None:
            self._serving.uncancel()
        return fault

    async def body(self, held: HeldBytes) -> bytes:
        """The whole body, counted as it comes; from then on the connection is watched.

        Raises `PayloadTooLarge`, `TooSlow`, `ClientGone`, and what `HeldBytes.asked` raises.
        """
        began_s = asyncio.get_running_loop().time()
        self.due_s = began_s + min(BODY_GRACE_S, self._clock.bounds.timeout_s)
        self._clock.add(self)
        try:
            body = await self._read(began_s, held)
        except asyncio.CancelledError:
            if (fault := self._take_fault()) is None:
                raise
            try:
                raise fault from None
            finally:
                del fault  # or it, its traceback and this frame would be a ring, with the request in it
        finally:
            self._clock.discard(self)
        self._on_disconnect(self._hang_up)
        return body

    async def _read(self, began_s: float, held: HeldBytes) -> bytes:
        parts: list[bytes] = []
        length, bounds = 0, self._clock.bounds
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            part = message.get("body", b"")
            length += len(part)
            if length > bounds.max_bytes:
                await refuse_too_long(bounds.max_bytes)
            held.asked(length)
            parts.append(part)
            if not message.get("more_body", False):
                return parts[0] if len(parts) == 1 else b"".join(parts)
            self.due_s = began_s + min(BODY_GRACE_S + length / bounds.bytes_per_s, bounds.timeout_s)
            if len(part) >= PIECE_BYTES:
                await self._clock.turns.take(held.tenant)

    def let_go(self) -> None:
        """The request goes on when the client has hung up."""
        self._on_disconnect(None)

    def give_up(self) -> None:
        """The body takes too long."""
        bounds = self._clock.bounds
        self._stop(
            TooSlow(
                f"The body came too slowly: send it within {bounds.timeout_s:g} s, and no slower than "
                f"{bounds.bytes_per_s} bytes a second after the first {BODY_GRACE_S:g} s.",
                code="body_timeout",
            )
        )

    def end(self, fault: Exception) -> None:
        """The key of the request is over, which `fault` says to whoever listens."""
        self._stop(fault, KEY_OVER)

    def _hang_up(self) -> None:
        self._stop(ClientGone())

    def _stop(self, fault: Exception, why: str = CLIENT_GONE) -> None:
        if self._serving is not None and self._fault is None:
            self._fault = fault
            self._serving.cancel(why)


async def refuse_too_long(most_bytes: int, _held: HeldBytes | None = None) -> NoReturn:
    """Instead of a body whose length is known: nobody has to send it first."""
    raise PayloadTooLarge(f"The body is longer than {most_bytes} bytes.", code="payload_too_large")
