"""httpx over our own connections to an engine, for all that is not the hot path.

httpx's own pool loses a connection whose request is cancelled between two of its steps: it is open for ever, and of the
pool's hundred places one is taken. Here a request that ends otherwise than with its whole answer closes its connection.

No engine is believed: an answer is read as it came, as packed ones may become a thousand times as long, and up to
`MOST_BYTES`, all of it within the time that its head may take.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager

import httpx

from gateway.engines.connection import EngineClient, EngineTimeout, EngineUnreachable, Exchange
from gateway.handoffs import EngineBroke, EngineLied

IDLE_LIMIT = 4
"""Connections kept for the next question; more than two at once are rare."""
MOST_BYTES = 1 << 23
"""vLLM's metrics are some 100 kB, a model list of 10,000 adapters some 4 MB."""
_SAID_BY_THE_CONNECTION = frozenset({b"host", b"connection", b"content-type", b"content-length"})


def engine_http(url: str, headers: Mapping[str, str], timeout_s: float) -> httpx.AsyncClient:
    """A client of one engine, by no proxy. `timeout_s`: of connecting, of the wait for an answer, and of all its body.

    Raises `ValueError` for an address that is no engine's.
    """
    return httpx.AsyncClient(
        base_url=url,
        headers={**headers, "Accept-Encoding": "identity"},
        timeout=timeout_s,
        transport=EngineTransport(url, connect_timeout_s=timeout_s),
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
            request.url.raw_path,
            b"".join(lines),
            (await request.aread(),),
            head_timeout_s=read_s,
            method=request.method.encode(),
        )
        with _as_httpx():
            await exchange.__aenter__()
        headers = [line for line in exchange.headers.items() if line[0] != b"content-encoding"]
        return httpx.Response(exchange.status, headers=headers, stream=_Body(exchange, read_s), request=request)

    async def aclose(self) -> None:
        """Close idle connections now, and the others when their requests have ended."""
        self._client.close()


class _Body(httpx.AsyncByteStream):
    """Of one answer. Nothing waits when it is closed, so that no cancellation comes between."""

    def __init__(self, exchange: Exchange, read_s: float) -> None:
        self._exchange = exchange
        self._read_s = read_s

    async def __aiter__(self) -> AsyncIterator[bytes]:
        now, left = asyncio.get_running_loop().time, MOST_BYTES
        ends_s = now() + self._read_s
        with _as_httpx():
            while data := await self._exchange.some(max(0.0, ends_s - now())):
                left -= len(data)
                if left < 0:
                    raise EngineLied("too_long", f"the engine's answer has more than {MOST_BYTES} bytes")
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
