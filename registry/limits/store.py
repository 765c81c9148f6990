"""What tenants, keys and adapters may use. A limit is a setting: gateways obey a change at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select

from registry.db import Database, now_ms
from registry.errors import InvalidInput, NotFound
from registry.etags import NOTHING, etag_of, require_match
from registry.limits.rows import Limit
from registry.limits.scopes import ADAPTER, KEY, TENANT, require_scope
from registry.money import nano_to_dollars

KINDS = (TENANT, KEY, ADAPTER)
FIELDS = (
    "requests_per_minute",
    "tokens_per_minute",
    "concurrency",
    "daily_nano",
    "monthly_nano",
    "daily_tokens",
    "monthly_tokens",
    "warn_percent",
)
BUDGETS = ("daily_nano", "monthly_nano", "daily_tokens", "monthly_tokens")
MAX_LIMIT = 2**62
SAID = {
    "requests_per_minute": "{} requests per minute",
    "tokens_per_minute": "{} tokens per minute",
    "concurrency": "{} requests at once",
    "daily_nano": "${} a day",
    "monthly_nano": "${} a month",
    "daily_tokens": "{} tokens a day",
    "monthly_tokens": "{} tokens a month",
    "warn_percent": "a warning at {} %",
}
SPOKEN = {"daily_nano": "daily_dollars", "monthly_nano": "monthly_dollars"}
"""What people call a field, where they call it otherwise."""


@dataclass(frozen=True, slots=True)
class LimitInfo:
    """The limits of one scope; `None` is no limit. Money is in nano-dollars, `warn_percent` 1 to 100 of each budget."""

    scope: str
    requests_per_minute: int | None
    tokens_per_minute: int | None
    concurrency: int | None
    daily_nano: int | None
    monthly_nano: int | None
    daily_tokens: int | None
    monthly_tokens: int | None
    warn_percent: int | None
    changed_at_ms: int

    @property
    def in_dollars(self) -> bool:
        """Whether there is a budget in dollars."""
        return self.daily_nano is not None or self.monthly_nano is not None

    @property
    def etag(self) -> str:
        """Names these limits as they are."""
        return etag_of(self.scope, *(getattr(self, field) for field in FIELDS))

    def description(self) -> str:
        """What is in force, as people write it: `60 requests per minute, $2.5 a day`."""
        in_force = ((field, getattr(self, field)) for field in FIELDS)
        return ", ".join(
            SAID[field].format(nano_to_dollars(value) if field in SPOKEN else value)
            for field, value in in_force
            if value is not None
        )


class Limits:
    """The limits in force."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def set(
        self,
        scope: str,
        most: Mapping[str, int | None],
        *,
        only: bool = False,
        expected: Collection[str] | None = None,
    ) -> LimitInfo:
        """Set these limits of a scope, by the names in `FIELDS`. Zero lets nothing through, `None` takes a limit away;
        the others stay, or go too when `only` these are meant.

        `expected` are the etags of the limits that may be changed. Raises `InvalidInput`, `NotFound` or `Stale`.
        """
        if not most:
            raise InvalidInput(f"no limit is named; choose from {_spoken()}", param="limits")
        for name, value in most.items():
            _check(name, value)
        with self._db.write() as session:
            require_scope(session, scope, KINDS, lock=True)
            row = session.get(Limit, scope, with_for_update=True)
            require_match(NOTHING if row is None else _info(row).etag, expected, f"what {scope} is limited to")
            if row is None:
                row = Limit(scope=scope)
                session.add(row)
            for name, value in {**(dict.fromkeys(FIELDS) if only else {}), **most}.items():
                setattr(row, name, value)
            row.changed_at_ms = now_ms()
            if row.warn_percent is not None and all(getattr(row, name) is None for name in BUDGETS):
                raise InvalidInput(
                    f"warn_percent is {row.warn_percent} and {scope} has no budget to warn of; set one with it: "
                    "daily or monthly, in dollars or tokens",
                    param="warn_percent",
                )
            if all(getattr(row, name) is None for name in FIELDS):
                raise InvalidInput(
                    f"{scope} would have no limit left; take all away with `switchyard limits clear`, or DELETE",
                    param="limits",
                )
            session.flush()
            return _info(row)

    def clear(
        self, scope: str, names: Sequence[str] = (), *, expected: Collection[str] | None = None
    ) -> LimitInfo | None:
        """Take these limits of a scope away, as the command line calls them, or all when none is named; what is left.

        `expected` are the etags of the limits that may be changed. Raises `InvalidInput` for what is no limit,
        `NotFound` for one that the scope does not have, and `Stale`.
        """
        named = {_field(name): name for name in names}
        fields = named.keys() or set(FIELDS)
        with self._db.write() as session:
            row = session.get(Limit, scope, with_for_update=True)
            if row is None:
                raise _without_limits(scope)
            require_match(_info(row).etag, expected, f"what {scope} is limited to")
            for field, name in named.items():
                if getattr(row, field) is None:
                    raise NotFound(f"{scope} has no {name}; `switchyard limits list` shows what it has", param="limit")
            for field in fields:
                setattr(row, field, None)
            if all(getattr(row, field) is None for field in BUDGETS):
                row.warn_percent = None  # there is nothing left to warn of
            if all(getattr(row, field) is None for field in FIELDS):
                session.delete(row)
                return None
            row.changed_at_ms = now_ms()
            session.flush()
            return _info(row)

    def get(self, scope: str) -> LimitInfo:
        """The limits of a scope. Raises `InvalidInput` for what is no scope, `NotFound` when it has no limits."""
        with self._db.read() as session:
            row = session.get(Limit, scope)
            if row is None:
                require_scope(session, scope, KINDS)
                raise _without_limits(scope)
            return _info(row)

    def all(self) -> list[LimitInfo]:
        """By scope."""
        with self._db.read() as session:
            return [_info(row) for row in session.scalars(select(Limit).order_by(Limit.scope))]

    def page(self, after: str | None, most: int) -> list[LimitInfo]:
        """At most so many by scope, of those that come after the scope `after`."""
        query = select(Limit).order_by(Limit.scope).limit(most)
        if after is not None:
            query = query.where(Limit.scope > after)
        with self._db.read() as session:
            return [_info(row) for row in session.scalars(query)]


def _check(name: str, value: int | None) -> None:
    """Raises `InvalidInput`."""
    if name not in FIELDS:
        raise InvalidInput(f"{name!r} is no limit; choose from {_spoken()}", param=name)
    least, greatest = (1, 100) if name == "warn_percent" else (0, MAX_LIMIT)
    if value is not None and not least <= value <= greatest:
        expected = "1 to 100" if name == "warn_percent" else f"a number from 0 (nothing passes) to {MAX_LIMIT}"
        spoken = SPOKEN.get(name, name)
        raise InvalidInput(f"{spoken} is {value}; expected {expected}", param=spoken)


def _field(name: str) -> str:
    """The field that is called so on the command line. Raises `InvalidInput`."""
    spoken = name.replace("-", "_").replace("warn_at", "warn_percent")
    field = next((field for field in FIELDS if spoken in (field, SPOKEN.get(field))), None)
    if field is None:
        typed = _spoken().replace("warn_percent", "warn_at").replace("_", "-")
        raise InvalidInput(f"{name!r} is no limit; choose from {typed}", param="limits")
    return field


def _spoken() -> str:
    return ", ".join(SPOKEN.get(field, field) for field in FIELDS)


def _without_limits(scope: str) -> NotFound:
    return NotFound(f"{scope[:80]} has no limits; `switchyard limits list` shows those that have", param="scope")


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
        row.warn_percent,
        row.changed_at_ms,
    )
