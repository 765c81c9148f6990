"""Tenants and their API keys."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import TypedDict

from sqlalchemy import ColumnElement, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from registry.days import MOST_DAYS, when
from registry.db import Database, now_ms
from registry.errors import Conflict, InvalidInput, NotFound
from registry.etags import etag_of, require_match
from registry.names import check_name
from registry.short_digest import sha256
from registry.tenants.actions import PROGRAM, record_action
from registry.tenants.key_adapters import adapters_of_key
from registry.tenants.rows import ApiKey, ModelMap, Tenant

SCOPES = ("inference", "base", "training")
"""`inference`: the tenant's own adapters. `base`: the base models under their public names. `training`: the tenant's
files and fine-tuning jobs.
"""
USUAL_SCOPES = ("inference", "training")
"""Of a key for which nobody says others."""

MAX_LABEL_LENGTH = 100
MOST_OVERLAP_S = 90 * 86_400
"""For which a key that was rotated may go on beside the new one."""


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
    expires_at_ms: int | None
    """From then on it opens nothing; `None`: it has no end."""
    adapters: tuple[str, ...] | None
    """`tenant/adapter`, sorted: all that it opens of the tenant's adapters; `None`: every one."""


@dataclass(frozen=True, slots=True)
class TenantInfo:
    """A tenant as it can be listed."""

    name: str
    allow_unknown_fields: bool
    response_days: int | None
    """How long its responses are kept; 0: never stored; `None`: as long as the gateway's setting."""
    max_stored_records: int | None
    """Most responses, conversations and items that are kept for it; `None`: as the gateway's setting."""
    max_stored_bytes: int | None
    """Likewise, their bytes."""
    shadow_consent: bool
    """Whether its requests may be copied to a candidate version."""
    pair_days: int | None
    """How long the texts of copied requests are kept; 0: only figures are; `None`: as long as the gateway's setting."""
    weight: int
    """Its share of engines that are full, beside that of others: 1 to 1,000."""
    models: dict[str, str]
    """External model name → target."""
    created_at_ms: int

    @property
    def etag(self) -> str:
        """Names the tenant's settings as they are."""
        most = self.max_stored_records, self.max_stored_bytes
        copied = self.shadow_consent, self.pair_days
        served = self.response_days, self.weight
        return etag_of(self.name, self.allow_unknown_fields, self.created_at_ms, *served, *most, *copied)


MOST_STORED = 1 << 50
MOST_WEIGHT = 1_000
MOST = {
    "response_days": MOST_DAYS,
    "max_stored_records": MOST_STORED,
    "max_stored_bytes": MOST_STORED,
    "pair_days": MOST_DAYS,
    "weight": MOST_WEIGHT,
}
"""Of a tenant's settings that are numbers."""


class TenantSettings(TypedDict, total=False):
    """What can be changed of a tenant, as in `TenantInfo`; what is not named stays."""

    allow_unknown_fields: bool
    response_days: int | None
    max_stored_records: int | None
    max_stored_bytes: int | None
    shadow_consent: bool
    pair_days: int | None
    weight: int


def hash_secret(secret: str) -> bytes:
    """The 32 bytes under which a key is looked up. A key has 256 random bits, so a plain hash is enough."""
    digest: bytes = sha256(secret.encode("utf-8", "surrogatepass")).digest()
    return digest


class Tenants:
    """Tenants and everything that hangs on them."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def create(self, name: str, *, allow_unknown_fields: bool = False, actor: str = PROGRAM) -> TenantInfo:
        """Add a tenant; raises `Conflict` when the name is taken, or was a tenant's that is deleted."""
        check_name(name, "tenant")
        with self._db.write() as session:
            row = Tenant(
                name=name,
                allow_unknown_fields=allow_unknown_fields,
                shadow_consent=False,
                weight=1,
                created_at_ms=now_ms(),
            )
            if not session.add_new(row):
                raise _taken(session, name)
            record_action(session, actor, "tenant.created", name, name, allow_unknown_fields=allow_unknown_fields)
            return _tenant_info(row, {})

    def change(
        self, name: str, settings: TenantSettings, *, actor: str = PROGRAM, expected: Collection[str] | None = None
    ) -> TenantInfo:
        """Change those settings that are named.

        `expected` are the etags of the tenant that may be changed. Raises `NotFound`, `InvalidInput`, `Stale`.
        """
        for field, most in MOST.items():
            value, least = settings.get(field), 1 if field == "weight" else 0
            if isinstance(value, int) and not least <= value <= most:
                raise InvalidInput(f"{field} is {value}; expected {least} to {most}", param=field)
        with self._db.write() as session:
            row = require_tenant(session, name, lock=True)
            require_unchanged(row, expected)
            news = {field: value for field, value in settings.items() if getattr(row, field) != value}
            for field, value in news.items():
                setattr(row, field, value)
            if news.get("shadow_consent") is False:
                from registry.shadows.ending import end_shadows_of  # its tables are for who takes consent away

                end_shadows_of(session, name, actor=actor)
            if news:
                record_action(session, actor, "tenant.changed", name, name, **news)
            return _tenant_info(row, _maps_of(session, name))

    def all(self) -> list[TenantInfo]:
        """All tenants by name; none that is deleted."""
        return self.page(None, None)

    def page(self, after: str | None, limit: int | None) -> list[TenantInfo]:
        """Tenants by name, those that come after `after`."""
        query = select(Tenant).where(Tenant.deleted_at_ms.is_(None)).order_by(Tenant.name).limit(limit)
        if after is not None:
            query = query.where(Tenant.name > after)
        with self._db.read() as session:
            return [_tenant_info(row, _maps_of(session, row.name)) for row in session.scalars(query)]

    def get(self, name: str) -> TenantInfo:
        """One tenant; raises `NotFound`."""
        with self._db.read() as session:
            return _tenant_info(require_tenant(session, name), _maps_of(session, name))

    def was_deleted(self, name: str) -> bool:
        """Whether there was a tenant of that name, which nobody gets again."""
        with self._db.read() as session:
            row = session.get(Tenant, name)
            return row is not None and row.deleted_at_ms is not None

    def create_key(
        self,
        tenant: str,
        *,
        label: str = "",
        scopes: tuple[str, ...] = USUAL_SCOPES,
        expires_at_ms: int | None = None,
        adapters: Collection[str] | None = None,
        actor: str = PROGRAM,
    ) -> NewKey:
        """Make a key for a tenant and return its secret, once; it opens nothing from `expires_at_ms` on, and of the
        tenant's adapters only those that `adapters` names (`adapter` or `tenant/adapter`), if it does; they need not be
        there yet. Raises `InvalidInput`, `NotFound`.
        """
        unknown = [scope for scope in scopes if scope not in SCOPES]
        if unknown or not scopes:
            raise InvalidInput(f"scope is {unknown or 'empty'}; choose from {', '.join(SCOPES)}", param="scopes")
        if len(label) > MAX_LABEL_LENGTH or not label.isprintable():
            text = f"label is {label[:80]!r}; expected at most {MAX_LABEL_LENGTH} printable characters"
            raise InvalidInput(text, param="label")
        if expires_at_ms is not None and expires_at_ms <= now_ms():
            raise InvalidInput("expires is over already; name a later day", param="expires")
        narrowed = None if adapters is None else adapters_of_key(tenant, adapters)
        with self._db.write() as session:
            require_tenant(session, tenant)
            return _new_key(session, tenant, _Terms(label, scopes, expires_at_ms, narrowed), actor)

    def rotate_key(self, key_id: str, *, keep_old_s: int = 0, actor: str = PROGRAM) -> NewKey:
        """Make a key with the label, scopes, adapters and end of another one, which ends after so many seconds, at once
        for 0.

        Raises `NotFound`, `InvalidInput` for a bad time, `Conflict` for a key that is revoked or has ended.
        """
        if not 0 <= keep_old_s <= MOST_OVERLAP_S:
            raise InvalidInput(f"keep_old is {keep_old_s}; expected 0 to {MOST_OVERLAP_S} seconds", param="keep_old")
        with self._db.write() as session:
            old, at_ms = _require_key(session, key_id, lock=True), now_ms()
            require_tenant(session, old.tenant)
            if old.revoked_at_ms is not None or (old.expires_at_ms is not None and old.expires_at_ms <= at_ms):
                raise Conflict(f"key {key_id} is over; create another one", param="key_id")
            terms = _Terms(old.label, tuple(old.scopes), old.expires_at_ms, old.adapters)
            made = _new_key(session, old.tenant, terms, actor)
            if keep_old_s:
                ends_ms = at_ms + keep_old_s * 1_000
                old.expires_at_ms = ends_ms if old.expires_at_ms is None else min(ends_ms, old.expires_at_ms)
            else:
                old.revoked_at_ms = at_ms
            record_action(session, actor, "key.rotated", old.tenant, key_id, to=made.id, keep_old_s=keep_old_s)
            return made

    def list_keys(self, tenant: str | None = None) -> list[KeyInfo]:
        """Keys of one tenant or of all, oldest first; never their secrets."""
        return self.page_keys(tenant, None, None)

    def page_keys(self, tenant: str | None, after: str | None, limit: int | None) -> list[KeyInfo]:
        """The same, those that came after the key `after`. Raises `NotFound` without the tenant or that key."""
        query = select(ApiKey).order_by(ApiKey.created_at_ms, ApiKey.id).limit(limit)
        with self._db.read() as session:
            if tenant is not None:
                require_tenant(session, tenant)
                query = query.where(ApiKey.tenant == tenant)
            if after is not None:
                last = _require_key(session, after)
                query = query.where(tuple_(ApiKey.created_at_ms, ApiKey.id) > (last.created_at_ms, last.id))
            return [_key_info(row) for row in session.scalars(query)]

    def get_key(self, key_id: str) -> KeyInfo:
        """One key; raises `NotFound`."""
        with self._db.read() as session:
            return _key_info(_require_key(session, key_id))

    def revoke_key(self, key_id: str, *, actor: str = PROGRAM) -> KeyInfo:
        """End a key; gateways refuse it within a second. Revoking twice is no error."""
        with self._db.write() as session:
            row = _require_key(session, key_id, lock=True)
            if row.revoked_at_ms is None:
                row.revoked_at_ms = now_ms()
                record_action(session, actor, "key.revoked", row.tenant, key_id)
            return _key_info(row)


@dataclass(frozen=True, slots=True)
class _Terms:
    """What a key is for, and how long."""

    label: str
    scopes: tuple[str, ...]
    expires_at_ms: int | None
    adapters: list[str] | None


def _new_key(session: Session, tenant: str, terms: _Terms, actor: str) -> NewKey:
    secret, key_id = f"sk-{secrets.token_urlsafe(32)}", f"key-{secrets.token_hex(8)}"
    session.add(
        ApiKey(
            id=key_id,
            tenant=tenant,
            sha256=hash_secret(secret).hex(),
            shown=f"{secret[:6]}…{secret[-4:]}",
            label=terms.label,
            scopes=list(terms.scopes),
            created_at_ms=now_ms(),
            revoked_at_ms=None,
            expires_at_ms=terms.expires_at_ms,
            adapters=terms.adapters,
        )
    )
    of_adapters = {} if terms.adapters is None else {"adapters": terms.adapters}
    scopes = list(terms.scopes)
    record_action(session, actor, "key.created", tenant, key_id, label=terms.label, scopes=scopes, **of_adapters)
    return NewKey(key_id, tenant, secret, terms.scopes)


def _require_key(session: Session, key_id: str, *, lock: bool = False) -> ApiKey:
    row = session.get(ApiKey, key_id, with_for_update=lock)
    if row is None:
        raise NotFound(f"there is no key {key_id[:80]!r}; `switchyard keys list` shows the ids", param="key_id")
    return row


def _key_info(row: ApiKey) -> KeyInfo:
    return KeyInfo(
        row.id,
        row.tenant,
        row.shown,
        row.label,
        tuple(row.scopes),
        row.created_at_ms,
        row.revoked_at_ms,
        row.expires_at_ms,
        None if row.adapters is None else tuple(row.adapters),
    )


def require_tenant(session: Session, name: str, *, lock: bool = False) -> Tenant:
    """The tenant's row, locked until the transaction ends if asked for; raises `NotFound` with the remedy."""
    row = session.get(Tenant, name, with_for_update=lock)
    if row is None or row.deleted_at_ms is not None:
        raise no_tenant(name)
    return row


def no_tenant(name: str) -> NotFound:
    """What is raised for one that is not there."""
    return NotFound(f"there is no tenant {name!r}; create it with `switchyard tenants create {name}`", param="tenant")


def require_unchanged(row: Tenant, expected: Collection[str] | None) -> None:
    """Raise `Stale` unless the tenant's etag is one of these, if there are some."""
    require_match(_tenant_info(row, {}).etag, expected, f"tenant {row.name!r}")


def of_a_tenant(column: InstrumentedAttribute[str]) -> ColumnElement[bool]:
    """Whether the tenant that a column names is there: it was made, and is not deleted."""
    return column.in_(select(Tenant.name).where(Tenant.deleted_at_ms.is_(None)))


def deletion_goes_on(session: Session) -> bool:
    """Whether bytes that were stored just now may be removed again, as a deleted tenant had the same."""
    going_on = select(Tenant.name).where(Tenant.deleted_at_ms.is_not(None), Tenant.emptied_at_ms.is_(None))
    return session.scalars(going_on.limit(1)).first() is not None


def _taken(session: Session, name: str) -> Conflict:
    deleted_at_ms = session.get_one(Tenant, name).deleted_at_ms
    if deleted_at_ms is None:
        return Conflict(f"tenant {name!r} exists already", param="tenant")
    return Conflict(
        f"tenant {name!r} was deleted on {when(deleted_at_ms)}, and the books are about it under that name; "
        "choose a name that was never used",
        param="tenant",
    )


def _maps_of(session: Session, tenant: str) -> dict[str, str]:
    rows = session.scalars(select(ModelMap).where(ModelMap.tenant == tenant).order_by(ModelMap.external))
    return {row.external: row.target for row in rows}


def _tenant_info(row: Tenant, models: dict[str, str]) -> TenantInfo:
    return TenantInfo(
        row.name,
        row.allow_unknown_fields,
        row.response_days,
        row.max_stored_records,
        row.max_stored_bytes,
        row.shadow_consent,
        row.pair_days,
        row.weight,
        models,
        row.created_at_ms,
    )
