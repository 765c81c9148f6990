"""What tenants, keys and adapters may use. A limit is a setting: gateways obey a change at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select

from registry.db import Database, now_ms
from registry.errors import InvalidInput, NotFound
from registry.models import Limit
from registry.scopes import ADAPTER, KEY, TENANT, require_scope

KINDS = (TENANT, KEY, ADAPTER)
FIELDS = (
    "requests_per_minute",
    "tokens_per_minute",
    "concurrency",
    "daily_nano",
    "monthly_nano",
    "daily_tokens",
    "monthly_tokens",
)
MAX_LIMIT = 2**62


@dataclass(frozen=True, slots=True)
class LimitInfo:
    """The limits of one scope; `None` is no limit. Money is in nano-dollars."""

    scope: str
    requests_per_minute: int | None
    tokens_per_minute: int | None
    concurrency: int | None
    daily_nano: int | None
    monthly_nano: int | None
    daily_tokens: int | None
    monthly_tokens: int | None
    changed_at_ms: int


class Limits:
    """The limits in force."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def set(self, scope: str, most: Mapping[str, int]) -> LimitInfo:
        """Set these limits of a scope, by the names in `FIELDS`; the others stay. Zero lets nothing through.

        Raises `InvalidInput` or `NotFound`.
        """
        if not most:
            raise InvalidInput(f"no limit is named; choose from {', '.join(FIELDS)}", param="limits")
        for name, value in most.items():
            if name not in FIELDS or not 0 <= value <= MAX_LIMIT:
                raise InvalidInput(
                    f"limit {name} is {value}; expected one of {', '.join(FIELDS)}, and not less than 0", param=name
                )
        with self._db.write() as session:
            require_scope(session, scope, KINDS)
            row = session.get(Limit, scope)
            if row is None:
                row = Limit(scope=scope)
                session.add(row)
            for name, value in most.items():
                setattr(row, name, value)
            row.changed_at_ms = now_ms()
            session.flush()
            return _info(row)

    def clear(self, scope: str) -> None:
        """Take every limit of a scope away; raises `NotFound` when it has none."""
        with self._db.write() as session:
            row = session.get(Limit, scope)
            if row is None:
                raise NotFound(f"{scope[:80]} has no limits; `switchyard limits list` shows them", param="scope")
            session.delete(row)

    def all(self) -> list[LimitInfo]:
        """By scope."""
        with self._db.read() as session:
            return [_info(row) for row in session.scalars(select(Limit).order_by(Limit.scope))]


def _info(row: Limit) -> LimitInfo:
    return LimitInfo(
        row.scope,
        row.requests_per_minute,
        row.tokens_per_minute,
        row.concurrency,
        row.daily_nano,
        row.monthly_nano,
        row.daily_tokens,
        row.monthly_tokens,
        row.changed_at_ms,
    )
