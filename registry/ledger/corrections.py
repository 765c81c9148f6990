"""Corrections of usage: differences to what a row says, as rows of their own. The row itself is never changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy import Subquery, func, select
from sqlalchemy.orm import Session

from registry.archive.rows import UsageArchive
from registry.days import DAY_MS, date_of
from registry.db import Database, now_ms
from registry.errors import InvalidInput, NotFound
from registry.ledger.rows import USAGE, UsageCorrection
from registry.ledger.usage_record import CORRECTABLE, UsageRow

MOST = 2**62


@dataclass(frozen=True, slots=True)
class Corrected:
    """What an attempt was booked with and is now, by the names in `CORRECTABLE`."""

    attempt_id: str
    before: Mapping[str, int]
    after: Mapping[str, int]
    unpriced: str | None
    """Why the dollars could not follow the tokens; `None` when they did, or were given."""


Reprice = Callable[[UsageRow, Mapping[str, int], Mapping[str, int]], int | str]
"""Of an attempt and its tokens before and after: the difference in nano-dollars, or why there is none to know."""


def insert_correction(
    db: Database, attempt_id: str, reason: str, actor: str, deltas: Mapping[str, int], reprice: Reprice | None = None
) -> Corrected:
    """Store one correction of an attempt, which may be named by its request if that had no other one.

    The dollars follow the tokens by `reprice`, unless a difference of `cost_nano` is given. Raises `NotFound` for an
    attempt that is not in the ledger, `InvalidInput` for a field that cannot be corrected, differences that are all 0,
    or one after which the attempt could not have been.
    """
    if unknown := sorted(deltas.keys() - set(CORRECTABLE)):
        raise InvalidInput(f"{unknown[0]} cannot be corrected; {', '.join(CORRECTABLE)} can", param=unknown[0])
    if not any(deltas.values()):
        raise InvalidInput("the differences are all 0; give at least one that is not", param="deltas")
    if not reason.strip():
        raise InvalidInput("reason is empty; say why the row is wrong", param="reason")
    with db.write() as session:
        row = _row_of(session, attempt_id)
        earlier = _corrected(session, row.attempt_id)
        before = {name: (getattr(row.end, name) or 0) + earlier[name] for name in CORRECTABLE}
        after = _after(before, deltas)
        unpriced = None
        if reprice is not None and "cost_nano" not in deltas:
            found = reprice(row, before, after)
            if isinstance(found, str):
                unpriced = found
            else:
                after["cost_nano"] = max(0, before["cost_nano"] + found)  # a credit may have taken more off
        session.add(
            UsageCorrection(
                attempt_id=row.attempt_id,
                reason=reason,
                actor=actor,
                created_at_ms=now_ms(),
                **{name: after[name] - before[name] for name in CORRECTABLE},
            )
        )
        return Corrected(row.attempt_id, before, after, unpriced)


def _row_of(session: Session, name: str) -> UsageRow:
    """The attempt of this id, or the only one of the request of this id, locked: corrections of it come one after the
    other, each on what the one before has made of it. Raises `NotFound` or `InvalidInput`."""
    query = select(USAGE).order_by(USAGE.c.attempt_id).with_for_update()
    found = session.execute(query.where(USAGE.c.attempt_id == name)).mappings().one_or_none()
    if found is not None:
        return UsageRow.of(found)
    rows = list(map(UsageRow.of, session.execute(query.where(USAGE.c.request_id == name)).mappings()))
    if len(rows) == 1:
        return rows[0]
    if rows:
        attempts = ", ".join(f"{one.attempt_id} ({one.end.outcome})" for one in rows)
        raise InvalidInput(f"request {name[:80]} has {len(rows)} attempts; name one of {attempts}", param="attempt_id")
    raise NotFound(
        f"{name[:80]!r} is not in the ledger; name a request by its x-request-id, or an attempt. It is there a second "
        f"or two after its end{_archived(session)}",
        param="attempt_id",
    )


def _archived(session: Session) -> str:
    """What else may be, where attempts are archived."""
    last_ms = session.scalar(select(func.max(UsageArchive.last_ms)).where(UsageArchive.restored_at_ms.is_(None)))
    if last_ms is None:
        return ""
    return (
        f". Attempts are archived up to {date_of(last_ms // DAY_MS)}: bring back its day with `switchyard ledger "
        "restore YYYY-MM-DD`, then correct it"
    )


def _corrected(session: Session, attempt_id: str) -> dict[str, int]:
    """What earlier corrections of an attempt add up to."""
    sums = (func.coalesce(func.sum(getattr(UsageCorrection, name)), 0) for name in CORRECTABLE)
    found = session.execute(select(*sums).where(UsageCorrection.attempt_id == attempt_id)).one()
    return dict(zip(CORRECTABLE, map(int, found), strict=True))


def _after(before: Mapping[str, int], deltas: Mapping[str, int]) -> dict[str, int]:
    """Raises `InvalidInput` when an attempt would have used or cost less than nothing, or more than can be booked."""
    after = {name: before[name] + deltas.get(name, 0) for name in CORRECTABLE}
    for name, figure in after.items():
        if name in deltas and not 0 <= figure <= MOST:
            raise InvalidInput(
                f"{name} is {deltas[name]}: {before[name]} are booked, and they cannot become "
                + ("negative" if figure < 0 else f"more than {MOST}"),
                param=name,
            )
    if after["cached_tokens"] > after["prompt_tokens"]:
        raise InvalidInput(
            f"cached_tokens would be {after['cached_tokens']}, and they are a part of the {after['prompt_tokens']} "
            "prompt tokens",
            param="cached_tokens",
        )
    return after


def corrections_by_attempt() -> Subquery:
    """`attempt_id` and the sum of each correctable field's differences: join it from outside to usage rows."""
    return (
        select(
            UsageCorrection.attempt_id,
            *(func.sum(getattr(UsageCorrection, name)).label(name) for name in CORRECTABLE),
        )
        .group_by(UsageCorrection.attempt_id)
        .subquery("corrections")
    )
