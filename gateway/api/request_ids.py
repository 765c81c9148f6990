"""What a request is called: a name of ours, and the client's own beside it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable

from gateway.api.asgi import Message, Send
from gateway.errors import Headers

REQUEST_ID = "switchyard.request_id"
"""Where routes find it in a request's scope."""
RANDOM_BYTES = 10
BUFFERED_IDS = 512
"""As many ids are made of what the kernel's generator gives at once: asked for each, it costs as much as the rest."""
GIVEN_IN = (b"x-client-request-id", b"x-request-id")
"""Where a client may name its request: OpenAI's header, and what proxies use; the first counts if there are both."""
NAME = re.compile(rb"[!-~](?:[ -~]{0,126}[!-~])?")
UNUSUAL = re.compile(rb"[^A-Za-z0-9._:/=+-]")
"""What the engine had better not find in an id."""


class Ids:
    """Ids that nobody can foretell from others: who could would find other tenants' requests among them."""

    __slots__ = ("_at", "_random")

    def __init__(self) -> None:
        self._random = ""
        self._at = 0

    def next(self) -> str:
        """See `new_id`."""
        at = self._at
        if at == len(self._random):
            self._random, at = os.urandom(BUFFERED_IDS * RANDOM_BYTES).hex(), 0
        self._at = ends = at + 2 * RANDOM_BYTES
        return f"{time.time_ns() // 1_000_000:012x}{self._random[at:ends]}"


new_id = Ids().next
"""128 bits in hexadecimal that begin with the milliseconds since the epoch: a table with millions of them is appended
to, where random ones would be inserted all over it. The other 80 are the kernel's random bits.
"""


class RequestIds:
    """The names of one request: ours in `x-request-id`, its client's own, if it gave one, in `x-client-request-id`."""

    __slots__ = ("given", "headers", "own")

    def __init__(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """`headers` are the request's. What is longer than 128 characters or not printable ASCII is no name."""
        self.own = new_id()
        """Unique, and ours."""
        self.given: bytes | None = None
        """What the client calls it: anything printable."""
        for name, value in headers:
            if name in GIVEN_IN and NAME.fullmatch(value) and (self.given is None or name == GIVEN_IN[0]):
                self.given = value
        self.headers: Headers = ((b"x-request-id", self.own.encode()),)
        """Of its answer."""
        if self.given is not None:
            self.headers = (*self.headers, (b"x-client-request-id", self.given))

    @property
    def at_the_engine(self) -> str:
        """What the engine logs, and makes the answer's `id` of: ours, with the client's own behind it."""
        return self.own if self.given is None else f"{self.own}-{UNUSUAL.sub(b'_', self.given).decode()}"


def with_headers(send: Send, headers: Headers) -> Send:
    """A `send` that adds headers to the answer."""

    async def adding(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*headers, *message.get("headers", ())]
        await send(message)

    return adding
