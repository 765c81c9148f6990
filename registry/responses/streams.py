"""Events of the streams of background responses, so that a client takes one up where it has left it.

Whoever makes the response writes them down as they go out, some at a time and in their order; anybody reads them. Their
places are the numbers that they carry (`sequence_number`), which count from 0.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

from sqlalchemy import delete, func, select, tuple_

from registry.db import Database
from registry.responses.rows import ResponseEvents, StoredResponse
from registry.responses.sealing import Keyring
from registry.responses.turns import NoSuchTurn, NotStreamed, Status
from registry.upsert import upsert

_ROW, _RESPONSE = ResponseEvents, StoredResponse
BEGINNING = -1
"""The place of a row without events, which says that there is a stream."""
EVENT_END = b"\n\n"
READ_AT_ONCE = 8
"""Rows in memory: of as many bytes as their writer takes at once, and the last with a whole response in it."""
DELETED_AT_ONCE = 500
"""Rows that one transaction deletes: it holds up others for milliseconds. At its end PostgreSQL counts each of them in
the amount of its tenant, which takes time that grows with their square.
"""


def place_of(first: int) -> str:
    """Of a sealed value, behind the response's id."""
    return f"events{first}"


class SomeEvents(NamedTuple):
    """Whole events of one stream, one behind the other."""

    tenant: str
    id: str
    first: int
    """The number of the first of them."""
    events: bytes
    ended: bool
    """Whether none follows."""


@dataclass(frozen=True, slots=True)
class Streamed:
    """Some of a stream, from where it was asked for."""

    events: bytes
    """Whole ones, as they went out."""
    next: int
    """The number of the one behind them."""
    ended: bool
    """Whether none follows."""
    status: Status
    """The response's, which may be at its end before its last events are here."""


class ResponseStreams:
    """Of all tenants. `since_ms` as in `StoredResponses`."""

    def __init__(self, db: Database, keyring: Keyring) -> None:
        self._db = db
        self._keyring = keyring

    def begin(self, tenant: str, id_: str) -> None:
        """The response of this id, which is there, has a stream."""
        with self._db.write() as session:
            session.add(_ROW(tenant=tenant, id=id_, first=BEGINNING, count=1, ended=False, events=b""))

    def append(self, some: Sequence[SomeEvents]) -> None:
        """Write these down in one transaction, all or none. Each may be done again, with more events.

        Of a response that was deleted nothing is written.
        """
        ordered = sorted(some)  # all who write lock amounts of tenants in one order
        rows = [
            {
                "tenant": one.tenant,
                "id": one.id,
                "first": one.first,
                "count": one.events.count(EVENT_END),
                "ended": one.ended,
                "events": self._keyring.seal(one.events, one.tenant, one.id, place_of(one.first)),
            }
            for one in ordered
        ]
        key = _RESPONSE.tenant, _RESPONSE.id
        there = select(*key).where(tuple_(*key).in_([(one.tenant, one.id) for one in ordered])).order_by(*key)
        with self._db.write() as session:
            found = set(map(tuple, session.execute(there.with_for_update(read=True, key_share=True)).all()))
            kept = [row for row in rows if (row["tenant"], row["id"]) in found]
            upsert(session, _ROW, kept, replace=("count", "ended", "events"))

    def read(self, tenant: str, id_: str, since_ms: int, wanted: int) -> Streamed:
        """What is there from the event of this number on, or the first of it.

        Raises `NoSuchTurn`, `NotStreamed`, `Unreadable`.
        """
        of = (_ROW.tenant == tenant, _ROW.id == id_)
        begins = select(func.max(_ROW.first)).where(*of, _ROW.first <= wanted).scalar_subquery()
        with self._db.read() as session:
            response = (_RESPONSE.tenant == tenant, _RESPONSE.id == id_, _RESPONSE.created_at_ms >= since_ms)
            if (status := session.scalar(select(_RESPONSE.status).where(*response))) is None:
                raise NoSuchTurn("response", id_)
            rows = session.scalars(
                select(_ROW).where(*of, _ROW.first >= begins).order_by(_ROW.first).limit(READ_AT_ONCE)
            ).all()
        if not rows:
            raise NotStreamed(f"response {id_} has no stream")
        pieces, ended = list[bytes](), False
        for row in rows:
            if row.first > wanted:  # those before are not written down yet, or never will be
                break
            end = row.first + row.count
            if end > wanted:
                events = self._keyring.open(row.events, tenant, id_, place_of(row.first))
                pieces.append(_behind(events, wanted - row.first))
                wanted = end
            ended = row.ended
        return Streamed(b"".join(pieces), wanted, ended, cast("Status", status))


def thin_out(db: Database, tenant: str, ids: Collection[str]) -> None:
    """Delete events of responses that are about to be deleted until so few are left that they may go with those.

    The last ones first: nobody is told some of a stream behind others that are missing.
    """
    key = _ROW.id, _ROW.first
    newest = select(*key).where(_ROW.tenant == tenant, _ROW.id.in_(ids)).order_by(_ROW.first.desc())
    while True:
        with db.read() as session:  # where there are few, no turn at writing is needed
            keys = session.execute(newest.limit(DELETED_AT_ONCE + 1)).all()
        if len(keys) <= DELETED_AT_ONCE:
            return
        these = [tuple(key) for key in keys[:DELETED_AT_ONCE]]
        with db.write() as session:
            session.execute(delete(_ROW).where(_ROW.tenant == tenant, tuple_(*key).in_(these)))


def _behind(events: bytes, number: int) -> bytes:
    """All but so many of the first."""
    return events.split(EVENT_END, number)[number] if number else events
