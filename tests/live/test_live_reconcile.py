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
from tests.support.waiting import wait_until

REQUESTS = 15
DEADLINE_S = 100.0
"""The controller keeps a reading a minute, of an engine that has done something since the last one."""


def read_after(readings: EngineReadings, act: Callable[[], object]) -> int:
    """When the engine was read, for the first time since `act` began, by which it has something to do."""
    since_ms = now_ms()
    act()

    def read() -> int | None:
        return next((last.asked_ms for _, last in readings.spans(0, now_ms() + 1) if last.asked_ms >= since_ms), None)

    return wait_until("a reading", read, DEADLINE_S)


def test_nothing_that_the_engine_counted_is_unexplained(live: Live) -> None:
    purses = [Purse("acme", live.keys["acme"], ("triage",)), Purse("globex", live.keys["globex"], ("sentiment",))]

    def ask(count: int) -> list[Spent]:
        return spend(live.url, CONCURRENCY, purses, count, MIX)

    with Registry.open(live.registry_settings()) as registry:
        began_ms = read_after(registry.readings, lambda: ask(1))
        spent = ask(REQUESTS)
        time.sleep(QUIET_S)  # what was aborted last has left the batch, and all is shipped
        read_after(registry.readings, lambda: ask(1))
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
