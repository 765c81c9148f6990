"""Makes, lists and ends the keys of operators."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Literal, get_args

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from registry.db import Database, now_ms
from registry.errors import InvalidInput, NotFound
from registry.names import check_name
from registry.operators.rows import OperatorKey
from registry.tenants.store import hash_secret

Role = Literal["read", "operate"]
"""`read`: sees everything at `/admin/v1` and changes nothing. `operate`: orders too."""
ROLES: tuple[Role, ...] = get_args(Role)
ROOT = "root"
"""The name of who has the key of the settings; no other key has it."""
PREFIX = "sk-operator-"


@dataclass(frozen=True, slots=True)
class OperatorInfo:
    """A key as it can be listed; times in milliseconds since the epoch."""

    id: str
    name: str
    role: Role
    shown: str
    made_by: str
    created_at_ms: int
    expires_at_ms: int | None
    revoked_at_ms: int | None


@dataclass(frozen=True, slots=True)
class NewOperatorKey:
    """A key at its only sight. `secret` is `sk-operator-` and 256 random bits, and is stored nowhere."""

    info: OperatorInfo
    secret: str


class Operators:
    """The keys."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, name: str, role: Role, *, actor: str, expires_at_ms: int | None = None) -> NewOperatorKey:
        """Make a key and return its secret, once. Raises `InvalidInput`."""
        check_name(name, "name")
        if name == ROOT:
            raise InvalidInput(
                f"name is {ROOT!r}, which is that of the key of the settings; choose another", param="name"
            )
        if role not in ROLES:
            raise InvalidInput(f"role is {role!r:.80}; choose from {', '.join(ROLES)}", param="role")
        at_ms = now_ms()
        if expires_at_ms is not None and expires_at_ms <= at_ms:
            raise InvalidInput("expires is over already; name a later day", param="expires")
        secret = f"{PREFIX}{secrets.token_urlsafe(32)}"
        row = OperatorKey(
            id=f"opk-{secrets.token_hex(8)}",
            name=name,
            role=role,
            sha256=hash_secret(secret).hex(),
            shown=f"{secret[: len(PREFIX) + 3]}…{secret[-4:]}",
            made_by=actor[:100],
            created_at_ms=at_ms,
            expires_at_ms=expires_at_ms,
            revoked_at_ms=None,
        )
        with self._db.write() as session:
            session.add(row)
        return NewOperatorKey(_info(row), secret)

    def page(self, after: str | None, limit: int | None) -> list[OperatorInfo]:
        """Keys, oldest first, those that came after the key `after`. Raises `NotFound` without that one."""
        query = select(OperatorKey).order_by(OperatorKey.created_at_ms, OperatorKey.id).limit(limit)
        with self._db.read() as session:
            if after is not None:
                last = _require(session, after)
                query = query.where(tuple_(OperatorKey.created_at_ms, OperatorKey.id) > (last.created_at_ms, last.id))
            return [_info(row) for row in session.scalars(query)]

    def get(self, key_id: str) -> OperatorInfo:
        """One key; raises `NotFound`."""
        with self._db.read() as session:
            return _info(_require(session, key_id))

    def revoke(self, key_id: str) -> OperatorInfo:
        """End a key; gateways refuse it within a second. Revoking twice is no error. Raises `NotFound`."""
        with self._db.write() as session:
            row = _require(session, key_id, lock=True)
            if row.revoked_at_ms is None:
                row.revoked_at_ms = now_ms()
            return _info(row)


def _require(session: Session, key_id: str, *, lock: bool = False) -> OperatorKey:
    row = session.get(OperatorKey, key_id, with_for_update=lock)
    if row is None:
        raise NotFound(
            f"there is no operator's key {key_id[:80]!r}; `switchyard operators list` shows the ids", param="key_id"
        )
    return row


def _info(row: OperatorKey) -> OperatorInfo:
    role: Role = "operate" if row.role == "operate" else "read"
    return OperatorInfo(
        row.id, row.name, role, row.shown, row.made_by, row.created_at_ms, row.expires_at_ms, row.revoked_at_ms
    )
