"""External model names of tenants (`gpt-4o-mini-2024-07-18`) and what they stand for; one rule for all."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.adapters.version_rows import require_adapter, require_version
from registry.bases.rows import BaseModel
from registry.db import Database, now_ms
from registry.errors import InvalidInput, NotFound
from registry.etags import NOTHING, etag_of, require_match
from registry.names import MAX_EXTERNAL_MODEL_LENGTH, parse_ref
from registry.tenants.actions import PROGRAM, record_action
from registry.tenants.rows import ModelMap
from registry.tenants.store import require_tenant


@dataclass(frozen=True, slots=True)
class MappingInfo:
    """What a tenant's code may send as `model`, and what it gets."""

    tenant: str
    external: str
    target: str
    created_at_ms: int

    @property
    def etag(self) -> str:
        """Names what it stands for now."""
        return etag_of(self.target, self.created_at_ms)


class ModelNames:
    """The mappings of all tenants."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def page(self, tenant: str, after: str | None, limit: int) -> list[MappingInfo]:
        """A tenant's mappings by name, those that come after `after`. Raises `NotFound` without the tenant."""
        query = select(ModelMap).where(ModelMap.tenant == tenant).order_by(ModelMap.external).limit(limit)
        if after is not None:
            query = query.where(ModelMap.external > after)
        with self._db.read() as session:
            require_tenant(session, tenant)
            return [_info(row) for row in session.scalars(query)]

    def get(self, tenant: str, external: str) -> MappingInfo:
        """One mapping. Raises `NotFound`."""
        with self._db.read() as session:
            return _info(_require(session, tenant, external))

    def map(
        self,
        tenant: str,
        external: str,
        target: str,
        *,
        actor: str = PROGRAM,
        expected: Collection[str] | None = None,
    ) -> MappingInfo:
        """Let `external` stand for a base model, or for an adapter of the tenant, a version or an alias of it.

        `expected` are the etags of what may be replaced (`NOTHING`: no mapping). Raises `NotFound` when there is no
        such target, `InvalidInput` when it is another tenant's, `Stale`.
        """
        if not external or len(external) > MAX_EXTERNAL_MODEL_LENGTH or not external.isprintable():
            raise InvalidInput(
                f"external model name is {external[:80]!r}; "
                f"expected 1 to {MAX_EXTERNAL_MODEL_LENGTH} printable characters",
                param="external",
            )
        with self._db.write() as session:
            require_tenant(session, tenant, lock=True)
            _require_target(session, tenant, target)
            known = session.get(ModelMap, (tenant, external))
            before = _info(known) if known else None
            require_match(before.etag if before else NOTHING, expected, f"{tenant}'s {external!r}")
            row = session.merge(ModelMap(tenant=tenant, external=external, target=target, created_at_ms=now_ms()))
            detail = {"target": target, "before": before.target if before else None}
            record_action(session, actor, "model.mapped", tenant, f"{tenant}/{external}", **detail)
            return _info(row)

    def unmap(
        self, tenant: str, external: str, *, actor: str = PROGRAM, expected: Collection[str] | None = None
    ) -> MappingInfo:
        """Forget a name and return what it stood for. Raises `NotFound` when it was not mapped, `Stale`."""
        with self._db.write() as session:
            row = _require(session, tenant, external, lock=True)
            info = _info(row)
            require_match(info.etag, expected, f"{tenant}'s {external!r}")
            session.delete(row)
            record_action(session, actor, "model.unmapped", tenant, f"{tenant}/{external}", before=info.target)
            return info


def _require(session: Session, tenant: str, external: str, *, lock: bool = False) -> ModelMap:
    row = session.get(ModelMap, (tenant, external), with_for_update=lock)
    if row is None:
        raise NotFound(f"tenant {tenant[:80]!r} has no mapping for {external[:80]!r}", param="external")
    return row


def _require_target(session: Session, tenant: str, target: str) -> None:
    if session.scalars(select(BaseModel.digest).where(BaseModel.name == target)).first() is not None:
        return
    ref = parse_ref(target, tenant=tenant)
    if ref.tenant != tenant:
        raise InvalidInput(f"{target!r} belongs to tenant {ref.tenant!r}, not to {tenant!r}", param="target")
    require_version(session, require_adapter(session, ref), ref)


def _info(row: ModelMap) -> MappingInfo:
    return MappingInfo(row.tenant, row.external, row.target, row.created_at_ms)
