"""Addresses of tenants that are told of events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from registry.days import DAY_MS
from registry.db import Database, now_ms
from registry.errors import InvalidInput, NotFound
from registry.ids import is_id, new_id
from registry.responses.sealing import Keyring
from registry.tenants.actions import record_action
from registry.tenants.store import require_tenant
from registry.webhooks.outbox import OLD_SECRET, SECRET
from registry.webhooks.rows import WebhookEndpointRow
from registry.webhooks.signing import new_secret

EVENT_TYPES = (
    "fine_tuning.job.succeeded",
    "fine_tuning.job.failed",
    "fine_tuning.job.cancelled",
    "experiment.decision",
    "model.retiring",
    "cost.anomaly",
)
"""What tenants can be told of."""
MOST_ENDPOINTS = 20
"""Of one tenant."""
MOST_NAME_CHARS, MOST_URL_CHARS = 100, 2_000
HINT_CHARS = 4
_ROW = WebhookEndpointRow


class NoSuchEndpoint(NotFound):
    """There is no such address, or it is not this tenant's."""

    def __init__(self, id_: str) -> None:
        super().__init__(f"there is no webhook endpoint {id_[:80]!r}", param="webhook_endpoint_id")


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """An address, without its secret."""

    id: str
    tenant: str
    name: str
    url: str
    event_types: tuple[str, ...]
    hint: str
    """The end of its secret."""
    created_at_ms: int
    updated_at_ms: int
    tried_at_ms: int | None
    """When the last delivery ended."""
    fault: str | None
    """What went wrong with it."""


class WebhookEndpoints:
    """The addresses of all tenants. `tenant=None` is the operator, who sees all."""

    def __init__(self, db: Database, keyring: Keyring) -> None:
        self._db = db
        self._keyring = keyring

    def create(
        self,
        tenant: str,
        name: str,
        url: str,
        event_types: Sequence[str] = EVENT_TYPES,
        *,
        operator: str | None = None,
    ) -> tuple[WebhookEndpoint, str]:
        """A new address, and its secret at its only sight. Raises `NotFound` without the tenant, `InvalidInput`.

        `operator`, here and below, is who orders it if it is not the tenant.
        """
        secret, at_ms, id_ = new_secret(), now_ms(), new_id("we")
        row = _ROW(id=id_, tenant=tenant, created_at_ms=at_ms, updated_at_ms=at_ms)
        _set(row, name, url, event_types)
        self._give(row, secret)
        with self._db.write() as session:
            require_tenant(session, tenant, lock=True)
            count = session.scalars(select(func.count()).where(_ROW.tenant == tenant)).one()
            if count >= MOST_ENDPOINTS:
                raise InvalidInput(
                    f"tenant {tenant!r} has {count} webhook endpoints, and may have {MOST_ENDPOINTS}; delete one"
                )
            session.add(row)
            session.flush()
            _note(session, operator, "created", row)
            return _info(row), secret

    def page(self, tenant: str | None, after: str | None, limit: int) -> list[WebhookEndpoint]:
        """Addresses, the oldest first, those after `after`. Raises `NoSuchEndpoint` for that."""
        query = select(_ROW).order_by(_ROW.created_at_ms, _ROW.id).limit(limit)
        if tenant is not None:
            query = query.where(_ROW.tenant == tenant)
        with self._db.read() as session:
            if after is not None:
                last = _require(session, tenant, after)
                later = _ROW.created_at_ms > last.created_at_ms
                query = query.where(later | ((_ROW.created_at_ms == last.created_at_ms) & (_ROW.id > last.id)))
            return [_info(row) for row in session.scalars(query)]

    def get(self, tenant: str | None, id_: str) -> WebhookEndpoint:
        """One of them. Raises `NoSuchEndpoint`."""
        with self._db.read() as session:
            return _info(_require(session, tenant, id_))

    def change(
        self,
        tenant: str | None,
        id_: str,
        *,
        name: str | None = None,
        url: str | None = None,
        event_types: Sequence[str] | None = None,
    ) -> WebhookEndpoint:
        """Change what is named. Raises `NoSuchEndpoint`, `InvalidInput`."""
        with self._db.write() as session:
            row = _require(session, tenant, id_, lock=True)
            _set(row, name or row.name, url or row.url, row.event_types if event_types is None else event_types)
            row.updated_at_ms = now_ms()
            return _info(row)

    def rotate(
        self, tenant: str | None, id_: str, *, keep_old_for_a_day: bool = False, operator: str | None = None
    ) -> tuple[WebhookEndpoint, str]:
        """Give it a new secret, which is seen only now; the old one may sign too for a day. Raises `NoSuchEndpoint`."""
        secret = new_secret()
        with self._db.write() as session:
            row = _require(session, tenant, id_, lock=True)
            row.old_secret, row.old_until_ms = None, None
            if keep_old_for_a_day:
                old = self._keyring.open(row.secret, row.tenant, row.id, SECRET)
                row.old_secret = self._keyring.seal(old, row.tenant, row.id, OLD_SECRET)
                row.old_until_ms = now_ms() + DAY_MS
            self._give(row, secret)
            row.updated_at_ms = now_ms()
            _note(session, operator, "rotated", row)
            return _info(row), secret

    def secret_of(self, tenant: str | None, id_: str) -> str:
        """To sign with. Raises `NoSuchEndpoint`, `Unreadable`."""
        with self._db.read() as session:
            row = _require(session, tenant, id_)
            return self._keyring.open(row.secret, row.tenant, row.id, SECRET).decode()

    def delete(self, tenant: str | None, id_: str, *, operator: str | None = None) -> WebhookEndpoint:
        """Delete it with what it is still to be told. Raises `NoSuchEndpoint`."""
        with self._db.write() as session:
            row = _require(session, tenant, id_, lock=True)
            info = _info(row)
            session.delete(row)
            _note(session, operator, "deleted", row)
            return info

    def _give(self, row: WebhookEndpointRow, secret: str) -> None:
        row.secret = self._keyring.seal(secret.encode(), row.tenant, row.id, SECRET)
        row.hint = f"…{secret[-HINT_CHARS:]}"


def _note(session: Session, operator: str | None, done: str, row: WebhookEndpointRow) -> None:
    if operator is not None:
        record_action(session, operator, f"webhook.{done}", row.tenant, row.id)


def _set(row: WebhookEndpointRow, name: str, url: str, event_types: Sequence[str]) -> None:
    if not (0 < len(name) <= MOST_NAME_CHARS and name.isprintable()):
        raise InvalidInput(f"name is {name[:80]!r}; expected 1 to {MOST_NAME_CHARS} printable characters", param="name")
    unknown = [one for one in event_types if one not in EVENT_TYPES]
    if unknown or not event_types:
        raise InvalidInput(
            f"event_types has {unknown[0][:60]!r}, which nothing here tells; choose from {', '.join(EVENT_TYPES)}"
            if unknown
            else f"event_types is empty; choose from {', '.join(EVENT_TYPES)}",
            param="event_types",
        )
    check_url(url)
    row.name, row.url, row.event_types = name, url, list(dict.fromkeys(event_types))


def check_url(url: str) -> None:
    """Raises `InvalidInput` for what no event can be sent to."""
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, fine = None, False
    if not fine or len(url) > MOST_URL_CHARS or not url.isascii() or not url.isprintable() or " " in url:
        raise InvalidInput(f"url is {url[:80]!r}; expected https://host/path", param="url")
    if parts is not None and (parts.username is not None or parts.password is not None):
        raise InvalidInput("url has a user's name or password in it; events are signed instead", param="url")


def _require(session: Session, tenant: str | None, id_: str, *, lock: bool = False) -> WebhookEndpointRow:
    query = select(_ROW).where(_ROW.id == id_)
    if tenant is not None:
        query = query.where(_ROW.tenant == tenant)
    row = session.scalars(query.with_for_update() if lock else query).one_or_none() if is_id(id_) else None
    if row is None:
        raise NoSuchEndpoint(id_)
    return row


def _info(row: WebhookEndpointRow) -> WebhookEndpoint:
    return WebhookEndpoint(
        row.id,
        row.tenant,
        row.name,
        row.url,
        tuple(row.event_types),
        row.hint,
        row.created_at_ms,
        row.updated_at_ms,
        row.tried_at_ms,
        row.fault,
    )
