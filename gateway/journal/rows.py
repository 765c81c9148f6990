"""An attempt's usage row, in the two parts that the journal keeps it in.

What the rows of one key, model and engine have in common is their *kind*: a segment declares it once, and each record
names it. The rest are values, a JSON array, whose end older journals lack. Both records of every attempt are made on
the event loop, and are short for that.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

import orjson

from registry.ledger.usage_record import UsageEnd, UsageKind, UsageRow

MOST_KINDS = 4096
NAME_BYTES = 8


class Kind(NamedTuple):
    """What rows have in common, by name: a JSON object, and a digest of it."""

    name: bytes
    fields: bytes


def kind_of(common: UsageKind) -> Kind:
    """How a journal declares what rows have in common."""
    fields = orjson.dumps(common._asdict())
    return Kind(blake2b(fields, digest_size=NAME_BYTES).hexdigest().encode(), fields)


def begun(started_at_ms: int, unit_hash: str | None) -> bytes:
    """Values of an attempt that begins."""
    return b"[%d]" % started_at_ms if unit_hash is None else b'[%d,"%b"]' % (started_at_ms, unit_hash.encode())


def ended(end: UsageEnd) -> bytes:
    """Values of an attempt that has ended: its row is complete with them."""
    return orjson.dumps(tuple(end))


def lost(values: bytes) -> bytes:
    """From the values of an attempt that began and has no end, those of one that has."""
    started_at_ms, *unit_hash = orjson.loads(values)
    return ended(UsageEnd(started_at_ms, unit_hash=unit_hash[0] if unit_hash else None))


def row_of(attempt_id: bytes, kind: Kind, values: bytes, segment: str | None = None) -> UsageRow:
    """The row of an attempt that has ended. What older journals do not say is unknown, what only newer ones say is
    left out.
    """
    name = attempt_id.decode()
    end = UsageEnd(*orjson.loads(values)[: len(UsageEnd._fields)])
    return UsageRow(name, name.rpartition("-")[0], _common(kind.fields), end, segment)


@lru_cache(maxsize=MOST_KINDS)
def _common(of: bytes) -> UsageKind:
    return UsageKind._make(map(orjson.loads(of).get, UsageKind._fields))
