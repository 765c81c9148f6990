"""When engines were there, and for how long they were busy."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from alembic import command
from sqlalchemy import text

from registry.days import DAY_MS
from registry.db import Database
from registry.engine_costs.busy import BusyTime
from registry.engine_costs.loads import EngineLoad
from registry.engine_costs.spans import GONE_AFTER_MS, RESTART_WITHIN_MS, EngineSpans, SeenEngine
from registry.service import Registry
from tests.support.migrations import configured
from tests.support.usage_rows import usage_row

MINUTE = 60_000
HOUR = 60 * MINUTE


def seen(engine_id: str = "a", boot_ms: int = 1_000, **changes: Any) -> SeenEngine:
    fields: dict[str, Any] = {
        "url": "http://h1:1",
        "host": "h1",
        "pool": None,
        "base_digest": "sha256:b",
        "kind": "vllm on gpu",
    }
    return SeenEngine(engine_id, boot_ms=boot_ms, **(fields | changes))


def stays(registry: Registry) -> list[tuple[str, int, int, bool]]:
    found = registry.engine_spans.between(0, 10**15)
    return [(one.engine_id, one.started_at_ms, one.until_ms, one.open) for one in found]


def test_a_stay_begins_with_the_boot_and_ends_when_it_was_last_seen(registry: Registry) -> None:
    registry.engine_spans.see([seen(), seen("b", 5_000)], 10_000)
    registry.engine_spans.see([seen("b", 5_000)], 10_000 + GONE_AFTER_MS)
    assert stays(registry) == [("a", 1_000, 10_000, True), ("b", 5_000, 10_000 + GONE_AFTER_MS, True)]
    registry.engine_spans.see([seen("b", 5_000)], 10_001 + GONE_AFTER_MS)
    assert stays(registry)[0] == ("a", 1_000, 10_000, False)


def test_the_same_boot_is_the_same_stay_however_long_nobody_looked(registry: Registry) -> None:
    registry.engine_spans.see([seen()], 10_000)
    registry.engine_spans.see([], HOUR)
    registry.engine_spans.see([seen()], 2 * HOUR)
    assert stays(registry) == [("a", 1_000, 2 * HOUR, True)]


def test_a_restart_is_the_same_stay_and_a_later_start_is_another(registry: Registry) -> None:
    registry.engine_spans.see([seen()], 10_000)
    again_ms = 10_000 + RESTART_WITHIN_MS
    registry.engine_spans.see([seen(boot_ms=again_ms)], again_ms + MINUTE)
    assert stays(registry) == [("a", 1_000, again_ms + MINUTE, True)]
    late_ms = again_ms + MINUTE + RESTART_WITHIN_MS + 1
    registry.engine_spans.see([seen(boot_ms=late_ms)], late_ms + MINUTE)
    assert stays(registry)[1:] == [("a", late_ms, late_ms + MINUTE, True)]


def test_an_engine_that_moves_to_another_pool_begins_a_stay_where_the_one_before_it_ends(registry: Registry) -> None:
    registry.engine_spans.see([seen()], 10_000)
    registry.engine_spans.see([seen(pool="night")], 20_000)
    assert stays(registry) == [("a", 1_000, 20_000, False), ("a", 20_000, 20_000, True)]


def test_a_leader_whose_clock_is_behind_takes_nothing_back(registry: Registry) -> None:
    registry.engine_spans.see([seen()], 50_000)
    registry.engine_spans.see([seen()], 40_000)
    registry.engine_spans.see([seen("b", boot_ms=99_000)], 60_000)
    assert stays(registry) == [("a", 1_000, 50_000, True), ("b", 60_000, 60_000, True)]


def test_stays_are_read_as_they_were_known_when_the_leader_looked(registry: Registry) -> None:
    """Of each time that it looked, whatever it found later of the time before that."""
    passes = [
        ([seen(), seen("b", 5_000)], 10_000),
        ([seen()], 70_000),
        ([seen(), seen("b", 5_000)], 130_000),
        ([seen(), seen("b", 5_000), seen("late", 20_000)], 190_000),
        ([seen(boot_ms=200_000), seen("b", 5_000, pool="night")], 250_000),
        ([seen("by a clock that is behind", boot_ms=100_000)], 200_000),
        ([seen(boot_ms=200_000)], 250_000 + 2 * GONE_AFTER_MS),
    ]
    known: dict[int, list[tuple[str, int, int]]] = {}
    for engines, at_ms in passes:
        registry.engine_spans.see(engines, at_ms)
        known[registry.engine_spans.known_ms()] = there(registry, None)
    assert list(known) == sorted(known)
    assert len(known) == len(passes)
    assert {at_ms: there(registry, at_ms) for at_ms in known} == known
    assert there(registry, 70_000) == [("a", 1_000, 70_000), ("b", 5_000, 10_000)]
    assert ("b", 5_000, 250_000) in there(registry, None)


def there(registry: Registry, known_ms: int | None) -> list[tuple[str, int, int]]:
    """Stays, those put together that follow upon each other."""
    found: list[tuple[str, int, int]] = []
    for one in registry.engine_spans.between(0, 10**15, known_ms):
        if found and found[-1][0] == one.engine_id and found[-1][2] == one.started_at_ms:
            found[-1] = one.engine_id, found[-1][1], one.until_ms
        else:
            found.append((one.engine_id, one.started_at_ms, one.until_ms))
    return found


def test_busy_time_is_the_union_of_intervals_by_engine_and_day(registry: Registry) -> None:
    def attempt(name: str, begin_ms: int, end_ms: int | None, **changes: Any) -> dict[str, Any]:
        return usage_row(name, started_at_ms=begin_ms, finished_at_ms=end_ms, **{"engine_id": "a", **changes})

    registry.ledger.record(
        [
            attempt("1", 1_000, 5_000),
            attempt("2", 2_000, 3_000),
            attempt("3", 4_000, 8_000),
            attempt("4", 20_000, 21_000),
            attempt("5", 20_000, 21_000),
            attempt("other", 0, 500, engine_id="b"),
            attempt("of old", 0, 700, engine_id=None),
            attempt("lost", 50_000, None, outcome="lost"),
            attempt("rejected", 60_000, 70_000, outcome="rejected"),
            attempt("over midnight", DAY_MS - 2_000, DAY_MS + 3_000),
        ]
    )
    url = usage_row("x")["engine"]
    whole = {
        (0, "a"): BusyTime(10_000),
        (1, "a"): BusyTime(3_000, carried_ms=3_000),
        (0, "b"): BusyTime(500),
        (0, url): BusyTime(700),
    }
    assert registry.engine_busy.between(0, 3 * DAY_MS) == whole
    part = registry.engine_busy.between(2_500, DAY_MS + 1_000)
    assert part == {
        (0, "a"): BusyTime(5_500 + 1_000 + 2_000, carried_ms=1_500),
        (1, "a"): BusyTime(1_000, carried_ms=1_000),
    }
    assert registry.engine_busy.close(2 * DAY_MS) == 6, "each engine's day and the one after it"
    assert registry.engine_busy.close(2 * DAY_MS) == 0
    assert registry.engine_busy.between(0, 3 * DAY_MS) == whole


def test_time_in_which_only_a_load_ran_is_the_load_s_and_who_waited_for_it_begins_behind_it(
    registry: Registry,
) -> None:
    def attempt(name: str, begin_ms: int, end_ms: int, model: str) -> dict[str, Any]:
        return usage_row(name, engine_id="a", started_at_ms=begin_ms, finished_at_ms=end_ms, served_model=model)

    def load(model: str, begin_ms: int, end_ms: int, engine: str = "a") -> EngineLoad:
        return EngineLoad(engine, "acme", model, begin_ms, end_ms)

    registry.engine_loads.add(
        [
            load("acme/x@1", 1_000, 3_000),
            load("acme/y@1", 10_000, 12_000),
            load("acme/y@1", 10_000, 12_000, engine="b"),
            load("acme/z@1", DAY_MS - 500, DAY_MS + 500),
        ]
    )
    registry.ledger.record(
        [
            attempt("waited", 500, 4_000, "acme/x@1"),
            attempt("beside it", 11_500, 11_700, "acme/x@1"),
            attempt("gave up", 10_500, 11_000, "acme/y@1"),
        ]
    )
    found = {
        (0, "a"): BusyTime(2_000 + 1_000 + 2_000 + 500, load_ms=2_000 + 1_800 + 500),
        (0, "b"): BusyTime(2_000, load_ms=2_000),
        (1, "a"): BusyTime(500, load_ms=500),
    }
    assert registry.engine_busy.between(0, 2 * DAY_MS) == found
    assert registry.engine_busy.close(2 * DAY_MS) == 3
    assert registry.engine_busy.between(0, 2 * DAY_MS) == found
    assert registry.engine_busy.between(2_000, 2_500) == {(0, "a"): BusyTime(500, load_ms=500)}
    registry.engine_loads.add([load("acme/z@1", 20_000, 20_100)])
    assert registry.engine_busy.between(0, DAY_MS)[0, "a"] == BusyTime(5_600, load_ms=4_400), "also before it is closed"
    assert registry.engine_busy.close(2 * DAY_MS) == 1


def test_a_day_that_was_closed_is_made_again_when_attempts_come_late(registry: Registry) -> None:
    registry.ledger.record([usage_row("1", engine_id="a", started_at_ms=0, finished_at_ms=1_000)])
    registry.engine_busy.close(DAY_MS)
    registry.ledger.record([usage_row("2", engine_id="a", started_at_ms=500, finished_at_ms=3_000)])
    assert registry.engine_busy.between(0, DAY_MS) == {(0, "a"): BusyTime(3_000)}, "also before it is made again"
    assert registry.engine_busy.close(DAY_MS) == 1
    assert registry.engine_busy.between(0, DAY_MS) == {(0, "a"): BusyTime(3_000)}


def test_stays_before_there_were_any_are_made_of_readings_and_usage(empty_url: str) -> None:
    read = [("http://h1:1", 1_000, 9_000), ("http://h1:1", 1_000, 90_000), ("http://h1:1", 100_000, 200_000)]
    with closing(Database(empty_url)) as db:
        with db.engine.execution_options(switchyard_write=True).begin() as connection:
            command.upgrade(configured(connection), "0040")
            for url, boot_ms, at_ms in read:
                connection.execute(
                    text(f"INSERT INTO engine_readings VALUES ('{url}', {boot_ms}, {at_ms}, {at_ms}, 1, 1, 1)")
                )
            for name, engine, engine_id in (("1", "http://h1:1", "'gpu-0'"), ("2", "http://h2:1", "NULL")):
                connection.execute(
                    text(
                        "INSERT INTO usage (attempt_id, request_id, tenant, key_id, requested_model, served_model, "
                        "endpoint, engine, engine_id, outcome, started_at_ms, finished_at_ms) VALUES "
                        f"('{name}', 'r', 'acme', 'k', 'm', 'm', 'chat', '{engine}', {engine_id}, 'ok', 3000, 4000)"
                    )
                )
            for name in ("h100", "h100"):
                connection.execute(
                    text(
                        "INSERT INTO host_prices (name, effective_from_ms, nano_per_hour, source) VALUES "
                        f"('{name}', (SELECT count(*) FROM host_prices), 2740000000, 'an offer')"
                    )
                )
        db.migrate()
        found = [
            (one.engine_id, one.host, one.started_at_ms, one.until_ms, one.open, one.derived)
            for one in EngineSpans(db).between(0, 10**12)
        ]
    assert found == [("gpu-0", "h1", 1_000, 200_000, False, True), ("http://h2:1", "h2", 3_000, 4_000, False, True)]


def test_loads_that_were_known_by_day_have_a_place_in_it_and_closed_days_keep_their_figures(empty_url: str) -> None:
    with (
        closing(Database(empty_url)) as db,
        db.engine.execution_options(switchyard_write=True).begin() as connection,
    ):
        command.upgrade(configured(connection), "0048")
        for model, loads, ms in (("acme/x@1", 2, 3_000), ("acme/y@1", 1, 2_000)):
            connection.execute(text(f"INSERT INTO engine_load_days VALUES (3, 'a', 'acme', '{model}', {loads}, {ms})"))
        connection.execute(text("INSERT INTO engine_busy_days VALUES (3, 'a', 9000, 0), (4, 'a', 7000, 5)"))
        command.upgrade(configured(connection), "0049")
        moved = connection.execute(text("SELECT served_model, began_at_ms, ended_at_ms FROM engine_loads ORDER BY 2"))
        first_ms = 3 * DAY_MS
        assert moved.all() == [
            ("acme/x@1", first_ms, first_ms + 3_000),
            ("acme/y@1", first_ms + 3_000, first_ms + 5_000),
        ]
        kept = "SELECT day, busy_ms, load_ms, carried_ms, attempts, loads FROM engine_busy_days ORDER BY day"
        assert connection.execute(text(kept)).all() == [(3, 9_000, 5_000, 0, 0, 2), (4, 7_000, 0, 0, 5, 0)]
        command.downgrade(configured(connection), "0048")
        days = connection.execute(text("SELECT day, served_model, load_ms FROM engine_load_days ORDER BY 2"))
        assert days.all() == [(3, "acme/x@1", 3_000), (3, "acme/y@1", 2_000)]
