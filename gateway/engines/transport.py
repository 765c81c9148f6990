"""httpx over our own connections to an engine, for all that is not the hot path.

httpx's own pool loses a connection whose request is cancelled between two of its steps: it is open for ever, and of the
pool's hundred places one is taken. Here a request that ends otherwise than with its whole answer closes its connection.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager

import httpx

from gateway.engines.connection import EngineClient, EngineTimeout, EngineUnreachable, Exchange
from gateway.handoffs import EngineBroke

IDLE_LIMIT = 4
"""Connections kept for the next question; more than two at once are rare."""
_SAID_BY_THE_CONNECTION = frozenset({b"host", b"connection", b"content-type", b"content-length"})


def engine_http(url: str, headers: Mapping[str, str], timeout_s: float) -> httpx.AsyncClient:
    """A client of one engine, by no proxy. `timeout_s`: of connecting, and of each wait for an answer's next bytes.

    Raises `ValueError` for an address that is no engine's.
    """
    return httpx.AsyncClient(
        base_url=url, headers=headers, timeout=timeout_s, transport=EngineTransport(url, connect_timeout_s=timeout_s)
    )


class EngineTransport(httpx.AsyncBaseTransport):
    """Whole JSON bodies out, streams back. Errors are httpx's."""

    def __init__(self, url: str, *, connect_timeout_s: float) -> None:
        self._client = EngineClient(url, connect_timeout_s=connect_timeout_s, idle_limit=IDLE_LIMIT)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send, and wait for the head of the answer."""
        lines = (b"%b: %b\r\n" % line for line in request.headers.raw if line[0].lower() not in _SAID_BY_THE_CONNECTION)
        read_s: float = request.extensions["timeout"]["read"]
        exchange = self._client.request(
            request.method.encode(),
            request.url.raw_path,
            b"".join(lines),
            (await request.aread(),),
            head_timeout_s=read_s,
        )
        with _as_httpx():
            await exchange.__aenter__()
        return httpx.Response(
            exchange.status, headers=list(exchange.headers.items()), stream=_Body(exchange, read_s), request=request
        )

    async def aclose(self) -> None:
        """Close idle connections now, and the others when their requests have ended."""
        self._client.close()


class _Body(httpx.AsyncByteStream):
    """Of one answer. Nothing waits when it is closed, so that no cancellation comes between."""

    def __init__(self, exchange: Exchange, read_s: float) -> None:
        self._exchange = exchange
        self._read_s = read_s

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _as_httpx():
            while data := await self._exchange.some(self._read_s):
                yield data

    async def aclose(self) -> None:
        """Free the connection."""
        await self._exchange.__aexit__(None, None, None)


@contextmanager
def _as_httpx() -> Iterator[None]:
    try:
        yield
    except EngineTimeout as error:
        raise httpx.ReadTimeout(str(error)) from None
    except (EngineUnreachable, EngineBroke) as error:
        raise httpx.NetworkError(str(error)) from None
