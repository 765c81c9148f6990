"""Promotes and rollbacks: a row says what is wanted, the fleet's controller does it, the CLI follows the row.

requested → preloading → verified → flipped → draining → done
     └───────────┴───────────┴──→ failed (the alias has not moved)

A finished swap stays as it is: whoever comes second, to flip it or to record a step, gets a `Conflict`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.adapters import VersionInfo, move_alias, require_adapter, require_version, version_info
from registry.db import Database, now_ms
from registry.effect_proof import LEAST_EFFECT_IN_NOISES
from registry.errors import Conflict, InvalidInput, NotFound
from registry.leadership import check_fence
from registry.models import Adapter, Alias, AliasEvent, Split, Swap, Version
from registry.names import PRODUCTION, AdapterRef, check_name
from registry.proofs import ProofInfo, proof_of

REQUESTED, PRELOADING, VERIFIED, FLIPPED, DRAINING, DONE, FAILED = (
    "requested",
    "preloading",
    "verified",
    "flipped",
    "draining",
    "done",
    "failed",
)
FINAL_STATES = (DONE, FAILED)


@dataclass(frozen=True, slots=True)
class SwapInfo:
    """A swap as the controller executes it and the CLI shows it. `detail` grows with each state."""

    id: int
    alias: str
    adapter: str
    to_version: str
    to_version_id: int
    state: str
    detail: dict[str, Any]
    requested_at_ms: int
    finished_at_ms: int | None


class Swaps:
    """The queue of alias moves."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def request(
        self,
        ref: AdapterRef,
        *,
        alias: str = PRODUCTION,
        actor: str,
        reason: str = "",
        allow_indistinguishable: bool = False,
    ) -> SwapInfo:
        """Ask for `alias` to point at the version that `ref` names. Raises `NotFound`, `Conflict`, `InvalidInput`.

        A version whose proven effect is lost in the noise is refused unless it is allowed, which the swap records.
        """
        check_name(alias, "alias")
        if ref.alias == alias:
            raise InvalidInput(f"{str(ref)!r} names no version; write {ref.adapter_name}@1.1", param="version")
        with self._db.write() as session:
            adapter = require_adapter(session, ref)
            version = require_version(session, adapter, ref)
            proof = proof_of(session, version.manifest_digest)
            if proof is None or not proof.indistinguishable:
                return self._enqueue(session, adapter, version, alias, actor, reason)
            if not allow_indistinguishable:
                raise InvalidInput(
                    _why_indistinguishable(_name_of(session, adapter, version.id), proof), param="version"
                )
            return self._enqueue(session, adapter, version, alias, actor, reason, allowed_indistinguishable=True)

    def request_rollback(self, ref: AdapterRef, *, alias: str = PRODUCTION, actor: str, reason: str = "") -> SwapInfo:
        """Ask for `alias` to go back by one version.

        History is read as a stack: moving to the version below the top takes the top away, so that a second rollback
        goes further back, and never forward again. Raises `NotFound` at the bottom.
        """
        with self._db.write() as session:
            adapter = require_adapter(session, ref)
            events = session.scalars(
                select(AliasEvent)
                .where(AliasEvent.adapter_id == adapter.id, AliasEvent.alias == alias)
                .order_by(AliasEvent.id)
            )
            stack = _stack_of(event.to_version_id for event in events)
            if len(stack) < 2:
                raise NotFound(f"{ref.adapter_name}@{alias} has no earlier version to go back to", param="alias")
            version = session.get_one(Version, stack[-2])
            return self._enqueue(session, adapter, version, alias, actor, reason or "rollback")

    def _enqueue(
        self,
        session: Session,
        adapter: Adapter,
        version: Version,
        alias: str,
        actor: str,
        reason: str,
        **detail: object,
    ) -> SwapInfo:
        if version.quarantined:
            raise InvalidInput(
                f"{_name_of(session, adapter, version.id)} is quarantined: {version.quarantined}",
                param="version",
            )
        running = session.scalars(
            select(Swap).where(Swap.adapter_id == adapter.id, Swap.alias == alias, Swap.state.not_in(FINAL_STATES))
        ).first()
        if running is not None:
            raise Conflict(
                f"swap {running.id} of {adapter.tenant}/{adapter.name}@{alias} is still {running.state!r}; "
                "a running gateway finishes it",
                param="alias",
            )
        current = session.get(Alias, (adapter.id, alias))
        row = Swap(
            adapter_id=adapter.id,
            alias=alias,
            expected_etag=current.etag if current else 0,
            to_version_id=version.id,
            state=REQUESTED,
            detail={**_origin(session, adapter, current), **detail},
            actor=actor,
            reason=reason[:1000],
            requested_at_ms=now_ms(),
            finished_at_ms=None,
        )
        session.add(row)
        session.flush()
        return _swap_info(session, row)

    def get(self, swap_id: int) -> SwapInfo:
        """One swap; raises `NotFound`."""
        with self._db.read() as session:
            row = session.get(Swap, swap_id)
            if row is None:
                raise NotFound(f"there is no swap {swap_id}", param="swap")
            return _swap_info(session, row)

    def recent(self, limit: int, ref: AdapterRef | None = None) -> list[SwapInfo]:
        """The newest swaps, newest first, of all adapters or of one."""
        query = select(Swap).order_by(Swap.id.desc()).limit(limit)
        with self._db.read() as session:
            if ref is not None:
                query = query.where(Swap.adapter_id == require_adapter(session, ref).id)
            return [_swap_info(session, row) for row in session.scalars(query)]

    def pending(self) -> list[SwapInfo]:
        """Swaps that are not finished, oldest first. A successor of a dead controller begins with these."""
        with self._db.read() as session:
            rows = session.scalars(select(Swap).where(Swap.state.not_in(FINAL_STATES)).order_by(Swap.id))
            return [_swap_info(session, row) for row in rows]

    def target(self, swap_id: int) -> VersionInfo:
        """The version that the swap makes current."""
        with self._db.read() as session:
            row = session.get_one(Swap, swap_id)
            return version_info(
                session, session.get_one(Adapter, row.adapter_id), session.get_one(Version, row.to_version_id)
            )

    def advance(self, swap_id: int, state: str, *, fence: int | None = None, **detail: object) -> None:
        """Record a step, adding `detail`; a final state also records the time. Raises `Conflict` after that.

        `fence` is the token of the controller that does it: one whose term is over gets a `Conflict` too.
        """
        with self._db.write() as session:
            if fence is not None:
                check_fence(session, fence)
            row = _require_running(session, swap_id)
            row.state = state
            row.detail = {**row.detail, **detail}
            row.finished_at_ms = now_ms() if state in FINAL_STATES else None

    def flip(self, swap_id: int, *, fence: int | None = None) -> int:
        """Move the alias, in one transaction with the swap's state; return the catalog revision that shows it.

        Raises `Conflict` when the alias has moved since the swap was asked for, the version was quarantined, the swap
        is finished, or the controller's term, whose token is `fence`, is over.
        """
        with self._db.write() as session:
            if fence is not None:
                check_fence(session, fence)
            row = _require_running(session, swap_id)
            if reason := session.get_one(Version, row.to_version_id).quarantined:
                name = _name_of(session, session.get_one(Adapter, row.adapter_id), row.to_version_id)
                raise Conflict(f"{name} was quarantined meanwhile: {reason}", param="version")
            move_alias(
                session,
                adapter_id=row.adapter_id,
                alias=row.alias,
                to_version_id=row.to_version_id,
                expected_etag=row.expected_etag,
                actor=row.actor,
                reason=row.reason,
            )
            row.state = FLIPPED
            ended = _end_split(session, row)
            revision = session.catalog_revision()
            row.detail = {**row.detail, "flipped_at_ms": now_ms(), "revision": revision, "ended_split": ended}
            return revision


def _require_running(session: Session, swap_id: int) -> Swap:
    row = session.get_one(Swap, swap_id, with_for_update=True)
    if row.state in FINAL_STATES:
        raise Conflict(f"swap {swap_id} is {row.state} already", param="swap")
    return row


def _stack_of(moves: Iterable[int]) -> list[int]:
    """Version ids from the oldest to the current one, without those that were rolled back."""
    stack: list[int] = []
    for version_id in moves:
        if stack[-1:] == [version_id]:
            continue
        if stack[-2:-1] == [version_id]:
            stack.pop()
        else:
            stack.append(version_id)
    return stack


def _end_split(session: Session, swap: Swap) -> int | None:
    """A promote or rollback means all of the alias's traffic: a split that ran ends with it. Returns its id."""
    split = session.scalars(
        select(Split).where(Split.adapter_id == swap.adapter_id, Split.alias == swap.alias, Split.ended_at_ms.is_(None))
    ).one_or_none()
    if split is None:
        return None
    split.ended_at_ms = now_ms()
    return split.id


def _why_indistinguishable(name: str, proof: ProofInfo) -> str:
    return (
        f"{name} is indistinguishable from its base: its proof's largest effect is {proof.largest_effect:.3f} nats, "
        f"less than {LEAST_EFFECT_IN_NOISES:g} times the noise of {proof.noise:g}; train it longer, prove it on texts "
        f"of its own task with `switchyard adapters prove {name} --texts FILE.jsonl`, or say --allow-indistinguishable"
    )


def _origin(session: Session, adapter: Adapter, current: Alias | None) -> dict[str, Any]:
    if current is None:
        return {"from": None, "from_version_id": None}
    return {"from": _name_of(session, adapter, current.version_id), "from_version_id": current.version_id}


def _name_of(session: Session, adapter: Adapter, version_id: int) -> str:
    version = session.get_one(Version, version_id)
    return f"{adapter.tenant}/{adapter.name}@{version.major}.{version.minor}"


def _swap_info(session: Session, row: Swap) -> SwapInfo:
    adapter = session.get_one(Adapter, row.adapter_id)
    return SwapInfo(
        id=row.id,
        alias=row.alias,
        adapter=f"{adapter.tenant}/{adapter.name}",
        to_version=_name_of(session, adapter, row.to_version_id),
        to_version_id=row.to_version_id,
        state=row.state,
        detail=dict(row.detail),
        requested_at_ms=row.requested_at_ms,
        finished_at_ms=row.finished_at_ms,
    )
