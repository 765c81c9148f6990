"""What the registry says of state that is not there, or cannot be read, as clients of Responses are told it."""

from __future__ import annotations

import logging

from sqlalchemy.exc import SQLAlchemyError

from gateway.complaints import Complaint
from gateway.errors import ApiError, BadRequest, NotThere, NotWanted, Overloaded
from registry.errors import InvalidInput
from registry.responses.sealing import Unreadable
from registry.responses.turns import NoSuchTurn, NotInBackground, NotStreamed, StillRunning, TooLong

log = logging.getLogger("switchyard.responses")
UNREAD = Complaint(log)
WHY = "It was deleted, is too old, or was never stored ('store': false, or this tenant keeps no responses)."
RETRY_AFTER_S = 5
FAULTS = (NoSuchTurn, NotInBackground, NotStreamed, StillRunning, TooLong, Unreadable, InvalidInput, SQLAlchemyError)
"""What `said_of` knows."""
PREVIOUS = "previous_response_id"


def said_of(error: Exception, param: str | None = None) -> ApiError:
    """One of `FAULTS` as a client is told it; `param` is the field of a body that named what it is about."""
    if isinstance(error, NoSuchTurn):
        return _missing(error, param)
    if isinstance(error, NotInBackground):
        return BadRequest(
            "Only a response that was created with 'background': true can be cancelled.", code="not_in_background"
        )
    if isinstance(error, NotStreamed):
        return BadRequest(
            "Only a response that was created with 'background': true and 'stream': true has a stream that can be "
            "taken up again. Ask without 'stream' until its status is final.",
            param="stream",
            code="not_streamed",
        )
    if isinstance(error, StillRunning):
        text = "It is not complete yet. Wait until its status is 'completed', or cancel it."
        return BadRequest(f"{error.message}. {text}", param=param, code="response_not_completed")
    if isinstance(error, TooLong):
        return BadRequest(
            f"{error.message}. Begin a new conversation with a summary of this one.",
            param=param,
            code="conversation_too_long",
        )
    if isinstance(error, InvalidInput):
        return BadRequest(f"{error.message}.", param=error.param, code="invalid_value")
    if isinstance(error, Unreadable):  # which key is wrong is the operator's to know
        UNREAD.report("stored state cannot be read", error)
        return Overloaded(
            "What is stored cannot be read now; the operator must look at it.",
            code="state_unreadable",
            retry_after_s=RETRY_AFTER_S,
        )
    UNREAD.report("the database cannot be asked for stored state", error)
    return Overloaded(
        "Stored state cannot be read or changed now.", code="store_unavailable", retry_after_s=RETRY_AFTER_S
    )


def not_wanted() -> NotWanted:
    """Of a response that was made in the background."""
    return NotWanted("The response was cancelled or deleted.", code="response_cancelled")


def _missing(error: NoSuchTurn, param: str | None) -> ApiError:
    if param == PREVIOUS:
        return BadRequest(
            f"Previous response with id '{error.id[:80]}' not found. {WHY} Send the whole conversation as 'input'.",
            param=param,
            code="previous_response_not_found",
        )
    what = error.kind.capitalize()
    return NotThere(f"{what} with id '{error.id[:80]}' not found. {WHY}", param=param, code=f"{error.kind}_not_found")
