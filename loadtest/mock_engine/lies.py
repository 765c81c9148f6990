"""Answers that no engine gives, for whom must not believe them: the fault `lies`, of requests with an X-Request-Id."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal, get_args

import orjson

Json = dict[str, Any]
Lie = Literal[
    "",
    "no usage",
    "spaces",
    "other model",
    "huge usage",
    "negative usage",
    "float usage",
    "string usage",
    "shrinking usage",
    "two usages",
    "long",
    "switch",
    "hints",
    "many headers",
    "long header",
    "trailers",
    "two answers",
    "leaks",
]
LIES: tuple[str, ...] = get_args(Lie)
HUGE = 1 << 40
LONG_BYTES = 40 << 20
"""Of a line without end, or of a document."""
PIECE = b"x" * (1 << 16)
LEAK = 'cannot open /root/.cache/models/secret/config.json\nWARNING forged[1]: at http://10.1.2.3:8001/ "quoted"'
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_CHUNKED = _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
_ONE = _HEAD + b"Content-Length: 2\r\n\r\n{}"
RAW: dict[str, bytes] = {
    "switch": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "hints": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + _ONE,
    "many headers": _HEAD + b"".join(b"X-%d: y\r\n" % number for number in range(500)) + b"Content-Length: 2\r\n\r\n{}",
    "long header": _HEAD + b"X-Long: " + b"y" * (1 << 20),
    "trailers": _CHUNKED + b"2\r\n{}\r\n0\r\n" + b"X-Trailer: y\r\n\r\n",
    "two answers": _ONE + _ONE,
}
"""What is written instead of an answer."""


def _counted(change: Callable[[Json], object]) -> Callable[[Json], object]:
    return lambda event: change(event["usage"]) if event.get("usage") else None


def _set(value: Any) -> Callable[[Json], object]:
    return _counted(lambda usage: usage.update(prompt_tokens=value))


def _shrink(usage: Json) -> None:
    usage["completion_tokens"] = max(0, 8 - usage["completion_tokens"])


CHANGES: dict[str, Callable[[Json], object]] = {
    "no usage": lambda event: event.pop("usage", None),
    "other model": lambda event: event.update(model="another-model"),
    "huge usage": _set(HUGE - 1),
    "negative usage": _set(-5),
    "float usage": _set(5.0),
    "string usage": _set("5"),
    "shrinking usage": _counted(_shrink),
}


def told(lie: str, event: Json) -> bytes:
    """A document, or what an event says, as this lie has it."""
    if change := CHANGES.get(lie):
        change(event)
    if lie == "spaces":
        return json.dumps(event).encode()
    data = orjson.dumps(event)
    if lie == "two usages" and "usage" in event:
        return data[:-1] + b',"usage":' + orjson.dumps(event["usage"]) + b"}"
    return data
