"""Promotes, rollbacks and ramps: a row says what is wanted, the fleet's controller does it, the CLI follows the row.

requested → preloading → verified → flipped → draining → done
     └───────────┴───────────┴──→ failed (the alias and its split are as before)

A ramp (a split that begins, changes its weights or ends) skips draining: nothing is left behind by it.
A finished swap stays as it is: whoever comes second, to flip it or to record a step, gets a `Conflict`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.adapters.aliases import move_alias, require_unmoved
from registry.adapters.proofs import proof_of
from registry.adapters.rows import Adapter, Alias, Version
from registry.adapters.version_rows import require_adapter, require_version
from registry.db import Database, now_ms
from registry.errors import Conflict, InvalidInput, NotFound
from registry.etags import alias_etag, require_match
from registry.experiments.carrying import carried_out, lock_for, not_carried_out, refuse_while_running
from registry.fleet.leadership import check_fence
from registry.gates.rules import UNGATED, pass_gate, pass_gate_still
from registry.names import PRODUCTION, AdapterRef, check_name
from registry.splits.ranges import FULL_WEIGHT
from registry.splits.rows import BASE_ARM, Split
from registry.splits.store import active_split, begin_split, end_split
from registry.swaps.infos import FAILED, FINAL_STATES, FLIPPED, SwapInfo, swap_info
from registry.swaps.queueing import enqueue, enqueue_ramp
from registry.swaps.rows import Swap
from registry.swaps.rules import (
    check_weights,
    name_of,
    refuse_quarantined,
    versions_of,
    why_indistinguishable,
)
from registry.swaps.ways_back import WayBackInfo, way_back, ways_back_of

if TYPE_CHECKING:
    from registry.catalog.changes import WriteSession


class Swaps:
    """The queue of everything that changes where an alias's traffic goes; one at a time for an alias."""

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
        override: str | None = None,
        expected: Collection[str] | None = None,
    ) -> SwapInfo:
        """Ask for `alias` to point at the version that `ref` names. Raises `NotFound`, `Conflict`, `InvalidInput`.

        `expected` are the etags of the alias from which it may move; `Stale` when it has moved since they were read.

        A version whose proven effect is lost in the noise is refused unless it is allowed, which the swap records.
        While the alias has a gate, a version that has not passed it is refused (`GateClosed`), unless `override` says
        why it may pass all the same.
        """
        check_name(alias, "alias")
        if ref.alias == alias:
            raise InvalidInput(f"{str(ref)!r} names no version; write {ref.adapter_name}@1.1", param="version")
        with self._db.write() as session:
            adapter = require_adapter(session, ref)
            refuse_while_running(session, adapter, alias)
            _require_alias(session, adapter, alias, expected)
            version = require_version(session, adapter, ref)
            refuse_quarantined(session, adapter, version, "version")
            proof = proof_of(session, version.manifest_digest)
            detail: dict[str, Any] = {}
            if proof is not None and proof.indistinguishable:
                if not allow_indistinguishable:
                    raise InvalidInput(
                        why_indistinguishable(name_of(session, adapter, version.id), proof), param="version"
                    )
                detail["allowed_indistinguishable"] = True
            detail |= pass_gate(session, adapter, alias, [(version, FULL_WEIGHT)], override, actor)
            return enqueue(session, adapter, version, alias, actor, reason, **detail)

    def request_rollback(
        self,
        ref: AdapterRef,
        *,
        alias: str = PRODUCTION,
        actor: str,
        reason: str = "",
        expected: Collection[str] | None = None,
    ) -> SwapInfo:
        """Ask for the alias's newest change to be taken back: while it is split, the split ends and all of its traffic
        goes to the version that it points at; else it goes back by one version.

        A second rollback goes further back, and never forward again. Raises `NotFound` at the bottom, `Conflict`,
        `InvalidInput`; `expected` as in `request`.
        """
        with self._db.write() as session:
            adapter = require_adapter(session, ref)
            refuse_while_running(session, adapter, alias)
            _require_alias(session, adapter, alias, expected)
            version, ends_split = way_back(session, adapter, alias)
            why = reason or "rollback"
            if ends_split:
                return enqueue_ramp(
                    session, adapter, version, [(version, FULL_WEIGHT)], alias, actor, why, gate=UNGATED
                )
            return enqueue(session, adapter, version, alias, actor, why, gate=UNGATED)

    def ways_back(self, ref: AdapterRef) -> dict[str, WayBackInfo]:
        """What `request_rollback` would do now, by alias, whatever `ref` has after `@`. Raises `NotFound`."""
        with self._db.read() as session:
            return ways_back_of(session, require_adapter(session, ref))

    def request_ramp(
        self,
        ref: AdapterRef,
        weights: Mapping[str, int],
        *,
        alias: str = PRODUCTION,
        actor: str,
        reason: str = "",
        override: str | None = None,
    ) -> SwapInfo:
        """Ask for the alias's traffic to be split by `{"1.0": 9000, "1.1": 1000}`, instead of as it is now.

        Raises `InvalidInput` when the weights do not sum to 10,000 or a version is quarantined, `NotFound`, `Conflict`,
        and `GateClosed` when versions that have not passed the alias's gate would have more than half of the traffic.
        """
        check_weights(ref, alias, weights)
        with self._db.write() as session:
            adapter = require_adapter(session, ref)
            refuse_while_running(session, adapter, alias)
            arms = versions_of(session, adapter, ref, weights)
            current = require_version(session, adapter, AdapterRef(ref.tenant, ref.adapter, None, alias))
            detail = pass_gate(session, adapter, alias, arms, override, actor)
            return enqueue_ramp(session, adapter, current, arms, alias, actor, reason, **detail)

    def request_ramp_end(self, ref: AdapterRef, *, alias: str = PRODUCTION, actor: str, reason: str = "") -> SwapInfo:
        """Ask for the alias's whole traffic to go to the version that it points at again.

        Raises `NotFound` when nothing is split, `InvalidInput` when that version is quarantined, `Conflict`.
        """
        with self._db.write() as session:
            adapter = require_adapter(session, ref)
            if active_split(session, adapter.id, alias) is None:
                raise NotFound(f"{ref.adapter_name}@{alias} is not split", param="alias")
            refuse_while_running(session, adapter, alias)
            current = require_version(session, adapter, AdapterRef(ref.tenant, ref.adapter, None, alias))
            refuse_quarantined(session, adapter, current, "alias")
            arms = [(current, FULL_WEIGHT)]
            return enqueue_ramp(session, adapter, current, arms, alias, actor, reason, gate=UNGATED)

    def get(self, swap_id: int) -> SwapInfo:
        """One swap; raises `NotFound`."""
        with self._db.read() as session:
            row = session.get(Swap, swap_id)
            if row is None:
                raise NotFound(f"there is no swap {swap_id}", param="swap")
            return swap_info(session, row)

    def recent(self, limit: int, ref: AdapterRef | None = None) -> list[SwapInfo]:
        """The newest swaps, newest first, of all adapters or of one."""
        query = select(Swap).order_by(Swap.id.desc()).limit(limit)
        with self._db.read() as session:
            if ref is not None:
                query = query.where(Swap.adapter_id == require_adapter(session, ref).id)
            return [swap_info(session, row) for row in session.scalars(query)]

    def pending(self) -> list[SwapInfo]:
        """Swaps that are not finished, oldest first. A successor of a dead controller begins with these."""
        with self._db.read() as session:
            rows = session.scalars(select(Swap).where(Swap.finished_at_ms.is_(None)).order_by(Swap.id))
            return [swap_info(session, row) for row in rows]

    def advance(self, swap_id: int, state: str, *, fence: int | None = None, **detail: object) -> None:
        """Record a step, adding `detail`; a final state also records the time. Raises `Conflict` after that.

        `fence` is the token of the controller that does it: one whose term is over gets a `Conflict` too.
        """
        with self._db.write() as session:
            if fence is not None:
                check_fence(session, fence)
            row = _require_running(session, swap_id)
            failed = state == FAILED and "flipped_at_ms" not in row.detail
            experiment = lock_for(session, row) if failed else None
            row.state = state
            row.detail = {**row.detail, **detail}
            row.finished_at_ms = now_ms() if state in FINAL_STATES else None
            if experiment is not None:
                not_carried_out(session, row, experiment)

    def flip(self, swap_id: int, *, fence: int | None = None) -> int:
        """Move the alias, or change its split, in one transaction with the swap's state.

        Returns the catalog revision that shows it. A move ends the split that ran: whoever promotes or rolls back means
        all of the traffic. Raises `Conflict` when the alias has moved since the swap was asked for, a version was
        quarantined, its gate lets it pass no longer, the swap is finished, or the controller's term, whose token is
        `fence`, is over.
        """
        with self._db.write() as session:
            if fence is not None:
                check_fence(session, fence)
            row = _require_running(session, swap_id)
            experiment = lock_for(session, row)
            swap = swap_info(session, row)
            for arm in swap.arms:
                if arm.version_id != BASE_ARM and (why := session.get_one(Version, arm.version_id).quarantined):
                    raise Conflict(f"{arm.version} was quarantined meanwhile: {why}", param="version")
            pass_gate_still(
                session, row.adapter_id, row.alias, {arm.version_id: arm.weight for arm in swap.arms}, row.detail
            )
            if swap.kind == "move":
                move_alias(
                    session,
                    adapter_id=row.adapter_id,
                    alias=row.alias,
                    to_version_id=row.to_version_id,
                    expected_etag=row.expected_etag,
                    actor=row.actor,
                    reason=row.reason,
                )
            else:
                require_unmoved(session, row.adapter_id, row.alias, row.expected_etag)
            ended = end_split(session, row.adapter_id, row.alias)
            begun = None
            if len(swap.arms) > 1:
                arms = [(arm.version_id, arm.weight) for arm in swap.arms]
                of = None if experiment is None else (experiment.id, experiment.salt)
                begun = begin_split(session, row.adapter_id, row.alias, arms, ended, of)
            if experiment is not None:
                carried_out(row, experiment)
            return _flipped(session, row, ended, begun)


def _flipped(session: WriteSession, row: Swap, ended: Split | None, begun: Split | None) -> int:
    row.state = FLIPPED
    revision = session.catalog_revision()
    found: dict[str, Any] = {
        "flipped_at_ms": now_ms(),
        "revision": revision,
        "ended_split": ended.id if ended else None,
    }
    if begun is not None:
        found["split"] = begun.id
    row.detail = {**row.detail, **found}
    return revision


def _require_alias(session: Session, adapter: Adapter, alias: str, expected: Collection[str] | None) -> None:
    row = session.get(Alias, (adapter.id, alias))
    require_match(alias_etag(row.etag if row else 0), expected, f"{adapter.tenant}/{adapter.name}@{alias}")


def _require_running(session: Session, swap_id: int) -> Swap:
    row = session.get_one(Swap, swap_id, with_for_update=True)
    if row.state in FINAL_STATES:
        raise Conflict(f"swap {swap_id} is {row.state} already", param="swap")
    return row
