"""A form under way: its bytes go to a draft as they come, in bounded memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from fastapi import Request

from gateway.api.client import BODY_GRACE_S, ClientGone
from gateway.api.media import refuse_coded
from gateway.api.tenants import may_train
from gateway.errors import ApiError, TooSlow
from gateway.files.faults import said_of
from gateway.files.form import MOST_FORM_BYTES, FormReader, boundary_of
from gateway.handoffs import Principal
from gateway.house import House
from registry.tenant_files.draft import PartDraft, TooLong

T = TypeVar("T")
BODY_READ = "switchyard.body_read"
"""In a scope, when all of the body has come."""
CLOSE = (b"connection", b"close")
BATCH_BYTES = 1 << 20
"""So much goes to a thread at once."""


@dataclass(frozen=True, slots=True)
class Intake(Generic[T]):
    """What becomes of a form with a file. All of it but the question how long the file may be runs in a thread."""

    most_bytes: int
    """Of the file."""
    begin: Callable[[Principal, int | None], PartDraft]
    """Takes how long the head says that the body is."""
    reader: Callable[[Principal, bytes, PartDraft], FormReader]
    """Takes the form's boundary."""
    keep: Callable[[PartDraft, FormReader], T]
    """When all is there."""


async def taken(house: House, request: Request, intake: Intake[T]) -> T:
    """What `keep` makes of a form. Nothing of it is left behind when anything goes wrong. Raises `ApiError`,
    `ClientGone`.

    Before a byte of the body is read it is known who sends it, and there is a place, and room for as much as the head
    says. Clients look at an answer when they have sent all of a body, or when the connection ends: so it ends with a
    refusal that comes before that.
    """
    try:
        principal = may_train(house, request)
        boundary = boundary_of(request.headers.get("content-type", ""))
        refuse_coded(request.headers.get("content-encoding", "").encode())
        given = request.headers.get("content-length", "")
        length = int(given) if given.isascii() and given.isdigit() else None
        if length is not None and length > intake.most_bytes + MOST_FORM_BYTES:
            raise said_of(TooLong(intake.most_bytes))
        places = house.admission.uploads
        with await house.limits.enter(house.catalog.current, principal), places.place(principal.tenant):
            return await _drafted(house, request, principal, intake, (boundary, length))
    except ApiError as error:
        if request.scope.get(BODY_READ) is None and CLOSE not in error.headers:
            error.headers = (*error.headers, CLOSE)
        raise


async def _drafted(
    house: House, request: Request, principal: Principal, intake: Intake[T], head: tuple[bytes, int | None]
) -> T:
    cabinet, tenant = house.cabinet, principal.tenant
    boundary, length = head
    draft = await cabinet.do(tenant, partial(intake.begin, principal, length))
    try:
        reader = intake.reader(principal, boundary, draft)
        async for batch in _batches(request, house, intake.most_bytes + MOST_FORM_BYTES):
            await cabinet.do(tenant, partial(reader.write, batch))
        return await cabinet.do(tenant, partial(_kept, reader, draft, intake.keep))
    except BaseException:
        await cabinet.drop(draft)
        raise


def _kept(reader: FormReader, draft: PartDraft, keep: Callable[[PartDraft, FormReader], T]) -> T:
    reader.close()
    return keep(draft, reader)


async def _batches(request: Request, house: House, most_bytes: int) -> AsyncIterator[bytes]:
    """The body in pieces of about `BATCH_BYTES`. Raises `ClientGone`, `TooSlow`, `PayloadTooLarge`."""
    settings = house.settings
    timeout_s, least_per_s = settings.file_timeout_s, settings.body_min_bytes_per_s
    clock, loop = 0.0, asyncio.get_running_loop()
    length, held, held_bytes, more = 0, [], 0, True
    while more:
        began_s = loop.time()
        left_s = min(BODY_GRACE_S + length / least_per_s, timeout_s) - clock
        try:
            async with asyncio.timeout(max(left_s, 0)):
                message = await request.receive()
        except TimeoutError:
            raise TooSlow(
                f"The file came too slowly: send it within {timeout_s:g} s, and no slower than {least_per_s} bytes a "
                f"second after the first {BODY_GRACE_S:g} s.",
                code="body_timeout",
            ) from None
        clock += loop.time() - began_s  # not what we take to store it
        if message["type"] == "http.disconnect":
            raise ClientGone
        part, more = message.get("body", b""), message.get("more_body", False)
        length, held_bytes = length + len(part), held_bytes + len(part)
        if length > most_bytes:
            raise said_of(TooLong(most_bytes))
        held.append(part)
        if held_bytes >= BATCH_BYTES or not more:
            yield b"".join(held)
            held, held_bytes = [], 0
    request.scope[BODY_READ] = True
