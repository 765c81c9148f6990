"""A form under way: its bytes go to a draft as they come, in bounded memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import TypeVar

from fastapi import Request

from gateway.api.client import BODY_GRACE_S, ClientGone, refuse_too_long
from gateway.api.media import refuse_coded
from gateway.errors import TooSlow
from gateway.files.form import MOST_FORM_BYTES, FormReader
from gateway.handoffs import Principal
from gateway.house import House
from registry.tenant_files.draft import Draft

T = TypeVar("T")
BATCH_BYTES = 1 << 20
"""So much goes to a thread at once."""


async def draft_of_form(
    house: House,
    principal: Principal,
    request: Request,
    begin: Callable[[int | None], Draft],
    reader_of: Callable[[Draft], FormReader],
    keep: Callable[[Draft, FormReader], T],
    most_bytes: int,
) -> T:
    """What `keep` makes of a form's file of at most `most_bytes` and its fields. Nothing of it is left behind when
    anything goes wrong. Raises `ApiError`, `ClientGone`.

    Before a byte of the body is read there is a place, and room for as much as the head says.
    """
    refuse_coded(request.headers.get("content-encoding", "").encode())
    given = request.headers.get("content-length", "")
    length = int(given) if given.isascii() and given.isdigit() else None
    if length is not None and length > most_bytes + MOST_FORM_BYTES:
        await refuse_too_long(most_bytes)
    cabinet, tenant = house.cabinet, principal.tenant
    with await house.limits.enter(house.catalog.current, principal), house.admission.uploads.place(tenant):
        draft = await cabinet.do(tenant, partial(begin, length))
        try:
            reader = reader_of(draft)
            async for batch in _batches(request, house, most_bytes + MOST_FORM_BYTES):
                await cabinet.do(tenant, partial(reader.write, batch))
            return await cabinet.do(tenant, partial(_finished, reader, draft, keep))
        except BaseException:
            await cabinet.drop(draft)
            raise


def _finished(reader: FormReader, draft: Draft, keep: Callable[[Draft, FormReader], T]) -> T:
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
            await refuse_too_long(most_bytes)
        held.append(part)
        if held_bytes >= BATCH_BYTES or not more:
            yield b"".join(held)
            held, held_bytes = [], 0
