"""Who idle time falls to, unless a bill is asked for otherwise: the newest row counts, and none is ever changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func, select

from registry.db import Database, now_ms
from registry.engine_costs.rows import IdlePolicyRow


@dataclass(frozen=True, slots=True)
class IdlePolicyInfo:
    """A policy, and the shares of tenants that it needs."""

    policy: str
    shares: Mapping[str, str]
    actor: str
    added_at_ms: int


class IdlePolicies:
    """Every policy that there was."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def put(self, policy: str, shares: Mapping[str, str], *, actor: str) -> IdlePolicyInfo:
        """The policy from now on. Whoever puts it has seen that it is one: `gateway.cost.allocation.idle_of`."""
        info = IdlePolicyInfo(policy, dict(shares), actor, now_ms())
        with self._db.write() as session:
            session.add(IdlePolicyRow(policy=policy, shares=dict(shares), actor=actor, added_at_ms=info.added_at_ms))
        return info

    def newest(self, policy: str | None = None, upto: int | None = None) -> IdlePolicyInfo | None:
        """The one in force, or the newest of a name, if there is any; with `upto` of those with no larger id."""
        query = select(IdlePolicyRow).order_by(IdlePolicyRow.id.desc()).limit(1)
        if policy is not None:
            query = query.where(IdlePolicyRow.policy == policy)
        if upto is not None:
            query = query.where(IdlePolicyRow.id <= upto)
        with self._db.read() as session:
            row = session.scalars(query).first()
        return None if row is None else IdlePolicyInfo(row.policy, row.shares, row.actor, row.added_at_ms)

    def last_id(self) -> int:
        """Of the newest; 0: there is none."""
        with self._db.read() as session:
            return session.scalar(select(func.max(IdlePolicyRow.id))) or 0
