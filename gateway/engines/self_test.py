"""Does an engine answer what clients ask? It is asked as they ask: on their paths, over the same kind of connection."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any

import orjson

from gateway.api.dialects import DIALECTS
from gateway.engines.connection import EngineClient, EngineUnreachable
from gateway.engines.faults import ProbeRefused, Unreachable
from gateway.engines.kind import EngineKind
from gateway.engines.probes import PROBE_TIMEOUT_S, ProbeLog
from gateway.handoffs import Endpoint, EngineBroke, EngineCount, EngineLied

BUSY = (429, 503)
MOST_BYTES = 1 << 20
MOST_TOKENS = 4_096
"""Of an answer to a question of ours, which is short, and of either side of it."""


async def ask_as_clients_do(
    kind: EngineKind, client: EngineClient, probes: ProbeLog, model: str, endpoint: Endpoint
) -> None:
    """Have an engine answer a dialect's question; the log gets what it cost.

    Raises `ProbeRefused` when it refuses, or answers what no client can read, and `Unreachable` when it gives no
    answer now.
    """
    name, dialect = secrets.token_hex(8), DIALECTS[endpoint]
    assert dialect.question is not None, endpoint
    body = dialect.engine_body(dialect.question, model, name)
    started_at_ms = time.time_ns() // 1_000_000
    usage: Any = None
    try:
        status, answer = await _post(client, kind.paths[endpoint], endpoint, name, body)
        if status in BUSY:
            raise Unreachable(f"a {endpoint} request of ours got HTTP {status}")
        if status != 200:
            usage = {"prompt_tokens": 0, "completion_tokens": 0} if status < 500 else None
            raise ProbeRefused(f"it answers HTTP {status} to a {endpoint} request of ours: {_message(answer)}")
        document = _object(answer)
        if not document.get(dialect.answers_in):
            raise ProbeRefused(f"its answer to a {endpoint} request of ours is none")
        usage = document.get("usage")
        _require_true(document, usage, endpoint, model)
    finally:
        probes.ended(endpoint, body, usage, started_at_ms)


def _require_true(document: dict[str, Any], usage: Any, endpoint: Endpoint, model: str) -> None:
    """Raises `ProbeRefused` for an answer whose count or name nobody may believe."""
    if document.get("model") != model:
        raise ProbeRefused(f"its answer to a {endpoint} request of ours is signed by another model")
    try:
        EngineCount(most_prompt=MOST_TOKENS, most_completion=MOST_TOKENS).final(usage)
    except EngineLied as lied:
        raise ProbeRefused(f"its answer to a {endpoint} request of ours is none: {lied}") from lied


async def _post(
    client: EngineClient, path: bytes, endpoint: Endpoint, name: str, body: dict[str, Any]
) -> tuple[int, bytes]:
    headers = b"X-Request-Id: %b\r\n" % name.encode()
    try:
        async with (
            asyncio.timeout(PROBE_TIMEOUT_S),
            client.request(path, headers, (orjson.dumps(body),), head_timeout_s=PROBE_TIMEOUT_S) as exchange,
        ):
            return exchange.status, await exchange.body(PROBE_TIMEOUT_S, MOST_BYTES)
    except (EngineUnreachable, EngineBroke, TimeoutError) as error:
        raise Unreachable(f"a {endpoint} request of ours broke off: {str(error) or 'timed out'}") from error


def _object(answer: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(answer)
    except orjson.JSONDecodeError:
        document = None
    return document if isinstance(document, dict) else {}


def _message(answer: bytes) -> str:
    error = _object(answer).get("error")
    return str(error.get("message") if isinstance(error, dict) else error)[:300]
