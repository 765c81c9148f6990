"""Pairs in the database: figures, and while the tenant allows it the texts, sealed as its responses are."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from registry.days import DAY_MS, day_number
from registry.db import Database, now_ms
from registry.responses.sealing import Keyring
from registry.shadows.pairs import PAIRED, AnswerText, Content, CopiedPair
from registry.shadows.rows import PairVerdict, Shadow, ShadowCount, ShadowDay, ShadowPair
from registry.tenants.rows import Tenant
from registry.upsert import upsert

CONTENT = "content"
"""The place of a pair's sealed texts, behind its shadow and the request's id."""
FIGURES_DAYS = 180
"""So long a pair's figures are kept, when its texts are gone."""
BATCH = 200
"""Pairs that one transaction forgets: it holds up others for milliseconds."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is kept of a tenant's pairs. `days` is of tenants that have no setting of their own."""

    days: int
    pairs: int
    bytes: int


@dataclass(frozen=True, slots=True)
class PairInfo:
    """A pair as it is read. Its figures are those of `AnswerFigures` and `Diff`."""

    shadow_id: int
    request_id: str
    tenant: str
    at_ms: int
    endpoint: str
    cause: str | None
    control: Mapping[str, Any]
    candidate: Mapping[str, Any]
    diff: Mapping[str, Any]
    content: Content | None
    """Only where it was asked for, is still kept, and the tenant still consents."""
    verdicts: tuple[VerdictInfo, ...] = ()


@dataclass(frozen=True, slots=True)
class VerdictInfo:
    """What a judge said of a pair: whom it preferred with the candidate's answer first, and with the control's."""

    judge: str
    candidate_first: str
    control_first: str
    verdict: str


class ShadowPairs:
    """The pairs of all shadows."""

    def __init__(self, db: Database, keyring: Keyring) -> None:
        self._db = db
        self._keyring = keyring

    def record(self, pairs: Sequence[CopiedPair], counts: Mapping[tuple[int, str], int], allowance: Allowance) -> None:
        """Store pairs and what they have cost, and add to counts by shadow and cause, in one transaction. A pair that
        is there already stays.

        Texts are kept of tenants that consent, for as long as they say, and within the allowance; where there is no
        more room for pairs, they are counted and nothing else.
        """
        with self._db.write() as session:
            known = _known(session, {pair.shadow_id for pair in pairs} | {shadow for shadow, _ in counts})
            rows, spent = [], dict[tuple[int, int], int]()
            total = {key: number for key, number in counts.items() if key[0] in known}
            room = {tenant: _room(session, tenant, allowance) for tenant in {pair.tenant for pair in pairs}}
            for pair in pairs:
                if pair.shadow_id not in known:
                    continue
                cause, day = pair.cause or PAIRED, day_number(pair.at_ms)
                total[pair.shadow_id, cause] = total.get((pair.shadow_id, cause), 0) + 1
                spent[pair.shadow_id, day] = spent.get((pair.shadow_id, day), 0) + pair.spent_nano
                left = room[pair.tenant]
                if left.pairs > 0:
                    row = self._row(pair, left)
                    room[pair.tenant] = Allowance(left.days, left.pairs - 1, left.bytes - row["content_bytes"])
                    rows.append(row)
            upsert(session, ShadowPair, rows)
            upsert(session, ShadowCount, _counted(total), add=("number",))
            upsert(session, ShadowDay, _spending(spent), add=("spent_nano",))

    def _row(self, pair: CopiedPair, left: Allowance) -> dict[str, Any]:
        content = None
        if pair.content is not None and left.days > 0:
            content = self._sealed(pair, pair.content)
            if len(content) > left.bytes:
                content = None
        return {
            "shadow_id": pair.shadow_id,
            "request_id": pair.request_id,
            "tenant": pair.tenant,
            "at_ms": pair.at_ms,
            "endpoint": pair.endpoint,
            "cause": pair.cause,
            "control": pair.control.as_dict(),
            "candidate": {} if pair.candidate is None else pair.candidate.as_dict(),
            "diff": {} if pair.diff is None else pair.diff.as_dict(),
            "content": content,
            "content_bytes": 0 if content is None else len(content),
        }

    def _sealed(self, pair: CopiedPair, content: Content) -> bytes:
        return self._keyring.seal(orjson.dumps(content), pair.tenant, str(pair.shadow_id), pair.request_id, CONTENT)

    def get(self, shadow_id: int, request_id: str) -> PairInfo | None:
        """One pair with its texts; `None` when there is none. Raises `Unreadable`."""
        found = self.page(shadow_id, None, 1, only=request_id, with_content=True)
        return found[0] if found else None

    def page(
        self,
        shadow_id: int,
        after: str | None,
        limit: int,
        *,
        whole: bool = False,
        only: str | None = None,
        with_content: bool = False,
    ) -> list[PairInfo]:
        """Pairs by the ids of their requests, which begin with the time: the oldest first, those after `after`.

        With `whole` only those of two whole answers. Raises `Unreadable` where texts are asked for and cannot be
        opened.
        """
        row = ShadowPair
        query = select(row, Tenant.shadow_consent).join(Tenant, Tenant.name == row.tenant)
        query = query.where(row.shadow_id == shadow_id).order_by(row.request_id).limit(limit)
        if after is not None:
            query = query.where(row.request_id > after)
        if whole:
            query = query.where(row.cause.is_(None))
        if only is not None:
            query = query.where(row.request_id == only)
        with self._db.read() as session:
            found = session.execute(query).all()
            verdicts = _verdicts(session, shadow_id, [pair.request_id for pair, _ in found])
        return [
            _info(pair, self._opened(pair) if with_content and consents else None, verdicts.get(pair.request_id, ()))
            for pair, consents in found
        ]

    def all(self, shadow_id: int) -> Iterator[PairInfo]:
        """Every pair of a shadow in figures, the oldest first, never many of them in memory."""
        after = None
        while page := self.page(shadow_id, after, BATCH):
            yield from page
            after = page[-1].request_id

    def _opened(self, pair: ShadowPair) -> Content | None:
        if pair.content is None:
            return None
        place = str(pair.shadow_id), pair.request_id, CONTENT
        read = orjson.loads(self._keyring.open(pair.content, pair.tenant, *place))
        sides = (AnswerText(one["text"], tuple(one["calls"])) for one in (read["control"], read["candidate"]))
        return Content(read["request"], *sides)

    def judged(self, shadow_id: int, request_id: str, verdict: VerdictInfo) -> None:
        """Store what a judge said, in the place of what the same one had said of that pair."""
        row = {"shadow_id": shadow_id, "request_id": request_id, "at_ms": now_ms(), **asdict(verdict)}
        with self._db.write() as session:
            upsert(session, PairVerdict, [row], replace=("at_ms", "candidate_first", "control_first", "verdict"))

    # Forgetting

    def expire(self, default_days: int, *, most_batches: int) -> int:
        """Forget texts that are older than their tenant keeps, or that it does not consent to any more, and figures
        that are old; how many. After so many batches the rest is left for the next time.
        """
        row, now = ShadowPair, now_ms()
        before = now - func.coalesce(Tenant.pair_days, default_days) * DAY_MS
        of_tenant = select(Tenant.name).where(
            Tenant.name == row.tenant, (row.at_ms < before) | Tenant.shadow_consent.is_(False)
        )
        texts = select(row.shadow_id, row.request_id).where(row.content_bytes > 0, of_tenant.exists()).limit(BATCH)
        figures = select(row.shadow_id, row.request_id).where(row.at_ms < now - FIGURES_DAYS * DAY_MS).limit(BATCH)
        gone = 0
        for query, forget in ((texts, _without_content), (figures, _without_row)):
            while most_batches > 0:
                with self._db.read() as session:  # where nothing is old, no turn at writing is needed
                    keys = [(shadow_id, request_id) for shadow_id, request_id in session.execute(query)]
                if not keys:
                    break
                with self._db.write() as session:
                    forget(session, keys)
                gone, most_batches = gone + len(keys), most_batches - 1
        return gone

    def reseal(self) -> int:
        """Write anew what was not sealed with the first key; how many. Raises `Unreadable`."""
        changed, last = 0, (0, "")
        row = ShadowPair
        while True:
            later = (row.shadow_id > last[0]) | ((row.shadow_id == last[0]) & (row.request_id > last[1]))
            query = select(row).where(later, row.content_bytes > 0).order_by(row.shadow_id, row.request_id)
            with self._db.write() as session:
                rows = session.scalars(query.limit(BATCH)).all()
                for one in rows:
                    assert one.content is not None
                    last = one.shadow_id, one.request_id
                    if self._keyring.is_current(one.content):
                        continue
                    place = str(one.shadow_id), one.request_id, CONTENT
                    value = self._keyring.open(one.content, one.tenant, *place)
                    one.content = self._keyring.seal(value, one.tenant, *place)
                    changed += 1
            if len(rows) < BATCH:
                return changed


Keys = Sequence[tuple[int, str]]


def _without_content(session: Session, keys: Keys) -> None:
    for shadow_id, request_id in keys:
        of = ShadowPair.shadow_id == shadow_id, ShadowPair.request_id == request_id
        session.execute(update(ShadowPair).where(*of).values(content=None, content_bytes=0))


def _without_row(session: Session, keys: Keys) -> None:
    for shadow_id, request_id in keys:
        for row in (PairVerdict, ShadowPair):
            session.execute(delete(row).where(row.shadow_id == shadow_id, row.request_id == request_id))


def _known(session: Session, ids: Collection[int]) -> set[int]:
    return {*session.scalars(select(Shadow.id).where(Shadow.id.in_(ids)))}


def _room(session: Session, tenant: str, allowance: Allowance) -> Allowance:
    """What can still be kept of a tenant's pairs: days 0 for no texts."""
    found = session.execute(
        select(Tenant.shadow_consent, Tenant.pair_days, Tenant.response_days).where(Tenant.name == tenant)
    ).first()
    if found is None:
        return Allowance(0, 0, 0)
    consents, own_days, response_days = found
    days = allowance.days if own_days is None else own_days
    if not consents or response_days == 0:  # whose answers are never stored, its copies are neither
        days = 0
    used = select(func.count(), func.coalesce(func.sum(ShadowPair.content_bytes), 0)).where(ShadowPair.tenant == tenant)
    pairs, stored = session.execute(used).one()
    return Allowance(days, allowance.pairs - pairs, allowance.bytes - int(stored))


def _counted(total: Mapping[tuple[int, str], int]) -> list[dict[str, Any]]:
    return [
        {"shadow_id": shadow, "cause": cause, "number": number} for (shadow, cause), number in sorted(total.items())
    ]


def _spending(spent: Mapping[tuple[int, int], int]) -> list[dict[str, Any]]:
    return [
        {"shadow_id": shadow, "day": day, "taken": 0, "spent_nano": nano}
        for (shadow, day), nano in sorted(spent.items())
        if nano
    ]


def _verdicts(session: Session, shadow_id: int, request_ids: Sequence[str]) -> dict[str, tuple[VerdictInfo, ...]]:
    row = PairVerdict
    query = select(row).where(row.shadow_id == shadow_id, row.request_id.in_(request_ids)).order_by(row.judge)
    found: dict[str, tuple[VerdictInfo, ...]] = {}
    for one in session.scalars(query):
        verdict = VerdictInfo(one.judge, one.candidate_first, one.control_first, one.verdict)
        found[one.request_id] = (*found.get(one.request_id, ()), verdict)
    return found


def _info(row: ShadowPair, content: Content | None, verdicts: tuple[VerdictInfo, ...]) -> PairInfo:
    figures = row.control, row.candidate, row.diff
    return PairInfo(
        row.shadow_id, row.request_id, row.tenant, row.at_ms, row.endpoint, row.cause, *figures, content, verdicts
    )
