"""One usage record: every column of an attempt's row, stated once.

The usage journal, the table `usage`, its sums by day, reports and exports are made from this description. A new column
is one line here and a migration; at the end of `UsageEnd` or anywhere in `UsageKind`, so that older journals are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NamedTuple, get_args, get_type_hints

from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, String

DAY_KEY = "day key"
"""Marks what sums by day are kept apart by; unknown is 0, false or empty there."""
CORRECTED = "corrected"
"""Marks what corrections may change afterwards; sums by day add it up."""
Count = Annotated[int | None, BigInteger(), CORRECTED]
Values = tuple[Any, ...]
"""A row's values, in the order of `COLUMNS`."""


class UsageKind(NamedTuple):
    """What is known before an attempt begins, and what many have in common: a journal declares each such kind once."""

    tenant: Annotated[str, String(63), DAY_KEY]
    key_id: Annotated[str, String(32), DAY_KEY]
    requested_model: Annotated[str, String(256)]
    served_model: Annotated[str, String(200), DAY_KEY]
    """The public name of the version or base that answered."""
    endpoint: Annotated[str, String(20)]
    engine: Annotated[str, String(200)]
    """Its URL."""
    engine_id: Annotated[str | None, String(200), DAY_KEY] = None
    """Its `id` in the settings, which stays when its URL changes, else its URL; NULL in rows from before there was one,
    which sums by day have under its URL.
    """
    adapter_id: Annotated[int | None, BigInteger(), DAY_KEY] = None
    """The adapter that was asked; NULL where a base was, and in rows from before it was recorded. The next two are also
    NULL where the base was an arm of the adapter's split."""
    version_id: Annotated[int | None, BigInteger()] = None
    version_digest: Annotated[str | None, String(80)] = None
    """Manifest digest of the version."""
    split_id: Annotated[int | None, BigInteger(), DAY_KEY] = None
    """The split that chose the version; NULL when none did, and then so are the next three and `unit_hash`."""
    arm: Annotated[str | None, String(20), DAY_KEY] = None
    """The version's number within the split, or `base`."""
    propensity: Annotated[float | None, Float()] = None
    """The share of units, 0 to 1, that the arm had when it was chosen."""
    unit_source: Annotated[str | None, String(40)] = None
    """What the request's unit was known by."""
    n: Annotated[int | None, Integer()] = None
    """Answers to each prompt; an engine reads, and counts, the prompt for each of them. NULL is 1."""
    bounded_by_us: Annotated[bool | None, Boolean()] = None
    """Whether the bound of the answer was ours (the client had named none) or the client's; NULL: it had none."""
    shadow: Annotated[bool | None, Boolean(), DAY_KEY] = None
    """Whether it was a copy of a request, whose answer nobody gets and nobody pays for; NULL in rows from before there
    were such.
    """


class UsageEnd(NamedTuple):
    """What is known when an attempt has ended. A journal has these values in this order."""

    started_at_ms: Annotated[int, BigInteger()]
    finished_at_ms: Annotated[int | None, BigInteger()] = None
    outcome: Annotated[str, String(30), DAY_KEY] = "lost"
    """`ok`, `client_aborted`, `key_revoked` (its key was revoked or reached its end before the answer did),
    `engine_failed`, `load_failed`, `rejected`, `gateway_stopped` (it ran for longer than a stopping gateway waits),
    `not_stored` (the answer could not be kept, as was asked for), or `lost` (the process died before the end of the
    attempt was recorded)."""
    prompt_tokens: Count = None
    cached_tokens: Count = None
    completion_tokens: Count = None
    usage_source: Annotated[str | None, String(20)] = None
    """`engine`: its final count; `partial`: its count up to the last relayed event; `estimated`: ours; NULL: none."""
    cost_nano: Count = None
    """At the tariff in force when it began; NULL: there was none. Failures of ours are 0."""
    ttft_ms: Annotated[float | None, Float()] = None
    """From the attempt's begin to the first bytes of its answer."""
    unit_hash: Annotated[str | None, String(32)] = None
    """First 16 bytes, in hexadecimal digits, of SHA-256(salt of the split, a zero byte, unit): its bucket is made of
    the first 8 of them."""


class UsageRow(NamedTuple):
    """One attempt on an engine. Append-only, keyed by attempt id."""

    attempt_id: Annotated[str, String(64)]
    request_id: Annotated[str, String(64)]
    kind: UsageKind
    end: UsageEnd
    segment: Annotated[str | None, String(160)]
    """The journal segment that the attempt's end is in; NULL for what came by no journal."""

    @classmethod
    def of(cls, columns: Mapping[Any, Any]) -> UsageRow:
        """The row whose columns these are, by name; those that are missing are unknown."""
        kind = UsageKind._make(columns.get(name) for name in UsageKind._fields)
        end = UsageEnd._make(columns.get(name) for name in UsageEnd._fields)
        return cls(columns["attempt_id"], columns["request_id"], kind, end, columns["segment"])

    def values(self) -> Values:
        """In the order of `COLUMNS`."""
        return self.attempt_id, self.request_id, *self.kind, *self.end, self.segment


class UsageColumn(NamedTuple):
    """A column of the table: its name, SQL type, whether it may be NULL, and the marks above."""

    name: str
    type: Any
    nullable: bool
    marks: tuple[str, ...]

    def sql(self, **options: Any) -> Column[Any]:
        """For a table; `options` are those of `Column`."""
        return Column(self.name, self.type, **{"nullable": self.nullable, **options})


def _columns_of(record: Any) -> Iterator[UsageColumn]:
    for name, hint in get_type_hints(record, include_extras=True).items():
        if hasattr(hint, "_fields"):
            yield from _columns_of(hint)
        else:
            type_, *marks = hint.__metadata__
            yield UsageColumn(name, type_, type(None) in get_args(hint.__origin__), tuple(marks))


COLUMNS = tuple(_columns_of(UsageRow))
"""All of them, in the order in which exports show them."""


def values_of(columns: Mapping[str, Any]) -> Values:
    """The values of a row whose columns these are, by name; those that are missing are unknown."""
    return tuple(columns.get(column.name) for column in COLUMNS)


DAY_KEYS = tuple(column for column in COLUMNS if DAY_KEY in column.marks)
CORRECTABLE = tuple(column.name for column in COLUMNS if CORRECTED in column.marks)
TOKENS = tuple(name for name in CORRECTABLE if name.endswith("_tokens"))
