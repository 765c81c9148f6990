"""An attempt's usage row, in the two parts that the journal keeps it in.

What the rows of one key, model and engine have in common is their *kind*: a segment declares it once, and each record
names it. The rest are values, a JSON array. Both records of every attempt are made on the event loop, and are short for
that.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson

from gateway.handoffs import UnitSource, Usage

MOST_KINDS = 4096
NAME_BYTES = 8
_SETTLE_VALUES = (
    "started_at_ms",
    "finished_at_ms",
    "outcome",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "usage_source",
    "cost_nano",
    "ttft_ms",
)


class Kind(NamedTuple):
    """What rows have in common, by name: a JSON object, and a digest of it."""

    name: bytes
    fields: bytes


@lru_cache(maxsize=MOST_KINDS)
def kind_of(
    tenant: str,
    key_id: str,
    requested_model: str,
    served_model: str,
    version_digest: str | None,
    split_id: int | None,
    arm: str | None,
    unit_source: UnitSource | None,
    endpoint: str,
    n: int | None,
    bounded_by_us: bool | None,
    engine: str,
) -> Kind:
    """All that is known of an attempt before it begins. `bounded_by_us`: who bounds the answer; `None`: nobody."""
    fields = orjson.dumps(
        {
            "tenant": tenant,
            "key_id": key_id,
            "requested_model": requested_model,
            "served_model": served_model,
            "version_digest": version_digest,
            "split_id": split_id,
            "arm": arm,
            "unit_source": unit_source,
            "endpoint": endpoint,
            "n": n,
            "bounded_by_us": bounded_by_us,
            "engine": engine,
        }
    )
    return Kind(blake2b(fields, digest_size=NAME_BYTES).hexdigest().encode(), fields)


def begun(started_at_ms: int) -> bytes:
    """Values of an attempt that begins."""
    return b"[%d]" % started_at_ms


def ended(
    started_at_ms: int,
    finished_at_ms: int,
    outcome: str,
    usage: Usage,
    cost_nano: int | None,
    ttft_ms: float | None,
) -> bytes:
    """Values of an attempt that has ended: its row is complete with them."""
    return orjson.dumps(
        (
            started_at_ms,
            finished_at_ms,
            outcome,
            usage.prompt_tokens,
            usage.cached_tokens,
            usage.completion_tokens,
            usage.source,
            cost_nano,
            ttft_ms,
        )
    )


def lost(values: bytes) -> bytes:
    """From the values of an attempt that began and has no end, those of one that has."""
    (started_at_ms,) = orjson.loads(values)
    return orjson.dumps((started_at_ms, None, "lost"))


def row_of(attempt_id: bytes, kind: Kind, values: bytes) -> dict[str, Any]:
    """The row of an attempt that has ended; columns that nothing is known of are left out."""
    name = attempt_id.decode()
    return {
        "attempt_id": name,
        "request_id": name.rpartition("-")[0],
        **_fields(kind.fields),
        **dict(zip(_SETTLE_VALUES, orjson.loads(values), strict=False)),
    }


@lru_cache(maxsize=MOST_KINDS)
def _fields(of: bytes) -> dict[str, Any]:
    fields: dict[str, Any] = orjson.loads(of)
    return fields
