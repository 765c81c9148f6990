"""Corrections of usage: differences to what a row says, as rows of their own. The row itself is never changed."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Subquery, func, select

from registry.db import Database, now_ms
from registry.errors import InvalidInput, NotFound
from registry.models import UsageCorrection, UsageRow

TOKENS = ("prompt_tokens", "cached_tokens", "completion_tokens")
CORRECTABLE = (*TOKENS, "cost_nano")


def insert_correction(db: Database, attempt_id: str, reason: str, actor: str, deltas: Mapping[str, int]) -> None:
    """Store one correction.

    Raises `NotFound` for an attempt that is not in the ledger, `InvalidInput` for a field that cannot be corrected,
    differences that are all 0, or one after which tokens would be negative.
    """
    if unknown := sorted(deltas.keys() - set(CORRECTABLE)):
        raise InvalidInput(f"{unknown[0]} cannot be corrected; {', '.join(CORRECTABLE)} can", param=unknown[0])
    if not any(deltas.values()):
        raise InvalidInput("the differences are all 0; give at least one that is not", param="deltas")
    if not reason.strip():
        raise InvalidInput("reason is empty; say why the row is wrong", param="reason")
    with db.write() as session:
        row = session.get(UsageRow, attempt_id)
        if row is None:
            raise NotFound(
                f"attempt {attempt_id!r} is not in the ledger; corrections name an attempt id", param="attempt_id"
            )
        before = session.execute(
            select(*(func.coalesce(func.sum(getattr(UsageCorrection, name)), 0) for name in TOKENS)).where(
                UsageCorrection.attempt_id == attempt_id
            )
        ).one()
        for name, corrected in zip(TOKENS, before, strict=True):
            figure = (getattr(row, name) or 0) + corrected
            if figure + deltas.get(name, 0) < 0:
                raise InvalidInput(
                    f"{name} is {deltas[name]}: {figure} are booked, and they cannot become negative", param=name
                )
        session.add(
            UsageCorrection(
                attempt_id=attempt_id,
                reason=reason,
                actor=actor,
                created_at_ms=now_ms(),
                **{name: deltas.get(name, 0) for name in CORRECTABLE},
            )
        )


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
