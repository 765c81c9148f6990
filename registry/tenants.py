"""Tenants, their API keys and their external model names."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.db import Database, now_ms
from registry.errors import Conflict, InvalidInput, NotFound
from registry.models import ApiKey, ModelMap, Tenant
from registry.names import MAX_EXTERNAL_MODEL_LENGTH, check_name

SCOPES = ("inference", "base")
"""`inference`: the tenant's own adapters. `base`: the base models under their public names."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key at its only sight. `secret` is `sk-` and 256 random bits, and is stored nowhere."""

    id: str
    tenant: str
    secret: str
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A key as it can be listed."""

    id: str
    tenant: str
    shown: str
    label: str
    scopes: tuple[str, ...]
    created_at_ms: int
    revoked_at_ms: int | None


@dataclass(frozen=True, slots=True)
class TenantInfo:
    """A tenant as it can be listed."""

    name: str
    allow_unknown_fields: bool
    models: dict[str, str]
    """External model name → target."""
    created_at_ms: int


def hash_secret(secret: str) -> bytes:
    """The 32 bytes under which a key is looked up. A key has 256 random bits, so a plain hash is enough."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


class Tenants:
    """Tenants and everything that hangs on them."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def create(self, name: str, *, allow_unknown_fields: bool = False) -> TenantInfo:
        """Add a tenant; raises `Conflict` when the name is taken."""
        check_name(name, "tenant")
        with self._db.write() as session:
            if session.get(Tenant, name):
                raise Conflict(f"tenant {name!r} exists already", param="tenant")
            row = Tenant(name=name, allow_unknown_fields=allow_unknown_fields, created_at_ms=now_ms())
            session.add(row)
            return _tenant_info(row, {})

    def set_allow_unknown_fields(self, name: str, allow: bool) -> TenantInfo:
        """Let request fields that the gateway does not know pass to the engine, or stop letting them."""
        with self._db.write() as session:
            row = require_tenant(session, name)
            row.allow_unknown_fields = allow
            return _tenant_info(row, _maps_of(session, name))

    def all(self) -> list[TenantInfo]:
        """All tenants by name."""
        with self._db.read() as session:
            return [
                _tenant_info(row, _maps_of(session, row.name))
                for row in session.scalars(select(Tenant).order_by(Tenant.name))
            ]

    def map_model(self, tenant: str, external: str, target: str) -> None:
        """Let `external` stand for `target` (a version, an alias, or a base model's name) in this tenant's requests."""
        if not external or len(external) > MAX_EXTERNAL_MODEL_LENGTH or not external.isprintable():
            raise InvalidInput(
                f"external model name is {external[:80]!r}; "
                f"expected 1 to {MAX_EXTERNAL_MODEL_LENGTH} printable characters",
                param="external",
            )
        with self._db.write() as session:
            require_tenant(session, tenant)
            session.merge(ModelMap(tenant=tenant, external=external, target=target, created_at_ms=now_ms()))

    def unmap_model(self, tenant: str, external: str) -> None:
        """Forget an external model name; raises `NotFound` when it was not mapped."""
        with self._db.write() as session:
            row = session.get(ModelMap, (tenant, external))
            if row is None:
                raise NotFound(f"tenant {tenant!r} has no mapping for {external!r}", param="external")
            session.delete(row)

    def create_key(self, tenant: str, *, label: str = "", scopes: tuple[str, ...] = ("inference",)) -> NewKey:
        """Make a key for a tenant and return its secret, once."""
        unknown = [scope for scope in scopes if scope not in SCOPES]
        if unknown or not scopes:
            raise InvalidInput(f"scope is {unknown or 'empty'}; choose from {', '.join(SCOPES)}", param="scopes")
        secret = f"sk-{secrets.token_urlsafe(32)}"
        key_id = f"key-{secrets.token_hex(8)}"
        with self._db.write() as session:
            require_tenant(session, tenant)
            session.add(
                ApiKey(
                    id=key_id,
                    tenant=tenant,
                    sha256=hash_secret(secret).hex(),
                    shown=f"{secret[:6]}…{secret[-4:]}",
                    label=label[:100],
                    scopes=list(scopes),
                    created_at_ms=now_ms(),
                    revoked_at_ms=None,
                )
            )
        return NewKey(key_id, tenant, secret, scopes)

    def list_keys(self, tenant: str | None = None) -> list[KeyInfo]:
        """Keys of one tenant or of all, oldest first; never their secrets."""
        query = select(ApiKey).order_by(ApiKey.created_at_ms, ApiKey.id)
        with self._db.read() as session:
            if tenant is not None:
                require_tenant(session, tenant)
                query = query.where(ApiKey.tenant == tenant)
            return [
                KeyInfo(
                    row.id, row.tenant, row.shown, row.label, tuple(row.scopes), row.created_at_ms, row.revoked_at_ms
                )
                for row in session.scalars(query)
            ]

    def revoke_key(self, key_id: str) -> None:
        """End a key; gateways refuse it within a second. Revoking twice is no error."""
        with self._db.write() as session:
            row = session.get(ApiKey, key_id)
            if row is None:
                raise NotFound(f"there is no key {key_id!r}; `switchyard keys list` shows the ids", param="key_id")
            row.revoked_at_ms = row.revoked_at_ms or now_ms()


def require_tenant(session: Session, name: str, *, lock: bool = False) -> Tenant:
    """The tenant's row, locked until the transaction ends if asked for; raises `NotFound` with the remedy."""
    row = session.get(Tenant, name, with_for_update=lock)
    if row is None:
        raise NotFound(
            f"there is no tenant {name!r}; create it with `switchyard tenants create {name}`", param="tenant"
        )
    return row


def _maps_of(session: Session, tenant: str) -> dict[str, str]:
    rows = session.scalars(select(ModelMap).where(ModelMap.tenant == tenant).order_by(ModelMap.external))
    return {row.external: row.target for row in rows}


def _tenant_info(row: Tenant, models: dict[str, str]) -> TenantInfo:
    return TenantInfo(row.name, row.allow_unknown_fields, models, row.created_at_ms)
