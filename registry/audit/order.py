"""What an operator orders, and which order is carried out. Knows no table: a command that only reads pays nothing."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from registry.db import Database

Outcome = Literal["done", "refused", "failed"]
CARRIES_OUT = "order"
"""In the `info` of a session that writes: the order that it carries out, if it does."""
MOST_ROWS = 100
"""Rows of one order whose change is told; of the others the log has a count."""


@dataclass(frozen=True, slots=True)
class Ordered:
    """Who orders what; nothing in it is a secret."""

    actor: str
    """The operator, or who was at the keyboard."""
    via: Literal["api", "command"]
    route: str
    """`/admin/v1/swaps/{id}` as it is declared, or `switchyard keys create`."""
    object: str
    """What it is about: `acme/triage@1.1`, an engine's URL, a key's id; may be empty."""
    tenant: str | None
    method: str | None = None
    path: str | None = None
    key_id: str | None = None
    """`None`: the root key, or a command."""
    role: str | None = None
    address: str | None = None
    """Where the request came from."""
    request_id: str | None = None
    body: Mapping[str, Any] = field(default_factory=dict)
    """The order's fields, or a command's parameters."""


class Order:
    """One order while it is carried out."""

    def __init__(self, ordered: Ordered) -> None:
        self.ordered = ordered
        self.seq: int | None = None
        """Of its first line; `None`: it has none yet."""
        self.rows_left = MOST_ROWS
        self.rows_untold = 0
        self._db: Database | None = None
        self._is_over = False
        self._writing = threading.Lock()

    def begin(self, db: Database) -> None:
        """Write down in `db` what is ordered, unless that is done."""
        with self._writing:
            if self._db is None and not self._is_over:
                from registry.audit.log import write_order

                self.seq = write_order(db, self.ordered)
                self._db = db

    def end(self, outcome: Outcome, *, status: int | None = None, error: str | None = None) -> Database | None:
        """Write down what came of it, where something was begun; the database in which it is. From now on it takes no
        changes.
        """
        with self._writing:
            self._is_over = True
            if self._db is not None:
                from registry.audit.log import write_end

                write_end(self._db, self, outcome, status=status, error=error)
            return self._db

    @property
    def takes_changes(self) -> bool:
        """Whether what a transaction changes now is its doing."""
        return self.seq is not None and not self._is_over


CURRENT: ContextVar[Order | None] = ContextVar("switchyard_order", default=None)
"""The order that this task, or the thread of a command, carries out."""
