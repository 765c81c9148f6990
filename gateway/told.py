"""What the registry says no to, in the words of a subject's clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DataError

from gateway.errors import ApiError, BadRequest

UNSTORABLE = (DataError, UnicodeEncodeError)
"""No trouble of the database's: it was asked with a value that none of its texts or numbers can be."""


@contextmanager
def told(faults: tuple[type[Exception], ...], said_of: Callable[[Exception], ApiError]) -> Iterator[None]:
    """Raises what the block raises, and `ApiError` for one of `faults`, for which `said_of` has the words."""
    try:
        yield
    except UNSTORABLE as error:
        raise unstorable() from error
    except faults as error:
        raise said_of(error) from error


def unstorable() -> BadRequest:
    """What is said of such a value, where no rule of ours has found it before."""
    return BadRequest(
        "A value of the request cannot be stored: a text with a NUL character or half a surrogate pair, or a number "
        "out of range. Send another one.",
        code="invalid_value",
    )
