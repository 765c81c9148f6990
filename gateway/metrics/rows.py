"""The rows of a worker: what it has counted and not told of yet. The one part of this folder that each request runs."""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

from gateway.api.respond import Respond
from gateway.errors import ApiError, NotWanted
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
_KNOWN = {
    **dict.fromkeys(range(400), OK),
    **dict.fromkeys(range(400, 500), REFUSED),
    429: LIMITED,
    503: UNAVAILABLE,
    CLIENT_GONE_STATUS: CLIENT_ABORTED,
}
OUTCOME_OF = tuple(_KNOWN.get(status, FAILED) for status in range(1_000))
"""By status."""
EMPTY = (0,) * WIDTH
# Plain numbers: to look up a field of a named tuple costs as much as to raise a number.
TTFT_SUM, INTER_TOKEN_SUM, OVERHEAD_SUM, TOOK_SUM = (block.at for block in (TTFT, INTER_TOKEN, OVERHEAD, TOOK))
TTFT_1, INTER_TOKEN_1, OVERHEAD_1, TOOK_1 = (block.at + 1 for block in (TTFT, INTER_TOKEN, OVERHEAD, TOOK))


class _Key(NamedTuple):
    endpoint: Endpoint
    status: int
    engine: str
    tenant: str
    name: str
    """Public name of what answered, which has the version."""


def _of_stream(error: ApiError) -> int:
    """Of one that has begun and ended with an error: by its tenant's doing (a cancelled response, a key that is over),
    or broken off, which is a fault of ours.
    """
    if isinstance(error, NotWanted):
        return CLIENT_ABORTED
    return OUTCOME_OF[error.status] if error.status < 500 else BROKEN_OFF


class Rows:
    """Of one worker, for one thread."""

    def __init__(self) -> None:
        self.in_flight = 0
        """Requests that came and have not ended."""
        self._rows: dict[tuple[str, int, str, str, str], list[float]] = {}

    def came(self) -> None:
        """A request is in flight, until it is `answered`."""
        self.in_flight += 1

    def answered(self, endpoint: Endpoint, ended: Respond, took_s: float) -> None:
        """Count one request, which has ended after so many seconds."""
        self.in_flight -= 1
        attempt, principal, arm, status = ended.attempt, ended.principal, ended.arm, ended.status
        key = (
            endpoint,
            status,
            "" if attempt is None else attempt.engine_url,
            "" if principal is None else principal.tenant,
            "" if arm is None else arm.public_name,
        )
        try:
            row = self._rows[key]
        except KeyError:
            row = self._new(key)
        well = (error := ended.error) is None
        row[OUTCOME_OF[status] if error is None or status != 200 else _of_stream(error)] += 1
        row[TOOK_SUM] += took_s
        row[TOOK_1 + bisect_left(LONG_S, took_s)] += 1
        if attempt is None:
            return
        prompt, cached, completion, _ = attempt.usage
        if prompt:
            row[PROMPT] += prompt
        if cached:
            row[CACHED] += cached
        if completion:
            row[COMPLETION] += completion
        if nano := attempt.nano:
            row[NANO] += nano
        own_s = ended.asked_s - ended.read_s
        row[OVERHEAD_SUM] += own_s
        row[OVERHEAD_1 + bisect_left(OWN_S, own_s)] += 1
        if ended.streams and (first_s := ended.first_byte_s) is not None:
            row[TTFT_SUM] += first_s
            row[TTFT_1 + bisect_left(LONG_S, first_s)] += 1
            if well and completion and completion > 1:
                mean_s = (took_s - first_s) / (completion - 1)
                row[INTER_TOKEN_SUM] += mean_s
                row[INTER_TOKEN_1 + bisect_left(TOKEN_S, mean_s)] += 1

    def _new(self, key: tuple[str, int, str, str, str]) -> list[float]:
        if len(self._rows) >= MOST_ROWS:
            key = (*key[:3], key[3] and OTHER, key[4] and OTHER)
            if key in self._rows:
                return self._rows[key]
        row = self._rows[key] = list(EMPTY)
        return row

    def take_rows(self) -> tuple[CountedRow, ...]:
        """Those since the last time."""
        rows, self._rows = self._rows, {}
        return tuple(_told(_Key(*key), row) for key, row in rows.items())


def _told(key: _Key, row: list[float]) -> CountedRow:
    at = tuple(number for number, count in enumerate(row) if count)
    model = key.name.partition("@")[0]
    return CountedRow(key.endpoint, key.status, key.engine, key.tenant, model, at, tuple(row[one] for one in at))
