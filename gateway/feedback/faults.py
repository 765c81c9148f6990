"""What the registry says of feedback, as clients are told it."""

from __future__ import annotations

import logging

from sqlalchemy.exc import SQLAlchemyError

from gateway.complaints import Complaint
from gateway.errors import ApiError, NotAgain, NotThere, Overloaded, RateLimited
from registry.errors import RegistryError
from registry.outcomes.said import FeedbackIsFull, KeyOfOtherFeedback
from registry.responses.sealing import Unreadable

FAULTS = (KeyOfOtherFeedback, FeedbackIsFull, Unreadable, SQLAlchemyError)
"""What `said_of` knows."""
RETRY_AFTER_S = 5
FAILED = Complaint(logging.getLogger("switchyard.feedback"))


class FeedbackExceeded(RateLimited):
    """A tenant has given as much feedback as is kept; that ends with its age, and not with a few seconds."""

    should_retry = False


def said_of(error: Exception) -> ApiError:
    """One of `FAULTS` as a client is told it."""
    if isinstance(error, KeyOfOtherFeedback):
        return NotAgain(f"{_sentence(error)}", param=error.param, code="idempotency_key_reused")
    if isinstance(error, FeedbackIsFull):
        return FeedbackExceeded(
            f"{_sentence(error)} Ask the operator for more (SWITCHYARD_MAX_OUTCOMES), or to delete some.",
            code="feedback_full",
        )
    FAILED.report("feedback cannot be read or stored", error)
    return Overloaded(
        "Feedback cannot be stored or read now. Send it again.",
        code="feedback_unavailable",
        retry_after_s=RETRY_AFTER_S,
    )


def unknown_answer(response_id: str, param: str) -> NotThere:
    """No answer of the tenant's has that id; another tenant's looks exactly like none."""
    return NotThere(
        f"'{param}' is '{response_id[:100]}', which is the id of no answer that is known, or of one so old that it "
        "is archived. Send an answer's 'id', or its header x-request-id, with the key of the tenant that got it.",
        param=param,
        code="response_not_found",
    )


def _sentence(error: RegistryError) -> str:
    return f"{error.message[:1].upper()}{error.message[1:]}."
