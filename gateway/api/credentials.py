"""The headers in which a client may send its key: OpenAI's, Azure's and Anthropic's clients have one each."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.errors import BadRequest

KEY_HEADERS = frozenset({b"authorization", b"api-key", b"x-api-key"})


def key_of(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The key among headers, whose names are in lower case. Raises as `same_key`."""
    key = None
    for name, value in headers:
        if name in KEY_HEADERS:
            key = same_key(name, value, key)
    return key


def same_key(name: bytes, value: bytes, known: str | None) -> str | None:
    """The key in one of `KEY_HEADERS`, if it has one, else the one that is known from others.

    What is in `Authorization` under another scheme than `Bearer` is no key. Raises `BadRequest` for two different ones:
    which tenant is meant is not to be guessed.
    """
    text = value.decode("latin-1")
    if name == b"authorization":
        scheme, _, text = text.partition(" ")
        if scheme.lower() != "bearer":
            return known
    key = text.strip()
    if known is not None and key and key != known:
        raise BadRequest(
            "There are two different API keys in the head; send one, in 'Authorization: Bearer', 'api-key' or "
            "'x-api-key'.",
            code="ambiguous_api_key",
        )
    return key or known
