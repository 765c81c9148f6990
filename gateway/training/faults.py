"""What the registry says of jobs, as clients are told it."""

from __future__ import annotations

import logging

from sqlalchemy.exc import SQLAlchemyError

from gateway.complaints import Complaint
from gateway.errors import ApiError, BadRequest, NotThere, Overloaded, RateLimited
from registry.errors import InvalidInput
from registry.responses.sealing import Unreadable
from registry.training.jobs import JobHasEnded, KeyOfAnotherOrder, NoSuchJob, TooManyJobs
from registry.webhooks.endpoints import NoSuchEndpoint

FAULTS = (
    NoSuchJob,
    NoSuchEndpoint,
    Unreadable,
    JobHasEnded,
    KeyOfAnotherOrder,
    TooManyJobs,
    InvalidInput,
    SQLAlchemyError,
)
"""What `said_of` knows."""
RETRY_AFTER_S = 5
FAILED = Complaint(logging.getLogger("switchyard.training"))


class JobsExceeded(RateLimited):
    """A tenant has as many unfinished jobs as it may; that ends with a job, and not with a few seconds."""

    should_retry = False


def said_of(error: Exception) -> ApiError:
    """One of `FAULTS` as a client is told it."""
    if isinstance(error, NoSuchJob):
        return NotThere(f"Could not find fine-tuning job: {error.id[:80]}.", param=error.param, code="job_not_found")
    if isinstance(error, NoSuchEndpoint):
        return NotThere(f"{error.message}.", param=error.param, code="webhook_endpoint_not_found")
    if isinstance(error, TooManyJobs):
        return JobsExceeded(f"{error.message}.", code="rate_limit_exceeded")
    if isinstance(error, KeyOfAnotherOrder):
        return BadRequest(f"{error.message}.", param=error.param, code="idempotency_key_reused")
    if isinstance(error, JobHasEnded):
        return BadRequest(f"{error.message}.", param=error.param, code="job_has_ended")
    if isinstance(error, InvalidInput):
        return BadRequest(f"{error.message}.", param=error.param, code="invalid_value")
    FAILED.report("fine-tuning jobs or webhooks cannot be read", error)
    return Overloaded(
        "Fine-tuning jobs and webhooks cannot be read or changed now. Try again.",
        code="jobs_unavailable",
        retry_after_s=RETRY_AFTER_S,
    )
