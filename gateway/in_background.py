"""A response that is made while nobody waits for it: answered at once, stored as it goes, ended by whom it concerns."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import cast

from gateway.api.respond import Respond
from gateway.desk import Desk
from gateway.errors import ApiError, Overloaded, Unauthenticated
from gateway.handoffs import KEY_OVER, Admitted
from gateway.keeping import Answered, Keeping, KeptAnswer, Status
from gateway.responses.archive import Archive
from gateway.responses.faults import not_wanted
from gateway.responses.recording import Recording
from gateway.steps.keep import stored, turn_of

FAULT = ApiError("The gateway failed on this request; it is our fault.", code="internal_error")
REVOKED = Unauthenticated("The API key of this response was revoked, or reached its end.", code="revoked_api_key")
STOPPED = Overloaded("The gateway was stopped while it made this response. Send it again.", code="shutting_down")


async def in_background(
    admitted: Admitted,
    keeping: Keeping,
    archive: Archive,
    desk: Desk,
    respond: Respond,
    answer: Callable[[], Awaitable[None]],
) -> None:
    """Store that the response is queued, tell the client, and `answer`, whether or not the client is there.

    The request keeps its places and what it holds, as any other does. Raises what `answer` raises, and `NotStored`.
    """
    queued = _without_output(admitted, "queued", None)
    run = admitted.principal.tenant, queued.id
    try:
        await stored(archive, desk, turn_of(archive, admitted, keeping, queued))
        if admitted.request.stream:
            await archive.writer.do(partial(archive.streams.begin, *run))
            respond.seen_by(Recording(archive.writer, archive.streams, run).take)
    except BaseException:  # who gave up on it may find it stored all the same, and nobody makes it
        _end(archive, admitted, keeping, _without_output(admitted, "cancelled", None))
        raise
    with archive.runs.watched(run):
        admitted.call.let_go()
        if not admitted.request.stream:
            await respond.answer_now(queued.document)
        archive.writer.leave(partial(archive.responses.begin, *run))
        try:
            await answer()
        except ApiError as error:
            made = cast("KeptAnswer | None", respond.reader)
            ended = _without_output(admitted, "failed", error) if made is None else made.broken_off(error)
            _end(archive, admitted, keeping, ended)
            raise
        except asyncio.CancelledError as error:
            if archive.runs.is_unwanted(run):
                _uncancel()
                raise not_wanted() from None
            why = REVOKED if error.args == (KEY_OVER,) else STOPPED
            _end(archive, admitted, keeping, _without_output(admitted, "failed", why))
            raise
        except Exception:
            _end(archive, admitted, keeping, _without_output(admitted, "failed", FAULT))
            raise


def _without_output(admitted: Admitted, status: Status, error: ApiError | None) -> Answered:
    """See `Dialect.without_output`."""
    return admitted.request.dialect.without_output(admitted, status, error)


def _end(archive: Archive, admitted: Admitted, keeping: Keeping, ended: Answered) -> None:
    """Let it be stored as ended so, if it is stored: nobody waits for that. If this process ends before, the leader
    finds out.
    """
    turn = turn_of(archive, admitted, keeping, ended)
    archive.runs.let_be((turn.tenant, turn.id))
    archive.writer.leave(partial(archive.responses.end, turn))


def _uncancel() -> None:
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()
