"""What is wrong with a body at several places, named in one refusal, so that a client can mend it in one go."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from gateway.errors import BadRequest

T = TypeVar("T")
R = TypeVar("R")

MOST_NAMED = 8
"""Faults, and places of one fault, that an error names."""


class SeveralFaults(BadRequest):
    """Faults in one body; `param` and `code` are the first one's."""

    def __init__(self, faults: list[BadRequest]) -> None:
        more = " There are more." if len(faults) > MOST_NAMED else ""
        first = faults[0]
        super().__init__(
            " ".join(fault.message for fault in faults[:MOST_NAMED]) + more, param=first.param, code=first.code
        )
        self.faults = faults


class Faults(list[BadRequest]):
    """What is wrong; it is looked no further when there is more than a refusal names."""

    def add(self, fault: BadRequest) -> None:
        """One more. Raises `BadRequest` when these are enough."""
        self.extend(fault.faults if isinstance(fault, SeveralFaults) else (fault,))
        if len(self) > MOST_NAMED:
            raise SeveralFaults(self)

    def settle(self) -> None:
        """Raise `BadRequest` if there are any."""
        if self:
            raise self[0] if len(self) == 1 else SeveralFaults(self)


def each(items: Iterable[T], param: str, check: Callable[[T, str], R]) -> list[R]:
    """What `check(item, path)` returns for each item that is not null. Raises `BadRequest` for all that are wrong."""
    kept = []
    faults = Faults()
    for index, item in enumerate(items):
        if item is not None:
            try:
                kept.append(check(item, f"{param}[{index}]"))
            except BadRequest as fault:
                faults.add(fault)
    faults.settle()
    return kept
