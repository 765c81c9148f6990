"""The answer to a request is stored before its client is told that it is complete."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial

from gateway.desk import LARGE_BYTES, Desk
from gateway.handoffs import Admitted
from gateway.keeping import Answered, Keeping
from gateway.responses.archive import Archive
from gateway.responses.faults import not_wanted, said_of
from registry.errors import RegistryError
from registry.responses.turns import Turn


def keep(archive: Archive, desk: Desk, admitted: Admitted, keeping: Keeping, answered: Answered) -> Awaitable[None]:
    """Done when it is stored. Raises `NotStored`, as what is awaited does; of a turn of a conversation that raises
    `Overloaded` too, when that is unreadable, and of one in the background `NotWanted`.

    No coroutine for the usual answer, which has nothing to be read: of those that a request is in, each has to be gone
    through when it goes on.
    """
    turn = turn_of(archive, admitted, keeping, answered)
    if keeping.background or keeping.conversation_id is not None:
        return _kept_with_others(archive, desk, turn)
    return stored(archive, desk, turn)


async def _kept_with_others(archive: Archive, desk: Desk, turn: Turn) -> None:
    """What is more than a row of its own."""
    try:
        if turn.worker is None:
            await stored(archive, desk, turn)
            return
        archive.runs.let_be((turn.tenant, turn.id))
        wanted = await archive.writer.do(partial(archive.responses.end, turn))
    except RegistryError as error:
        said = said_of(error)
        said.in_vain = True
        raise said from error
    if not wanted:
        raise not_wanted()


def stored(archive: Archive, desk: Desk, turn: Turn) -> Awaitable[None]:
    """Done when it is committed. Raises `NotStored`, as what is awaited does.

    It is sealed here: the thread that stores it would give the interpreter up for that, and wait for it each time.
    """
    length = len(turn.document) + turn.items_bytes
    if length < LARGE_BYTES:
        return archive.writer.do(archive.responses.sealed(turn))
    return _stored_aside(archive, desk, turn, length)


async def _stored_aside(archive: Archive, desk: Desk, turn: Turn, length: int) -> None:
    await archive.writer.do(await desk.do(turn.tenant, length, partial(archive.responses.sealed, turn)))


def keep_broken_off(archive: Archive, admitted: Admitted, keeping: Keeping, answered: Answered) -> None:
    """Let it be stored what was made of an answer whose client was told that it failed; nobody waits for that."""
    sealed = partial(archive.responses.sealed, turn_of(archive, admitted, keeping, answered))
    archive.writer.leave(lambda: archive.responses.save([sealed()]))


def turn_of(archive: Archive, admitted: Admitted, keeping: Keeping, answered: Answered) -> Turn:
    """What is stored of a request and its answer."""
    call, request, principal = admitted.call, admitted.request, admitted.principal
    if admitted.unit is not None:
        unit = admitted.unit.value
    else:  # no split needed one yet: what it would have been, so that the conversation stays together from now on
        unit = call.unit_header or keeping.unit or request.conversation_id or answered.id
    return Turn(
        tenant=principal.tenant,
        id=answered.id,
        key_id=principal.key_id,
        created_at_ms=keeping.created_at_s * 1000,
        status=answered.status,
        model=request.model,
        items=request.dialect.kept(keeping.items, call.request_id),
        output=answered.output,
        document=answered.document,
        unit=unit,
        previous_id=keeping.previous_id,
        conversation_id=keeping.conversation_id,
        worker=archive.runs.worker if keeping.background else None,
        items_bytes=request.body_bytes,
    )
