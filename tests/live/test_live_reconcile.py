"""What the ledger has of a real engine's work is what the engine counted itself; `make live-reconcile` does more."""

from __future__ import annotations

import time
from collections.abc import Callable

from gateway.cost.reconcile import Tokens, reconcile
from loadtest.spending import Purse, Spent
from registry.db import now_ms
from registry.ledger.engine_readings import EngineReadings
from registry.service import Registry
from tests.bars.live_reconcile import CONCURRENCY, MIX, QUIET_S
from tests.bars.reconcile import booked_right, spend
from tests.live.installation import Live

REQUESTS = 15
DEADLINE_S = 100.0
"""The controller keeps a reading a minute, of an engine that has done something since the last one."""


def wait_read(readings: EngineReadings, since_ms: int, keep_busy: Callable[[], object]) -> int:
    """When the engine was read, for the first time since then."""
    deadline_s = time.monotonic() + DEADLINE_S
    while True:
        keep_busy()
        for _, last in readings.spans(0, now_ms() + 1):
            if last.asked_ms >= since_ms:
                return last.asked_ms
        assert time.monotonic() < deadline_s, f"no reading within {DEADLINE_S:g} s"
        time.sleep(1.0)


def test_nothing_that_the_engine_counted_is_unexplained(live: Live) -> None:
    purses = [Purse("acme", live.keys["acme"], ("triage",)), Purse("globex", live.keys["globex"], ("sentiment",))]

    def ask(count: int) -> list[Spent]:
        return spend(live.url, CONCURRENCY, purses, count, MIX)

    with Registry.open(live.registry_settings()) as registry:
        began_ms = wait_read(registry.readings, now_ms(), lambda: ask(1))
        spent = ask(REQUESTS)
        time.sleep(QUIET_S)  # what was aborted last has left the batch, and all is shipped
        wait_read(registry.readings, now_ms(), lambda: ask(1))
        time.sleep(QUIET_S)  # the rows of what ran until then are shipped
        (balance,) = reconcile(registry.readings, began_ms, now_ms())
        rows: dict[str, list[dict[str, object]]] = {}
        for row in registry.ledger.recent(10_000):
            rows.setdefault(row["request_id"], []).append(row)
    finished = [one for one in spent if one.usage is not None]
    assert finished
    assert [one for one in finished if not booked_right(one, rows.get(one.request_id or "", []))] == []
    assert balance.attempts >= REQUESTS
    assert balance.counted.total > 0
    assert (balance.unexplained, balance.lost) == (Tokens(), Tokens())
    assert balance.overlapping or balance.in_flight == Tokens(), "a reading may be taken while requests run"
    assert balance.abort_overrun.within(balance.abort_bound) == balance.abort_overrun
