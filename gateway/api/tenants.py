"""What the routes of tenants' own things have in common: who asks, what the body is, and where the work is done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Literal, TypeVar

from fastapi import Request

from gateway.api.bounds import RECORD
from gateway.api.client import refuse_too_long
from gateway.api.codings import Read, codings_of, decoding
from gateway.api.credentials import key_of
from gateway.api.fields.checks import unknown_keys
from gateway.api.request import json_object
from gateway.bytes_in_flight import HeldBytes
from gateway.errors import BadRequest, Forbidden, MissingScope, TooSlow
from gateway.handoffs import Principal
from gateway.house import House
from gateway.responses.faults import FAULTS, said_of
from gateway.steps.authenticate import authenticate
from gateway.told import told
from registry.responses.turns import require_possible

T = TypeVar("T")
SCOPE = "training"
"""Of keys that may have files and fine-tuning jobs."""


def who_asks(house: House, request: Request) -> Principal:
    """Raises `Unauthenticated`, `BadRequest`."""
    return authenticate(key_of(request.scope["headers"]), house.catalog.current)


def may_train(house: House, request: Request) -> Principal:
    """Who asks, if the key may have files and jobs. Raises `Unauthenticated`, `MissingScope`."""
    principal = who_asks(house, request)
    if SCOPE not in principal.scopes:
        raise MissingScope("This key may have no files and no fine-tuning jobs", SCOPE)
    return principal


def of_whole_tenant(principal: Principal, what: str) -> Principal:
    """Raises `Forbidden` for a key that is for some adapters alone, where something is of all of them."""
    if principal.adapters is not None:
        raise Forbidden(
            f"{what} is of the whole tenant, and this key is for {', '.join(sorted(principal.adapters))} alone. Ask "
            "with a key for all adapters.",
            code="missing_scope",
        )
    return principal


async def in_turn(house: House, principal: Principal, work: Callable[[], T]) -> T:
    """What some work in the database returns, in this tenant's turn. Raises `ApiError`."""
    with told(FAULTS, said_of):
        return await house.archive.lookups.do(principal.tenant, work)


async def about(
    house: House,
    principal: Principal,
    kind: Literal["response", "conversation"],
    id_: str,
    ask: Callable[..., T],
    *more: Any,
) -> T:
    """What `ask` says of something that is kept of the tenant's. Of what no id can be nobody is asked. Raises
    `ApiError`.
    """

    def work() -> T:
        require_possible(kind, id_)
        return ask(principal.tenant, id_, house.archive.since_ms(principal), *more)

    return await in_turn(house, principal, work)


async def may_store(house: House, principal: Principal) -> None:
    """Return if there is room for more of the tenant's. Raises `ApiError`."""
    with told(FAULTS, said_of):
        await house.archive.quota.look(principal)


async def body_of(house: House, principal: Principal, request: Request, known: Collection[str]) -> dict[str, Any]:
    """The JSON object that is sent, with the bounds that bodies of inference have: what is put down is a request among
    the tenant's others, as nothing else of it is counted. Fields that are not `known` are refused, unless the key
    allows them. Raises `ApiError`.
    """
    most_bytes = house.caps.max_body_bytes
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length) > most_bytes:
        await refuse_too_long(most_bytes)
    read: Read = partial(_read, request, most_bytes)
    if codings := [one for value in request.headers.getlist("content-encoding") for one in codings_of(value.encode())]:
        read = decoding(read, codings, most_bytes, house.desk.do)
    timeout_s, admission = house.settings.body_timeout_s, house.admission
    with await house.limits.enter(house.catalog.current, principal), admission.bytes.held_for(principal.tenant) as held:
        with admission.bodies.place(principal.tenant):
            try:
                async with asyncio.timeout(timeout_s):
                    raw = await read(held)
            except TimeoutError:
                message = f"The body came too slowly: send it within {timeout_s:g} s."
                raise TooSlow(message, code="body_timeout") from None
        body = await house.desk.ask(principal.tenant, len(raw), partial(json_object, raw, house.caps, RECORD))
    unknown = [name[:64] for name in body if name not in known]
    if unknown and not principal.allow_unknown_fields:
        raise unknown_keys(unknown)
    return body


async def _read(request: Request, most_bytes: int, held: HeldBytes) -> bytes:
    parts, length = [], 0
    async for part in request.stream():
        length += len(part)
        if length > most_bytes:
            await refuse_too_long(most_bytes)
        held.asked(length)
        parts.append(part)
    return b"".join(parts)


def whole_number(request: Request, name: str, default: int, most: int) -> int:
    """A number from 1 on in the query. Raises `BadRequest`."""
    given = request.query_params.get(name)
    if given is None:
        return default
    if not (given.isascii() and given.isdigit() and 1 <= int(given[:9]) <= most):
        raise BadRequest(
            f"'{name}' must be a whole number from 1 to {most}, not '{given[:40]}'.", param=name, code="invalid_value"
        )
    return int(given)


def one_in_query(request: Request, name: str, default: str, *others: str) -> str:
    """One of these words in the query. Raises `BadRequest`."""
    given = request.query_params.get(name, default)
    if given not in (default, *others):
        choices = ", ".join(f"'{one}'" for one in (default, *others))
        raise BadRequest(f"'{name}' must be one of {choices}, not '{given[:40]}'.", param=name, code="invalid_value")
    return given
