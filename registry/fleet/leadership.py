"""Who may change the fleet: one row, held for a few seconds at a time, with a token that only grows.

A holder that was paused and comes back is told apart by its token: every write that it makes for the fleet is fenced by
it, in the same transaction.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlalchemy.sql.selectable import ForUpdateParameter

from registry.db import Database, now_ms
from registry.errors import Conflict
from registry.fleet.rows import ControllerLease

TTL_MS = 3_000
"""How long a lease lasts without renewal; a successor waits at most so long after a kill -9."""

BEGINS: ForUpdateParameter = True
RENEWS: ForUpdateParameter = {"key_share": True}
WRITES: ForUpdateParameter = {"key_share": True, "read": True}
"""Locks on the lease's row, in PostgreSQL's words `UPDATE`, `NO KEY UPDATE` and `KEY SHARE`: a term begins when nobody
writes for the one before, and is renewed while somebody does.
"""


@dataclass(frozen=True, slots=True)
class Lease:
    """A term of office. `token` is higher than any before; `address` is where workers reach the holder. `key`, 64
    hexadecimal digits, is another one in each term: by it the holder and its workers prove that they read this row.
    """

    token: int
    holder: str
    address: str
    expires_at_ms: int
    key: str = field(repr=False)


class Leadership:
    """The lease of the fleet's controller."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._seen: tuple[int, int, float] | None = None
        """Of the lease that was held when somebody here wanted it: its token, its end, and when that was seen first."""

    def acquire(self, holder: str, address: str) -> Lease | None:
        """Begin a new term when nobody holds the lease; `None` while somebody does.

        One that nobody renews for a term's length is over too, whatever its end says: the clock was put back since, and
        its holder is dead.
        """
        with self._db.write() as session:
            row = session.get_one(ControllerLease, 1, with_for_update=BEGINS)
            if row.expires_at_ms > now_ms() and not self._is_left(row):
                return None
            row.token += 1
            row.holder, row.address, row.expires_at_ms = holder, address, now_ms() + TTL_MS
            row.key = secrets.token_hex(32)
            return _lease(row)

    def _is_left(self, row: ControllerLease) -> bool:
        """Whether a term's length has passed here since the lease was last seen to be renewed."""
        now_s = time.monotonic()
        if self._seen is None or self._seen[:2] != (row.token, row.expires_at_ms):
            self._seen = row.token, row.expires_at_ms, now_s
        return now_s - self._seen[2] > TTL_MS / 1000

    def renew(self, lease: Lease) -> Lease:
        """Stay for another term's length. Raises `Conflict` when somebody else holds it, or it was released."""
        with self._db.write() as session:
            row = _of_term(session, lease.token, RENEWS)
            row.expires_at_ms = now_ms() + TTL_MS
            return _lease(row)

    def release(self, holder: str) -> None:
        """End a term at once: in order, or by whoever knows that its holder is dead. Not being the holder is no error.

        Holders' names are never used twice.
        """
        with self._db.write() as session:
            row = session.get_one(ControllerLease, 1, with_for_update=BEGINS)
            if row.holder == holder:
                row.expires_at_ms = 0

    def current(self) -> Lease | None:
        """The term in force, if there is one."""
        with self._db.read() as session:
            row = session.scalars(select(ControllerLease)).one()
            return _lease(row) if row.expires_at_ms > now_ms() else None


def check_fence(session: Session, token: int) -> None:
    """Return when `token` is still the newest, which it then is until the transaction ends; raises `Conflict` for a
    controller of the past. The term can be renewed meanwhile: who writes for it may have to wait for other locks.
    """
    _of_term(session, token, WRITES)


def _of_term(session: Session, token: int, lock: ForUpdateParameter) -> ControllerLease:
    row = session.get_one(ControllerLease, 1, with_for_update=lock)
    if row.token != token or row.expires_at_ms == 0:
        raise Conflict(f"the fleet's controller of term {token} was succeeded by term {row.token}", param="token")
    return row


def _lease(row: ControllerLease) -> Lease:
    return Lease(row.token, row.holder, row.address, row.expires_at_ms, row.key)
