"""Work for a clerk, whose process imports this file and nothing else of the tests."""

from __future__ import annotations

from collections.abc import Callable

from gateway.errors import ModelNotFound


def refuse() -> None:
    """Raises an error that is made of something else than its message."""
    raise ModelNotFound("acme/x")


def fall() -> None:
    """Fails."""
    raise ZeroDivisionError("of ours")


def unspeakable() -> Callable[[], None]:
    """Returns what cannot be pickled."""
    return lambda: None
