"""What a price or a limit is for: `base:NAME`, `tenant:NAME`, `key:ID`, `adapter:tenant/adapter`."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.adapters.rows import Adapter
from registry.bases.rows import BaseModel
from registry.errors import InvalidInput, NotFound
from registry.tenants.rows import ApiKey, Tenant
from registry.tenants.store import of_a_tenant

BASE, TENANT, KEY, ADAPTER = "base", "tenant", "key", "adapter"
SHOWN = {BASE: "base:NAME", TENANT: "tenant:NAME", KEY: "key:ID", ADAPTER: "adapter:tenant/adapter"}


def require_scope(session: Session, scope: str, kinds: Collection[str], *, lock: bool = False) -> str:
    """Return `scope` if it is of one of these kinds and names something that exists.

    What it names is locked until the transaction ends if asked for, so that changes of one scope come one by one.
    Raises `InvalidInput` for what is no such scope, and `NotFound` when there is nothing of that name.
    """
    kind, _, name = scope.partition(":")
    if kind not in kinds or not name:
        expected = " or ".join(SHOWN[one] for one in kinds)
        raise InvalidInput(f"scope is {scope[:80]!r}; expected {expected}", param="scope")
    if kind == BASE:
        query = select(BaseModel.name).where(BaseModel.name == name)
    elif kind == TENANT:
        query = select(Tenant.name).where(Tenant.name == name, Tenant.deleted_at_ms.is_(None))
    elif kind == KEY:
        query = select(ApiKey.id).where(ApiKey.id == name)
    else:
        tenant, _, adapter = name.partition("/")
        query = select(Adapter.name).where(Adapter.tenant == tenant, Adapter.name == adapter)
        query = query.where(of_a_tenant(Adapter.tenant))
    if lock:
        query = query.with_for_update(key_share=True)  # others may go on referring to it
    if session.scalars(query).first() is None:
        lists = {BASE: "base list", TENANT: "tenants list", KEY: "keys list", ADAPTER: "adapters list"}
        raise NotFound(f"there is no {kind} {name[:80]!r}; `switchyard {lists[kind]}` shows them", param="scope")
    return scope
