"""What can go wrong between a page and the gateway, as one tree; `web.py` makes pages of it."""

from __future__ import annotations


class Fault(Exception):
    """A sentence for people in `str`, and what to do about it."""

    status = 502
    """Of the page that tells it."""
    title = "The gateway could not answer"

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class Unreachable(Fault):
    """Nobody answers, or not in time."""

    title = "The gateway is away"


class Busy(Fault):
    """A gateway answers that it cannot say now: no leader, or its database is away."""

    status = 503
    title = "The gateway cannot say now"


class LoggedOut(Fault):
    """There is no session, or the gateway knows its key no more."""

    status = 401
    title = "Log in"


class Refused(Fault):
    """The key may not do this."""

    status = 403
    title = "This key may not do that"


class Missing(Fault):
    """There is no such thing, or this gateway has no such route."""

    status = 404
    title = "There is no such thing"


class Invalid(Fault):
    """An order that the gateway does not take as it is."""

    status = 400
    title = "The order was refused"

    def __init__(self, message: str, remedy: str = "", *, field: str | None = None) -> None:
        super().__init__(message, remedy)
        self.field = field
        """Which one is at fault, by the API's name."""
