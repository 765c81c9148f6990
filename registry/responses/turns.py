"""What is stored of a response and read again: values that any thread may hold."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from registry.errors import RegistryError

Status = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]
RUNNING: tuple[Status, ...] = ("queued", "in_progress")
ANSWERED: tuple[Status, ...] = ("completed", "incomplete")
Item = Mapping[str, Any]
"""One of OpenAI's items: a message, a call of a tool, its output, thoughts. Stored ones have an `id`."""


class Turn(NamedTuple):
    """One response as it is stored."""

    tenant: str
    id: str
    key_id: str
    created_at_ms: int
    status: Status
    model: str
    """As the client asked for it."""
    items: Sequence[Item]
    """Its own input, without what came from earlier turns."""
    output: Sequence[Item]
    document: bytes
    """As the client gets it, with the output in it: JSON."""
    unit: str
    """What stays on one arm of a split: that of the turn which began it all."""
    previous_id: str | None = None
    conversation_id: str | None = None
    worker: str | None = None
    """Which worker makes it in the background; `None` when it was made before a waiting client."""
    items_bytes: int = 0
    """About how much memory the items take, at most."""


class SealedTurn(NamedTuple):
    """One response as it lies in the database."""

    row: tuple[Any, ...]
    """A value for each column, in their order."""
    bytes: int
    """About how much memory it takes, with the request that waits for it."""
    turn: Turn | None
    """Of one that is more than this row: one that runs in the background, or is a turn of a conversation."""


@dataclass(frozen=True, slots=True)
class Recalled:
    """What came before a turn."""

    items: list[Item]
    """Oldest first."""
    bytes: int
    """How long they are as JSON."""
    unit: str | None


_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")


class NoSuchTurn(RegistryError):
    """A response, a conversation or an item is not there: deleted, too old, never stored, or another tenant's."""

    def __init__(self, kind: Literal["response", "conversation", "item"], id_: str) -> None:
        super().__init__(f"there is no {kind} {id_[:80]!r}")
        self.kind = kind
        self.id = id_


def require_possible(kind: Literal["response", "conversation", "item"], id_: str) -> None:
    """Raise `NoSuchTurn` for what no id can be, and not every database can be asked for."""
    if not _ID.fullmatch(id_):
        raise NoSuchTurn(kind, id_)


class StillRunning(RegistryError):
    """A response that is not complete cannot be gone on from."""


class NotInBackground(RegistryError):
    """Only a response that is made in the background can be cancelled."""


class NotStreamed(RegistryError):
    """Only a response that is made in the background, and as a stream, has one that can be taken up again."""


class TooLong(RegistryError):
    """What came before a turn is more than can be recalled."""
