"""The headers in which a client may send its key: OpenAI's, Azure's and Anthropic's clients have one each."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import Request

from gateway.errors import BadRequest

AUTHORIZATION = b"authorization"
KEY_HEADERS = frozenset({AUTHORIZATION, b"api-key", b"x-api-key"})


def key_of(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The key among headers, whose names are in lower case; what is in `Authorization` under another scheme than
    `Bearer` is none.

    Raises `BadRequest` for two different keys, and for two `Authorization` headers whatever they say: who is meant is
    not to be guessed, and a proxy in front may have looked at the other one.
    """
    key, authorized = None, False
    for name, value in headers:
        if name not in KEY_HEADERS:
            continue
        text = value.decode("latin-1")
        if name == AUTHORIZATION:
            if authorized:
                raise _ambiguous("two 'Authorization' headers")
            authorized = True
            scheme, _, text = text.partition(" ")
            if scheme.lower() != "bearer":
                continue
        found = text.strip()
        if key is not None and found and found != key:
            raise _ambiguous("two different API keys")
        key = found or key
    return key


async def refuse_two_keys(request: Request) -> None:
    """Of all routes, whichever header they read. Raises as `key_of`."""
    key_of(request.scope["headers"])


def _ambiguous(what: str) -> BadRequest:
    return BadRequest(
        f"There are {what} in the head; send one, in 'Authorization: Bearer', 'api-key' or 'x-api-key'.",
        code="ambiguous_api_key",
    )
