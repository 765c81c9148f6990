"""What becomes of a body beyond its bytes, at most, in the prompt that an engine reads.

Tools and calls of tools count once more as chat templates print them, which is with spaces and on lines of their own.
The clerk does it for large bodies (`gateway.clerk_process`), so it imports nothing that asks a database or an engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from gateway.handoffs import Dialect
from gateway.sealed_body import SealedBody
from registry.bases.normalization import growth
from registry.bases.token_bound import TokenBound

SPEAKS_OF = frozenset({"tools", "documents", "chat_template_kwargs", "reasoning_effort"})
"""Fields for which a template may say what it says in no rendering of a base's: as much as all of it, at most."""


def additions(dialect: Dialect, body: Mapping[str, Any], bound: TokenBound) -> tuple[int, int]:
    """Of what is read more than once, and of templates and normalisation: bytes at most."""
    if isinstance(body, SealedBody):
        body = {**body}
    return dialect.added_tokens(body), added_bytes(body, bound)


def added_bytes(body: Mapping[str, Any], bound: TokenBound) -> int:
    """The most that templates and normalisation add to the bytes of a body."""
    added = printed_bytes(body)
    if "messages" in body and not SPEAKS_OF.isdisjoint(body):
        added += bound.template_bytes
    return added + growth(_texts(body)) if bound.composes else added


def _texts(value: Any) -> Iterator[str]:
    """Every text in a checked body, wherever it stands: what a template makes of one is its own affair."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from _texts(inner)
    elif isinstance(value, list) and not (value and isinstance(value[0], int)):  # ids of tokens are no texts
        for inner in value:
            yield from _texts(inner)


def printed_bytes(body: Mapping[str, Any]) -> int:
    """The most that a template makes of the JSON in a body. Llama's indents by 4: at most twice as much as by 2."""
    if "messages" not in body:
        return 0
    printed = [body[name] for name in ("tools", "documents") if body.get(name)]
    for message in body.get("messages", ()):
        for call in message.get("tool_calls") or ():
            printed += (call, _parsed(call["function"]["arguments"]))  # the engine parses them for the template
    return 2 * sum(len(orjson.dumps(one, option=orjson.OPT_INDENT_2)) for one in printed)


def _parsed(arguments: str) -> Any:
    try:
        return orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments
