"""No text that an address names has a NUL character: PostgreSQL takes it in none, and no name of ours has one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import Request

from gateway.errors import BadRequest

NUL, ENCODED = "\0", b"%00"


async def refuse_nul(request: Request) -> None:
    """Of all routes with parameters, in their paths and queries. Raises `BadRequest`."""
    given: Iterable[tuple[str, Any]] = request.path_params.items()
    if ENCODED in request.scope["query_string"]:
        given = [*given, *request.query_params.multi_items()]
    for name, value in given:
        if NUL in name or NUL in str(value):
            raise with_nul(name)


def with_nul(param: str) -> BadRequest:
    """What is said of a text that has one."""
    shown = param.replace(NUL, "")[:80]
    return BadRequest(f"'{shown}' has a NUL character; leave it out.", param=shown, code="invalid_value")


def nul_in(value: Any, path: str = "") -> str | None:
    """The first place in a document where a text has one, if any does."""
    if isinstance(value, str):
        return path if NUL in value else None
    if isinstance(value, Mapping):
        parts = [(one, f"{path}.{name}".removeprefix(".")) for name, one in value.items()]
        parts += [(name, path) for name in value]
    elif isinstance(value, list | tuple):
        parts = [(one, f"{path}[{number}]") for number, one in enumerate(value)]
    else:
        return None
    return next((found for one, at in parts if (found := nul_in(one, at)) is not None), None)
