"""Offers of another protocol are not taken up, and the request that made one is served as any other.

Java's HTTP client offers `Upgrade: h2c` with every first request. llhttp takes what follows such a head for the other
protocol, and httptools skips the body, so a parser of its own reads on from there.
"""

from __future__ import annotations

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class PlainProtocol(HttpToolsProtocol):
    """HTTP/1.1 and nothing else, whatever is offered."""

    _offered = False
    """The head that was read last offers an upgrade, and its body has not begun."""

    def data_received(self, data: bytes) -> None:
        """Read what came, over any number of offers."""
        try:
            while data:
                data = self._read(data)
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")

    def _read(self, data: bytes) -> bytes:
        """Feed the parser; what is left of `data` behind a head that offers an upgrade."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            rest: int = offer.args[0]
            version = self.parser.get_http_version().encode()
            self.parser = httptools.HttpRequestParser(_BehindAHead(self))
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            self._offered = False
            lines = (b"%b: %b\r\n" % header for header in self.scope["headers"] if header[0] != b"upgrade")
            self.parser.feed_data(b"POST / HTTP/%b\r\n%b\r\n" % (version, b"".join(lines)))
            return data[rest:]
        return b""

    def on_headers_complete(self) -> None:
        """The head is whole: serve it."""
        self._offered = self.parser.should_upgrade()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request has ended, unless that is the parser's way to say that another protocol begins."""
        if not self._offered:
            super().on_message_complete()


class _BehindAHead:
    """What a parser tells that reads one head for the second time, to know how its body is framed: nothing of that
    head, and all that follows.
    """

    def __init__(self, protocol: PlainProtocol) -> None:
        self._protocol = protocol
        self._again = True
        """Whether it reads that head."""
        self.on_body = protocol.on_body
        self.on_message_complete = protocol.on_message_complete

    def on_message_begin(self) -> None:
        """A request begins."""
        if not self._again:
            self._protocol.on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Part of its address."""
        if not self._again:
            self._protocol.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One of its headers."""
        if not self._again:
            self._protocol.on_header(name, value)

    def on_headers_complete(self) -> None:
        """Its head is whole."""
        if self._again:
            self._again = False
        else:
            self._protocol.on_headers_complete()
