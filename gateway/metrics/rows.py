"""The rows of a worker: what it has counted and not told of yet. The one part of this folder that each request runs."""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

from gateway.api.respond import Respond
from gateway.handoffs import CLIENT_GONE_STATUS, Endpoint
from gateway.metrics.counts import CountedRow
from gateway.metrics.layout import (
    BROKEN_OFF,
    CACHED,
    CLIENT_ABORTED,
    COMPLETION,
    FAILED,
    INTER_TOKEN,
    LIMITED,
    LONG_S,
    NANO,
    OK,
    OVERHEAD,
    OWN_S,
    PROMPT,
    REFUSED,
    TOKEN_S,
    TOOK,
    TTFT,
    UNAVAILABLE,
    WIDTH,
)
from gateway.metrics.naming import OTHER

MOST_ROWS = 512
"""Between two messages to the leader; what comes beyond that is counted without tenant and model."""
OUTCOME_OF = {
    **dict.fromkeys(range(100, 400), OK),
    **dict.fromkeys(range(400, 500), REFUSED),
    429: LIMITED,
    503: UNAVAILABLE,
    CLIENT_GONE_STATUS: CLIENT_ABORTED,
}
"""By status; all others `failed`."""
EMPTY = (0,) * WIDTH
TTFT_1, INTER_TOKEN_1, OVERHEAD_1, TOOK_1 = (block.at + 1 for block in (TTFT, INTER_TOKEN, OVERHEAD, TOOK))


class _Key(NamedTuple):
    endpoint: Endpoint
    status: int
    engine: str
    tenant: str
    name: str
    """Public name of what answered, which has the version."""


class Rows:
    """Of one worker, for one thread."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, int, str, str, str], list[float]] = {}

    def add(self, endpoint: Endpoint, ended: Respond, took_s: float) -> None:
        """Count one request that has ended."""
        attempt, principal, arm, status = ended.attempt, ended.principal, ended.arm, ended.status
        key = (
            endpoint,
            status,
            "" if attempt is None else attempt.engine_url,
            "" if principal is None else principal.tenant,
            "" if arm is None else arm.public_name,
        )
        row = self._rows.get(key)
        if row is None:
            row = self._new(key)
        well = ended.error is None
        row[OUTCOME_OF.get(status, FAILED) if well or status != 200 else BROKEN_OFF] += 1
        row[TOOK.at] += took_s
        row[TOOK_1 + bisect_left(LONG_S, took_s)] += 1
        if attempt is None:
            return
        usage, completion = attempt.usage, attempt.usage.completion_tokens or 0
        row[PROMPT] += usage.prompt_tokens or 0
        row[CACHED] += usage.cached_tokens or 0
        row[COMPLETION] += completion
        row[NANO] += attempt.nano or 0
        own_s = ended.asked_s - ended.read_s
        row[OVERHEAD.at] += own_s
        row[OVERHEAD_1 + bisect_left(OWN_S, own_s)] += 1
        first_s = ended.first_byte_s
        if ended.streams and first_s is not None:
            row[TTFT.at] += first_s
            row[TTFT_1 + bisect_left(LONG_S, first_s)] += 1
            if completion > 1 and well:
                mean_s = (took_s - first_s) / (completion - 1)
                row[INTER_TOKEN.at] += mean_s
                row[INTER_TOKEN_1 + bisect_left(TOKEN_S, mean_s)] += 1

    def _new(self, key: tuple[str, int, str, str, str]) -> list[float]:
        if len(self._rows) >= MOST_ROWS:
            key = (*key[:3], key[3] and OTHER, key[4] and OTHER)
            if key in self._rows:
                return self._rows[key]
        row = self._rows[key] = list(EMPTY)
        return row

    def take(self) -> tuple[CountedRow, ...]:
        """Those since the last time."""
        rows, self._rows = self._rows, {}
        return tuple(_told(_Key(*key), row) for key, row in rows.items())


def _told(key: _Key, row: list[float]) -> CountedRow:
    at = tuple(number for number, count in enumerate(row) if count)
    model = key.name.partition("@")[0]
    return CountedRow(key.endpoint, key.status, key.engine, key.tenant, model, at, tuple(row[one] for one in at))
