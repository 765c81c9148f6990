"""Taking orders: one order is one job, however often it is sent, and a tenant has so many at a time."""

from __future__ import annotations

import secrets
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from registry.db import now_ms
from registry.ids import new_id
from registry.storage.blobs import canonical_json, digest_of
from registry.training.jobs import JobOrder, KeyOfAnotherOrder, TooManyJobs
from registry.training.rows import TrainingCheckpoint, TrainingJobRow, TrainingMetadata

SAME_ORDER_MS = 60_000
"""An order without a key that is sent again so soon, while its job has not ended, is the same one: clients repeat what
they have heard no answer to.
"""
KEPT_WITHOUT_RESULT = 1_000
"""Of a tenant's jobs that failed, were cancelled or were to try something only."""
PRUNED_AT_ONCE = 20
MOST_SEED = 2**31 - 1
_ROW = TrainingJobRow


def place_order(session: Session, order: JobOrder, most_unfinished: int) -> tuple[TrainingJobRow, bool]:
    """The job of an order, and whether it is new. The tenant's row is locked.

    Raises `KeyOfAnotherOrder`, `TooManyJobs`.
    """
    digest = _digest(order)
    if (known := _known(session, order, digest)) is not None:
        return known, False
    mine = select(func.count()).where(_ROW.tenant == order.tenant, _ROW.finished_at_ms.is_(None))
    unfinished = session.scalars(mine).one()
    if unfinished >= most_unfinished:
        raise TooManyJobs(
            f"tenant {order.tenant!r} has {unfinished} fine-tuning jobs that have not ended, and may have "
            f"{most_unfinished}; wait for one of them or cancel one"
        )
    row = _row(order, digest)
    session.add(row)
    session.flush()
    for key, value in (order.metadata or {}).items():
        session.add(TrainingMetadata(job_number=row.number, key=key, value=value))
    _prune(session, order.tenant)
    return row, True


def _prune(session: Session, tenant: str) -> None:
    """Of jobs that came to nothing a tenant keeps so many; they go with all that was said of them, a few at a time."""
    state = TrainingCheckpoint
    has_bytes = select(state.number).where(state.job_number == _ROW.number, state.blob.is_not(None))
    old = (
        select(_ROW.number)
        .where(
            _ROW.tenant == tenant,
            _ROW.finished_at_ms.is_not(None),
            _ROW.fine_tuned_model.is_(None),
            ~has_bytes.exists(),
        )
        .order_by(_ROW.number.desc())
        .offset(KEPT_WITHOUT_RESULT)
        .limit(PRUNED_AT_ONCE)
    )
    numbers = session.scalars(old).all()
    if numbers:
        session.execute(delete(_ROW).where(_ROW.number.in_(numbers)))


def _known(session: Session, order: JobOrder, digest: str) -> TrainingJobRow | None:
    mine = select(_ROW).where(_ROW.tenant == order.tenant)
    if order.idempotency_key is None:
        soon = func.abs(_ROW.created_at_ms - now_ms()) < SAME_ORDER_MS  # earlier, or by a clock that is ahead of ours
        same = mine.where(_ROW.order_digest == digest, _ROW.finished_at_ms.is_(None), soon)
        return session.scalars(same.order_by(_ROW.number).limit(1)).one_or_none()
    known = session.scalars(mine.where(_ROW.idempotency_key == order.idempotency_key)).one_or_none()
    if known is not None and known.order_digest != digest:
        raise KeyOfAnotherOrder(
            f"the idempotency key {order.idempotency_key[:80]!r} was sent with another order, of {known.id}; "
            "send a new key with a new order",
            param="Idempotency-Key",
        )
    return known


def _digest(order: JobOrder) -> str:
    return digest_of(canonical_json(_document(order)))


def _document(order: JobOrder) -> dict[str, Any]:
    document = asdict(order)
    del document["tenant"], document["idempotency_key"]
    return document


def _row(order: JobOrder, digest: str) -> TrainingJobRow:
    id_ = new_id("ftjob")
    seed = secrets.randbelow(MOST_SEED) if order.seed is None else order.seed
    whole = replace(order, seed=seed, adapter=order.adapter or id_)
    return TrainingJobRow(
        id=id_,
        tenant=order.tenant,
        created_at_ms=now_ms(),
        status="validating_files",
        pauses=False,
        ordered=_document(whole),
        order_digest=digest,
        idempotency_key=order.idempotency_key,
        has_metadata=order.metadata is not None,
        worker=None,
        lease_until_ms=0,
        attempts=0,
        hyperparameters=dict(order.hyperparameters),
        result_files=[],
        facts={},
        events=0,
    )
