"""How traffic is counted: rows of a worker, what the leader adds up of them, and the series that are made of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gateway.errors import ApiError, BadRequest, EngineFailed, NotWanted, Unauthenticated
from gateway.metrics import families
from gateway.metrics.counts import AskTraffic, Counted, CountedRow
from gateway.metrics.layout import (
    BROKEN_OFF,
    INTER_TOKEN,
    LONG_S,
    NANO,
    OK,
    OUTCOMES,
    PROMPT,
    TOOK,
    TTFT,
    WIDTH,
    quantile,
)
from gateway.metrics.leader import Naming, Traffic
from gateway.metrics.naming import OTHER, Names
from gateway.metrics.rows import MOST_ROWS, Rows
from gateway.metrics.series import document_of
from gateway.metrics.telling import Telling
from gateway.metrics.worker import Metrics
from tests.support.ended_requests import Booked, ended


class Clock:
    """One that the test moves."""

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


def dense(row: CountedRow) -> list[float]:
    whole = [0.0] * WIDTH
    for at, by in zip(row.at, row.by, strict=True):
        whole[at] = by
    return whole


def test_a_streamed_request_is_one_row_with_its_tokens_money_and_times() -> None:
    rows = Rows()
    for _ in range(2):
        rows.answered("chat", ended(streams=True, first_byte_s=0.2, attempt=Booked()), 1.0)
    (row,) = rows.take_rows()
    assert (row.endpoint, row.status, row.engine, row.tenant, row.model) == (
        "chat",
        200,
        "http://e1",
        "acme",
        "acme/triage",
    )
    whole = dense(row)
    assert whole[: len(OUTCOMES)] == [2, 0, 0, 0, 0, 0, 0]
    assert whole[PROMPT : NANO + 1] == [14, 6, 10, 4_000]
    assert whole[TTFT.at] == pytest.approx(0.4)
    assert whole[INTER_TOKEN.at] == pytest.approx(0.4), "0.8 s for four more tokens, twice"
    assert whole[TOOK.at] == 2.0
    assert TTFT.up_to(whole)[-1] == 2
    assert INTER_TOKEN.up_to(whole)[-1] == TOOK.up_to(whole)[-1] == 2
    assert rows.take_rows() == ()


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, "ok"), (499, "client_aborted"), (429, "limited"), (400, "refused"), (503, "unavailable"), (500, "failed")],
)
def test_the_status_says_how_a_request_ended(status: int, outcome: str) -> None:
    rows = Rows()
    rows.answered("chat", ended(status), 0.1)
    assert OUTCOMES[dense(rows.take_rows()[0]).index(1)] == outcome


def test_a_stream_that_ends_with_an_error_was_broken_off() -> None:
    rows = Rows()
    rows.answered("chat", ended(error=EngineFailed("x"), streams=True, first_byte_s=0.1, attempt=Booked()), 0.1)
    whole = dense(rows.take_rows()[0])
    assert (whole[OK], whole[BROKEN_OFF], sum(INTER_TOKEN.counts(whole))) == (0, 1, 0)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (NotWanted("cancelled", code="response_cancelled"), "client_aborted"),
        (Unauthenticated("revoked", code="revoked_api_key"), "refused"),
        (BadRequest("the engine takes no such prompt"), "refused"),
    ],
)
def test_an_answer_that_had_begun_and_that_its_tenant_ended_is_no_fault(error: ApiError, outcome: str) -> None:
    rows = Rows()
    rows.answered("responses", ended(error=error, attempt=Booked()), 0.1)
    assert OUTCOMES[dense(rows.take_rows()[0]).index(1)] == outcome


def test_many_tenants_at_once_make_no_more_rows_and_no_request_is_lost() -> None:
    rows = Rows()
    for number in range(MOST_ROWS + 50):
        rows.answered("chat", ended(tenant=f"t{number}", name=f"t{number}/a@1.0"), 0.1)
    taken = rows.take_rows()
    assert len(taken) == MOST_ROWS + 1
    assert sum(dense(row)[OK] for row in taken) == MOST_ROWS + 50
    assert (taken[-1].tenant, taken[-1].model, dense(taken[-1])[OK]) == (OTHER, OTHER, 50)


def test_a_quantile_is_what_prometheus_would_say() -> None:
    row = [0.0] * WIDTH
    assert quantile(TTFT, row, 0.5) is None
    for number, count in ((4, 10), (5, 10)):  # ten up to 0.1 s, ten up to 0.25 s
        row[TTFT.at + 1 + number] = count
    assert quantile(TTFT, row, 0.5) == pytest.approx(0.1)
    assert quantile(TTFT, row, 0.95) == pytest.approx(0.1 + 0.15 * 0.9)
    row[TTFT.end - 1] = 1_000
    assert quantile(TTFT, row, 0.95) == LONG_S[-1]


def test_names_are_few_and_those_of_whom_most_comes_get_them() -> None:
    names = Names(("vip",), 2)
    names.reshuffle(0)
    assert [names.named(one, 10) for one in ("a", "b", "c", "vip", "")] == ["a", "b", OTHER, "vip", ""]
    assert (names.all(), names.dropped, names.has("c"), names.has("a")) == (["a", "b", "vip"], 10, False, True)
    names.named("c", 12)
    assert names.reshuffle(59) == ()
    assert list(names.reshuffle(60)) == ["a"], "c had 22 requests, which is more than twice ten"
    assert (names.named("c", 1), names.named("a", 1)) == ("c", OTHER)


def test_a_name_is_not_taken_away_for_a_little_more_traffic() -> None:
    names = Names((), 1)
    names.reshuffle(0)
    names.named("a", 10)
    names.named("b", 19)
    assert list(names.reshuffle(60)) == []
    assert names.named("a") == "a"


def row(tenant: str = "acme", engine: str = "http://e1", **places: float) -> CountedRow:
    at = {"ok": OK, "failed": OUTCOMES.index("failed"), "ttft_100ms": TTFT.at + 5, "prompt": PROMPT, "nano": NANO}
    pairs = sorted((at[name], number) for name, number in places.items())
    return CountedRow(
        "chat", 200, engine, tenant, f"{tenant}/a", tuple(a for a, _ in pairs), tuple(n for _, n in pairs)
    )


def told(traffic: Traffic, *rows: CountedRow, worker: str = "w1", in_flight: int = 0, gateway: str = "g:1") -> None:
    levels = ((families.IN_FLIGHT.name, (), float(in_flight)),)
    traffic.take(worker, Counted(gateway, rows, {}, {}, levels))


def asked(window_s: int = 3600, step_s: int = 10, by: Any = "all", only: str | None = None) -> AskTraffic:
    return AskTraffic(1, "g:1", window_s, step_s, by, only)


def shown(traffic: Traffic, **question: Any) -> dict[str, Any]:
    question_ = asked(**question)
    return document_of(question_, traffic.known(question_))


def test_workers_of_one_gateway_are_added_up_and_those_of_another_are_not() -> None:
    clock = Clock(1_000_000.0)
    traffic = Traffic(Naming(), clock)
    told(traffic, row(ok=3, prompt=30, nano=5_000_000_000), in_flight=2)
    told(traffic, row("globex", "http://e2", ok=1, failed=1), worker="w2", in_flight=5)
    told(traffic, row(ok=100), worker="w3", gateway="g:2")
    clock.now_s += 5
    whole = shown(traffic)
    (line,) = whole["lines"]
    assert (whole["workers"], whole["since_ms"], whole["until_ms"]) == (2, 1_000_000_000, 1_000_005_000)
    assert line["whole"]["outcomes"] == {"ok": 4, "failed": 1}
    assert (line["whole"]["requests"], line["whole"]["cost_dollars"]) == (5, "5")
    assert (line["requests_per_s"], line["errors_per_s"]) == ([1.0], {"failed": [0.2]})
    assert (whole["in_flight"], line["prompt_tokens_per_s"]) == ([7.0], [6.0])
    assert {line["name"]: line["whole"]["requests"] for line in shown(traffic, by="engine")["lines"]} == {
        "http://e1": 3,
        "http://e2": 2,
    }
    (globex,) = shown(traffic, by="tenant", only="globex")["lines"]
    assert (globex["name"], globex["whole"]["requests"]) == ("globex", 2)


def test_steps_are_of_the_clock_and_at_both_ends_as_long_as_is_known() -> None:
    clock = Clock(1_000_005.0)
    traffic = Traffic(Naming(), clock)
    told(traffic, row(ok=10))  # the first step: 5 s
    clock.now_s = 1_000_012.0
    told(traffic, row(ok=10, ttft_100ms=10))
    clock.now_s = 1_000_034.0
    told(traffic)
    whole = shown(traffic)
    assert whole["at_ms"] == [1_000_000_000, 1_000_010_000, 1_000_020_000, 1_000_030_000]
    (line,) = whole["lines"]
    assert line["requests_per_s"] == [2.0, 1.0, 0.0, 0.0]
    assert line["ttft_p50_ms"] == [None, 75.0, None, None]
    assert shown(traffic, window_s=20)["lines"][0]["whole"]["requests"] == 10, "the first step is out of the window"
    assert shown(traffic, window_s=86_400, step_s=300)["lines"][0]["whole"]["requests"] == 20


def test_an_hour_is_kept_in_steps_of_ten_seconds_and_a_day_in_steps_of_five_minutes() -> None:
    clock = Clock(1_000_000.0)
    traffic = Traffic(Naming(), clock)
    for _ in range(2 * 360):
        told(traffic, row(ok=1))
        clock.now_s += 10
    hour, day = shown(traffic, step_s=60), shown(traffic, window_s=86_400, step_s=600)
    assert 359 <= hour["lines"][0]["whole"]["requests"] <= 361
    assert (day["lines"][0]["whole"]["requests"], len(day["at_ms"])) == (720, 13)
    fine = traffic.gateways["g:1"].rings.fine
    assert len(fine.since(0)) <= 361


def test_loads_and_queues_are_the_fleets() -> None:
    clock = Clock(1_000_000.0)
    traffic = Traffic(Naming(), clock)
    told(traffic)
    for took_s in (0.5, 0.1):
        traffic.fleet.loaded("http://e1", took_s)
    for result in ("failed", "refused"):
        traffic.fleet.load_ended("http://e1", result)
    engine: Any = SimpleNamespace(url="http://e1", health=SimpleNamespace(look=SimpleNamespace(waiting=4)))
    traffic.fleet.note(engine)
    whole = shown(traffic)
    assert (whole["loads"], whole["failed_loads"], whole["queued"]) == ([2], [1], [4.0])


def test_a_tenant_without_a_name_is_said_to_have_none() -> None:
    traffic = Traffic(Naming(most_tenants=1), Clock(1_000_000.0))
    told(traffic, row(ok=2), row("globex", ok=1))
    assert shown(traffic, by="tenant", only="acme")["named"]
    assert not shown(traffic, by="tenant", only="globex")["named"]
    assert {line["name"]: line["whole"]["requests"] for line in shown(traffic, by="tenant")["lines"]} == {
        "acme": 2,
        OTHER: 1,
    }


def test_what_a_worker_cannot_tell_is_told_to_the_next_leader() -> None:
    metrics = Metrics()
    sent: list[Counted] = []
    link: Any = SimpleNamespace(linked=False, send=sent.append)
    levels: Any = SimpleNamespace(now=tuple)
    telling = Telling("g:1", metrics, levels, link)
    for _ in range(2):
        metrics.came()
        metrics.answered("chat", ended(), 0.1)
        telling.tell()
    assert sent == []
    link.linked = True
    telling.tell()
    telling.tell()
    first, second = sent
    assert [dense(row)[OK] for row in first.rows] == [2]
    assert (first.gateway, second.rows) == ("g:1", ())


def test_a_step_that_has_only_begun_is_in_the_whole_and_in_no_list_yet() -> None:
    clock = Clock(1_000_000.0)
    traffic = Traffic(Naming(), clock)
    told(traffic, row(ok=10))
    clock.now_s = 1_000_012.0
    told(traffic, row(ok=1))
    (line,) = shown(traffic)["lines"]
    assert (line["whole"]["requests"], line["requests_per_s"]) == (11, [1.0])
    clock.now_s = 1_000_014.0
    assert shown(traffic)["lines"][0]["requests_per_s"] == [1.0, 0.25]
