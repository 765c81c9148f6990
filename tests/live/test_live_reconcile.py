"""What the ledger has of a real engine's work is what the engine counted itself; `make live-reconcile` does more."""

from __future__ import annotations

import time

from gateway.cost.reconcile import Tokens, reconcile
from loadtest.spending import Purse
from registry.db import now_ms
from registry.service import Registry
from tests.bars.live_reconcile import CONCURRENCY, MIX, QUIET_S
from tests.bars.reconcile import booked_right, spend
from tests.live.installation import Live

REQUESTS = 15
DEADLINE_S = 150.0
"""The controller keeps a reading a minute, and two are needed."""


def test_nothing_that_the_engine_counted_is_unexplained(live: Live) -> None:
    """From the first request of a tenant on; before it, the contract's cases had the engine for themselves."""
    purses = [Purse("acme", live.keys["acme"], ("triage",)), Purse("globex", live.keys["globex"], ("sentiment",))]
    with Registry.open(live.registry_settings()) as registry:
        begun = [row["started_at_ms"] for row in registry.ledger.recent(10_000, tenant="acme")]
        since_ms = min(begun, default=now_ms())
        spent = spend(live.url, CONCURRENCY, purses, REQUESTS, MIX)
        time.sleep(QUIET_S)  # what was aborted last has left the batch, and all is shipped
        settled_ms, deadline_s = now_ms(), time.monotonic() + DEADLINE_S
        spend(live.url, 1, purses, 1, MIX)  # a reading of an engine that has done nothing since the last is not kept
        while not (balances := reconcile(registry.readings, since_ms, now_ms())) or balances[0].until_ms < settled_ms:
            assert time.monotonic() < deadline_s, f"no two readings within {DEADLINE_S:g} s"
            time.sleep(0.5)
        rows: dict[str, list[dict[str, object]]] = {}
        for row in registry.ledger.recent(10_000):
            rows.setdefault(row["request_id"], []).append(row)
    finished = [one for one in spent if one.usage is not None]
    assert finished
    assert [one for one in finished if not booked_right(one, rows.get(one.request_id or "", []))] == []
    (balance,) = balances
    assert balance.counted.total > 0
    assert (balance.unexplained, balance.lost) == (Tokens(), Tokens())
    assert balance.overlapping or balance.in_flight == Tokens(), "a reading may be taken while requests run"
    assert balance.abort_overrun.within(balance.abort_bound) == balance.abort_overrun
