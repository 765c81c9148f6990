"""Numbers that a person types are numbers that can be stored and compared, whatever the option."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Any

from registry.errors import InvalidInput

MOST = 2**63 - 1
"""The largest whole number of a database."""


def bound_numbers(command: Any) -> None:
    """Let a click command, or every command of a group, refuse what is no such number."""
    for below in getattr(command, "commands", {}).values():
        bound_numbers(below)
    if command.callback is not None and not hasattr(command, "commands"):
        command.callback = _bounding(command.callback)


def _bounding(callback: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(callback)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        for name, value in kwargs.items():
            for one in value if isinstance(value, list | tuple) else (value,):
                _check(name, one)
        return callback(*args, **kwargs)

    return bounded


def _check(name: str, value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidInput(f"{name} is {value}; expected a finite number", param=name)
    if isinstance(value, int) and abs(value) > MOST:
        raise InvalidInput(f"{name} is {str(value)[:40]}; expected a number from {-MOST} to {MOST}", param=name)
