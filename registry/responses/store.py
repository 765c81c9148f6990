"""Responses in the database. Every question names tenant and id together, so another tenant's id is none."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import orjson
from sqlalchemy import Table, and_, bindparam, delete, func, insert, literal, select, tuple_, update
from sqlalchemy.orm import Session

from registry.bulk import Appender
from registry.db import Database
from registry.responses.appending import append
from registry.responses.rows import BackgroundRun, StoredAmount, StoredResponse
from registry.responses.sealing import Keyring
from registry.responses.streams import thin_out
from registry.responses.turns import (
    ANSWERED,
    RUNNING,
    Item,
    NoSuchTurn,
    NotInBackground,
    Recalled,
    SealedTurn,
    StillRunning,
    TooLong,
    Turn,
)

MOST_TURNS = 1_000
"""That are recalled before a turn."""
READ_AT_ONCE = 8
"""Turns in memory that have not been looked at: each may be as long as two bodies."""
TURN, DOCUMENT = "turn", "document"
"""Places of sealed values, behind the response's id."""
LOST: dict[str, Any] = {"code": "server_error", "message": "The gateway that made this response has ended."}
"""The error of a response whose worker is gone."""
_ROW = StoredResponse
_COLUMNS = tuple(_ROW.__table__.columns.keys())
_INSERT = insert(cast("Table", _ROW.__table__))
_INSERT_RUN = insert(cast("Table", BackgroundRun.__table__))
_OF = and_(_ROW.tenant == bindparam("tenant"), _ROW.id == bindparam("id"), _ROW.created_at_ms >= bindparam("since_ms"))
_SAID = select(_ROW.status, _ROW.turn, _ROW.document).where(_OF)
LINE_END = b"\n"
"""Between a document and its turn, which have none: they are JSON, and of one line."""


@dataclass(frozen=True, slots=True)
class Kept:
    """How much is stored of one tenant's."""

    tenant: str
    responses: int
    records: int
    """Responses, conversations, and items of conversations."""
    bytes: int
    """Of all of these, as they lie in the database."""
    oldest_ms: int | None
    """When the oldest response was made; `None`: there are conversations alone."""
    newest_ms: int | None


class StoredResponses:
    """The responses of all tenants. `since_ms` is when the oldest one was made that is not too old for its tenant."""

    def __init__(self, db: Database, keyring: Keyring) -> None:
        self._db = db
        self._keyring = keyring
        self._appender = Appender(db.engine, cast("Table", _ROW.__table__))

    # Writing

    def sealed(self, turn: Turn) -> SealedTurn:
        """A new response as it is saved. Takes a hundredth of a millisecond, and as long again for each 2 kB.

        What it said and what it heard are sealed in one: to seal two short values takes twice as long.
        """
        heard = orjson.dumps({"items": turn.items, "unit": turn.unit})
        row = (
            turn.tenant,
            turn.id,
            turn.key_id,
            turn.created_at_ms,
            turn.status,
            turn.model,
            turn.worker is not None,
            turn.previous_id,
            turn.conversation_id,
            b"",
            self._keyring.seal(b"%b%b%b" % (turn.document, LINE_END, heard), turn.tenant, turn.id, DOCUMENT),
        )
        is_row = turn.worker is None and turn.conversation_id is None
        return SealedTurn(row, len(turn.document) + turn.items_bytes, None if is_row else turn)

    def save(self, sealed: Sequence[SealedTurn]) -> None:
        """Store new responses in one transaction, all or none; and those that run in the background as running.

        Raises what the database raises.
        """
        rows = sorted(one.row for one in sealed)  # all who save lock amounts of tenants in one order
        turns = [one.turn for one in sealed if one.turn is not None]
        if not turns:
            self._appender.append(rows)
            return
        runs = [{"tenant": one.tenant, "id": one.id, "worker": one.worker} for one in turns if one.worker is not None]
        with self._db.write() as session:
            session.execute(_INSERT, [dict(zip(_COLUMNS, row, strict=True)) for row in rows])
            if runs:
                session.execute(_INSERT_RUN, runs)
            self._add_to_conversations(session, turns)

    def end(self, turn: Turn) -> bool:
        """Store how a background response has ended; False when it was cancelled, deleted or given up before."""
        *_, written, document = self.sealed(turn).row
        with self._db.write() as session:
            session.execute(
                delete(BackgroundRun).where(BackgroundRun.tenant == turn.tenant, BackgroundRun.id == turn.id)
            )
            changed = session.execute(
                update(_ROW)
                .where(_ROW.tenant == turn.tenant, _ROW.id == turn.id, _ROW.status.in_(RUNNING))
                .values(status=turn.status, turn=written, document=document)
                .returning(_ROW.id)
            ).first()
            if changed is not None:
                self._add_to_conversations(session, [turn])
        return changed is not None

    def begin(self, tenant: str, id_: str) -> None:
        """A queued response is in progress."""
        with self._db.write() as session:
            session.execute(
                update(_ROW)
                .where(_ROW.tenant == tenant, _ROW.id == id_, _ROW.status == "queued")
                .values(status="in_progress")
            )

    def delete(self, tenant: str, id_: str, since_ms: int) -> None:
        """Delete one; if it runs, its worker finds that out. Raises `NoSuchTurn`."""
        with self._db.read() as session:
            streams = session.scalar(select(_ROW.background).where(*_of(tenant, id_, since_ms)))
        if streams:
            thin_out(self._db, tenant, [id_])
        with self._db.write() as session:
            gone = session.execute(delete(_ROW).where(*_of(tenant, id_, since_ms)).returning(_ROW.id)).first()
        if gone is None:
            raise NoSuchTurn("response", id_)

    def cancel(self, tenant: str, id_: str, since_ms: int) -> bytes:
        """Cancel one that runs in the background, and return its document; one that has ended stays as it is.

        Raises `NoSuchTurn`, `NotInBackground`.
        """
        with self._db.write() as session:
            background = session.scalar(select(_ROW.background).where(*_of(tenant, id_, since_ms)))
            if background is None:
                raise NoSuchTurn("response", id_)
            if not background:
                raise NotInBackground(f"response {id_} is not made in the background")
            running = _ROW.status.in_(RUNNING)
            session.execute(update(_ROW).where(*_of(tenant, id_, since_ms), running).values(status="cancelled"))
            found = session.execute(_SAID, {"tenant": tenant, "id": id_, "since_ms": since_ms}).one()
        return self._shown(tenant, id_, *found)

    # Reading

    def document(self, tenant: str, id_: str, since_ms: int) -> bytes:
        """A response as its client gets it, with the status in force: JSON. Raises `NoSuchTurn`, `Unreadable`."""
        with self._db.read() as session:
            found = session.execute(_SAID, {"tenant": tenant, "id": id_, "since_ms": since_ms}).first()
        if found is None:
            raise NoSuchTurn("response", id_)
        return self._shown(tenant, id_, *found)

    def items(self, tenant: str, id_: str, since_ms: int) -> list[Item]:
        """The input items of one response. Raises `NoSuchTurn`, `Unreadable`."""
        with self._db.read() as session:
            found = session.execute(_SAID, {"tenant": tenant, "id": id_, "since_ms": since_ms}).first()
        if found is None:
            raise NoSuchTurn("response", id_)
        heard, _ = self._open(tenant, id_, found[1], found[2])
        items: list[Item] = orjson.loads(heard)["items"]
        return items

    def referred(self, tenant: str, wanted: Mapping[str, str], since_ms: int, most_bytes: int) -> Recalled:
        """Items of the input or output of any responses: `wanted` has the id of its response for each item's.

        Raises `NoSuchTurn` with the item that is missing, `TooLong`, `Unreadable`.
        """
        found: dict[str, Item] = {}
        length, responses = 0, set(wanted.values())
        if len(responses) > MOST_TURNS:
            raise TooLong(f"items of more than {MOST_TURNS} responses are referred to")
        with self._db.read() as session:
            there = _ROW.id.in_(responses)
            query = select(_ROW.id).where(_ROW.tenant == tenant, there, _ROW.created_at_ms >= since_ms)
            for written, document in self._opened(session, tenant, session.scalars(query).all()):
                length += len(written) + len(document)
                if length > most_bytes:
                    raise TooLong(f"the responses whose items are referred to have more than {most_bytes} bytes")
                said = [*orjson.loads(written)["items"], *orjson.loads(document)["output"]]
                found.update((item["id"], item) for item in said if item["id"] in wanted)
        for id_ in wanted:
            if id_ not in found:
                raise NoSuchTurn("item", id_)
        return Recalled([found[id_] for id_ in wanted], length, None)

    def recall(self, tenant: str, id_: str, since_ms: int, most_bytes: int) -> Recalled:
        """A response and all that it went on from.

        Raises `NoSuchTurn` with the id that is missing, `StillRunning`, `TooLong`, `Unreadable`.
        """
        with self._db.read() as session:
            chain = session.execute(_chain(tenant, id_, since_ms)).all()
            _require_whole(chain, id_)
            opened = self._opened(session, tenant, [turn.id for turn in chain])
            parts: list[list[Item]] = []
            length, unit = 0, None
            for number, (written, document) in enumerate(opened):  # newest first: what is too long is not read on
                length += len(written) + len(document)
                if length > most_bytes:
                    raise TooLong(f"the turns before this one have more than {most_bytes} bytes")
                own, answer = orjson.loads(written), orjson.loads(document)
                parts.append([*own["items"], *answer["output"]])
                unit = own["unit"] if number == 0 else unit
        return Recalled([item for part in reversed(parts) for item in part], length, unit)

    def kept(self, tenant: str | None = None) -> list[Kept]:
        """How much is stored, by tenant."""
        amount = StoredAmount
        query = (
            select(
                amount.tenant,
                func.count(_ROW.id),
                amount.records,
                amount.bytes,
                func.min(_ROW.created_at_ms),
                func.max(_ROW.created_at_ms),
            )
            .outerjoin(_ROW, _ROW.tenant == amount.tenant)
            .where(amount.records > 0)
            .group_by(amount.tenant, amount.records, amount.bytes)
            .order_by(amount.tenant)
        )
        if tenant is not None:
            query = query.where(amount.tenant == tenant)
        with self._db.read() as session:
            return [Kept(*row) for row in session.execute(query)]

    def amounts(self, tenants: Collection[str]) -> dict[str, tuple[int, int]]:
        """Records and bytes that are stored of these tenants, of all whose are."""
        amount = StoredAmount
        query = select(amount.tenant, amount.records, amount.bytes).where(amount.tenant.in_(tenants))
        with self._db.read() as session:
            return {tenant: (records, length) for tenant, records, length in session.execute(query)}

    # Background runs

    def going_on(self, worker: str) -> set[tuple[str, str]]:
        """Tenant and id of what this worker makes in the background and nobody has cancelled or deleted."""
        run = BackgroundRun
        query = (
            select(run.tenant, run.id)
            .join(_ROW, and_(_ROW.tenant == run.tenant, _ROW.id == run.id))
            .where(run.worker == worker, _ROW.status.in_(RUNNING))
        )
        with self._db.read() as session:
            return {(tenant, id_) for tenant, id_ in session.execute(query)}

    def runners(self) -> set[str]:
        """The workers that make something in the background, or have ended while they did."""
        with self._db.read() as session:
            return set(session.scalars(select(BackgroundRun.worker).distinct()))

    def give_up(self, workers: Collection[str]) -> int:
        """Let what ran on these workers have failed; how many responses that are, of which some may be left."""
        run = BackgroundRun
        with self._db.read() as session:
            lost = session.execute(select(run.tenant, run.id).where(run.worker.in_(workers)).limit(1_000)).all()
        if not lost:
            return 0
        names = [(tenant, id_) for tenant, id_ in lost]
        with self._db.write() as session:
            session.execute(
                update(_ROW)
                .where(tuple_(_ROW.tenant, _ROW.id).in_(names), _ROW.status.in_(RUNNING))
                .values(status="failed")
            )
            session.execute(delete(run).where(tuple_(run.tenant, run.id).in_(names)))
        return len(names)

    def _add_to_conversations(self, session: Session, turns: Sequence[Turn]) -> None:
        """What the turns said, of those with an answer. A conversation that is gone by now is not missed."""
        for turn in turns:
            if turn.conversation_id is not None and turn.status in ANSWERED:
                said = [*turn.items, *turn.output]
                append(session, self._keyring, turn.tenant, turn.conversation_id, said, unit=turn.unit)

    def _opened(self, session: Session, tenant: str, ids: Sequence[str]) -> Iterator[tuple[bytes, bytes]]:
        """Turn and document of each, opened one at a time, in this order."""
        for begin in range(0, len(ids), READ_AT_ONCE):
            some = ids[begin : begin + READ_AT_ONCE]
            query = select(_ROW.id, _ROW.turn, _ROW.document).where(_ROW.tenant == tenant, _ROW.id.in_(some))
            found = {id_: (turn, document) for id_, turn, document in session.execute(query)}
            for id_ in some:
                yield self._open(tenant, id_, *found[id_])

    def _open(self, tenant: str, id_: str, turn: bytes, document: bytes) -> tuple[bytes, bytes]:
        """Turn and document of one. Raises `Unreadable`."""
        said = self._keyring.open(document, tenant, id_, DOCUMENT)
        if turn:
            return self._keyring.open(turn, tenant, id_, TURN), said
        said, _, heard = said.partition(LINE_END)
        return heard, said

    def _shown(self, tenant: str, id_: str, status: str, turn: bytes, sealed: bytes) -> bytes:
        _, raw = self._open(tenant, id_, turn, sealed)
        document = orjson.loads(raw)
        if document["status"] == status:
            return raw
        document["status"] = status
        if status == "failed":
            document["error"] = LOST
        return orjson.dumps(document)


def _of(tenant: str, id_: str, since_ms: int) -> tuple[Any, ...]:
    return _ROW.tenant == tenant, _ROW.id == id_, _ROW.created_at_ms >= since_ms


def _chain(tenant: str, id_: str, since_ms: int) -> Any:
    """Id, previous id and status of a response and of those that it went on from, newest first."""
    columns = (_ROW.id, _ROW.previous_id, _ROW.status)
    chain = select(*columns, literal(0).label("back")).where(*_of(tenant, id_, since_ms)).cte("chain", recursive=True)
    chain = chain.union_all(
        select(*columns, chain.c.back + 1).where(
            _ROW.tenant == tenant,
            _ROW.id == chain.c.previous_id,
            _ROW.created_at_ms >= since_ms,
            chain.c.back < MOST_TURNS,
        )
    )
    return select(chain).order_by(chain.c.back)


def _require_whole(chain: Sequence[Any], id_: str) -> None:
    if not chain:
        raise NoSuchTurn("response", id_)
    if len(chain) > MOST_TURNS:
        raise TooLong(f"the conversation has more than {MOST_TURNS} turns")
    if chain[-1].previous_id is not None:
        raise NoSuchTurn("response", chain[-1].previous_id)
    if chain[0].status in RUNNING:
        raise StillRunning(f"response {id_} is {chain[0].status}")
