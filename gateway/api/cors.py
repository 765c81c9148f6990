"""Cross-origin requests: pages of the origins that the settings list may call what tenants call, and nothing else.

A page sends its key in a header of its own, so browsers never have to send what they keep for us (`credentials`), and
are never told that they may.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any

from gateway.api.asgi import Send
from gateway.api.request_ids import with_headers
from gateway.errors import Headers

ANY_ORIGIN = "*"
TENANT_ROUTES = "/v1/"
"""Where all of them begin, after `addresses.canonical`."""
METHODS = b"GET, POST, DELETE"
HEADER_NAMES = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:[ \t]*,[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+)*")
PREFLIGHT_KEPT_S = 7_200
"""How long a browser need not ask again; more is cut to this by Chrome."""
VARIES_IN_PREFLIGHT = b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"


class Cors:
    """Which origins may call, and what their browsers are told."""

    def __init__(self, origins: Collection[str]) -> None:
        """`origins` are as browsers send them, or `*` among them; none: no browser is told anything."""
        self.on = bool(origins)
        self._any = ANY_ORIGIN in origins
        self._origins = frozenset(origin.encode() for origin in origins)

    def with_headers_for(self, scope: dict[str, Any], send: Send) -> Send:
        """A `send` whose answer the page may read, all its headers too, if its origin is one of the listed."""
        return with_headers(send, self._headers(_header(scope["headers"], b"origin")))

    async def answer_preflight(self, scope: dict[str, Any], send: Send) -> bool:
        """Answer what a browser asks before it sends a page's request, which has no key yet. False: it is no such
        question, or of an origin that is not listed, and nothing was sent.
        """
        headers = scope["headers"]
        origin, method = _header(headers, b"origin"), _header(headers, b"access-control-request-method")
        if scope["method"] != "OPTIONS" or origin is None or method is None or not self._allows(origin):
            return False
        answer = [
            (b"access-control-allow-origin", b"*" if self._any else origin),
            (b"access-control-allow-methods", METHODS),
            (b"access-control-max-age", b"%d" % PREFLIGHT_KEPT_S),
            (b"vary", VARIES_IN_PREFLIGHT),
        ]
        wanted = _header(headers, b"access-control-request-headers")
        if wanted is not None and HEADER_NAMES.fullmatch(wanted):  # SDKs send a dozen of their own, and more each year
            answer.append((b"access-control-allow-headers", wanted))
        await send({"type": "http.response.start", "status": 204, "headers": answer})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return True

    def _headers(self, origin: bytes | None) -> Headers:
        varies: Headers = () if self._any else ((b"vary", b"Origin"),)
        if origin is None or not self._allows(origin):
            return varies
        allowed = b"*" if self._any else origin
        return (*varies, (b"access-control-allow-origin", allowed), (b"access-control-expose-headers", b"*"))

    def _allows(self, origin: bytes) -> bool:
        return self._any or origin in self._origins


def _header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    return next((value for one, value in headers if one == name), None)
