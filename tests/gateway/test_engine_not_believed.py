"""An engine that says what none says: nobody gets it for an answer, nobody pays for it, and it goes out of service."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from gateway.breaches import EngineLied
from gateway.engine_count import EngineCount
from gateway.engines.conduct import Conduct
from gateway.handoffs import Usage
from gateway.limits.holds import Reservation
from gateway.limits.limits import Bill, Limits, Standing
from gateway.limits.sizes import Size
from loadtest.mock_engine.lies import HUGE, LIES, LONG_BYTES
from registry.db import Database
from registry.limits.spending import SpendingBooks
from tests.support.stack import CHAT, MESSAGES, House, Stack, open_house, run, run_engines, run_gateway, run_stack
from tests.support.waiting import wait_until

BREACH = {
    "no usage": "usage_missing",
    "spaces": "other_model",
    "other model": "other_model",
    "huge usage": "usage_too_high",
    "negative usage": "usage_malformed",
    "float usage": "usage_malformed",
    "string usage": "usage_malformed",
    "two usages": "usage_twice",
    "long": "too_long",
    "switch": "bad_http",
    "hints": "bad_http",
    "many headers": "bad_http",
    "long header": "bad_http",
    "trailers": "bad_http",
    "two answers": "bad_http",
}
IN_STREAMS = BREACH | {"shrinking usage": "usage_shrinks"}
SHAPES: dict[str, dict[str, Any]] = {
    "a document": {},
    "a stream": {"stream": True},
    "a document with tools": {
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "tool_choice": "none",
    },
}
MARGIN_BYTES = LONG_BYTES // 2


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An engine that no client's lie puts out of service, a tenant whom nothing bounds, and one with a budget.

    The gateway's own question may meet a lie too; then the engine is examined anew, here after a second.
    """
    with (
        pytest.MonkeyPatch.context() as patch,
        open_house(tmp_path_factory.mktemp("believed"), engine_breaches=1_000) as house,
    ):
        for name in ("FIRST_EXAMINATION_S", "LAST_EXAMINATION_S"):
            patch.setattr(f"gateway.engines.health.{name}", 1.0)
        for name in ("free", "bounded"):
            house.tenant(name)
            house.publish(f"{name}/triage")
            house.point(f"{name}/triage", "1.0")
        house.registry.limits.set("tenant:bounded", {"daily_tokens": 10_000_000})
        house.registry.tariffs.add("base:tiny", input_dollars="1", output_dollars="10", source="a test")
        options = {"max_model_len": 4_096, "tool_call_parser": "hermes"}
        with run_engines(house, options) as mocks, run_gateway(house, mocks) as stack:
            stack.wait_resident("free/triage@1.0", "bounded/triage@1.0")
            yield stack


def breaches(stack: Stack) -> dict[str, int]:
    fleet = stack.http.get(f"{stack.url}/admin/v1/fleet", headers=stack.operator).json()
    found: dict[str, int] = fleet["engines"][0]["breaches"]
    return found


def ask(stack: Stack, tenant: str, shape: str, **more: Any) -> Any:
    body = {"model": f"{tenant}/triage", "messages": MESSAGES, "max_tokens": 8, **SHAPES[shape], **more}
    return stack.post(CHAT, body, tenant)


@pytest.mark.parametrize("tenant", ["free", "bounded"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("lie", IN_STREAMS)
def test_what_no_engine_says_is_no_answer_and_is_charged_to_nobody(
    stack: Stack, lie: str, shape: str, tenant: str
) -> None:
    if lie == "shrinking usage" and shape != "a stream" and (shape, tenant) != ("a document", "bounded"):
        return  # a document has one count
    stack.wait_ready()
    before = breaches(stack).get(IN_STREAMS[lie], 0)
    stack.faults(lies=lie)
    try:
        answer = ask(stack, tenant, shape)
    finally:
        stack.faults(lies="")
    if answer.status_code == 200:
        assert shape == "a stream"
        assert '"error"' in answer.text
        assert "engine_broke" in answer.text
        assert "another-model" not in answer.text
    else:
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "engine_unavailable")
    wait_until("the breach to be counted", lambda: breaches(stack).get(IN_STREAMS[lie], 0) > before)
    rows = stack.house.usage_of(answer.headers["x-request-id"])
    assert {row["outcome"] for row in rows} == {"engine_failed"}
    assert {row["cost_nano"] for row in rows} == {0}
    wait_until("it to be believed again", lambda: ask(stack, tenant, shape).status_code == 200)


def test_what_has_no_end_is_not_kept(stack: Stack) -> None:
    process = psutil.Process()
    stack.faults(lies="long")
    before = process.memory_info().rss
    try:
        for shape in SHAPES:
            ask(stack, "free", shape)
    finally:
        stack.faults(lies="")
    assert process.memory_info().rss - before < MARGIN_BYTES


def test_an_engines_refusal_tells_clients_nothing_of_its_host_and_forges_no_line(stack: Stack) -> None:
    stack.faults(lies="leaks")
    try:
        answer = ask(stack, "free", "a document")
    finally:
        stack.faults(lies="")
    assert answer.status_code == 400
    for secret in ("/root", "10.1.2.3", "8001", "forged", "\\n"):
        assert secret not in answer.text
    assert "withheld" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("lie", "asked", "counted"),
    [("huge usage", {}, False), ("shrinking usage", {"stream": True, "max_tokens": 8}, True)],
)
def test_an_engine_that_goes_on_lying_is_refused_and_taken_back_when_it_answers_as_it_should(
    house: House, monkeypatch: pytest.MonkeyPatch, lie: str, asked: dict[str, Any], counted: bool
) -> None:
    """What our own question meets too refuses it at once; what it does not, after so many breaches."""
    monkeypatch.setattr("gateway.engines.health.FIRST_EXAMINATION_S", 1.0)
    monkeypatch.setattr("gateway.engines.health.LAST_EXAMINATION_S", 1.0)
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    with run_stack(house, engines=({}, {}), engine_breaches=2) as stack:
        stack.wait_resident("acme/triage@1.0")
        home = stack.worker.view().homes.order("acme/triage@1.0")[0]
        bad = next(engine for engine in stack.engines if engine.url == home)
        run(bad.faults(lies=lie))

        def refused() -> str | None:
            assert stack.chat("triage", **asked).status_code == 200  # by the other one, or broken off
            state, fault, _ = stack.worker.states()[bad.url]
            return fault if state == "refused" else None

        fault = wait_until("the engine to be refused", refused)
        assert ("its answers cannot be believed: usage_shrinks (2)" in fault) is counted
        engines = stack.http.get(f"{stack.url}/admin/v1/fleet", headers=stack.operator).json()["engines"]
        (found,) = (one["breaches"] for one in engines if one["url"] == bad.url)
        assert found.keys() == {IN_STREAMS[lie]}
        sample = f'switchyard_engine_breaches_total{{engine="{bad.url}",breach="{IN_STREAMS[lie]}"}}'
        assert sample in stack.http.get(f"{stack.url}/metrics", headers=stack.operator).text
        run(bad.faults(lies=""))
        stack.wait_ready()


def test_one_tenants_long_answers_put_no_engine_out_of_service() -> None:
    conduct = Conduct(most=3, window_s=60)
    assert [conduct.note("too_long", "acme") for _ in range(50)] == [""] * 50
    assert "too_long (51)" in conduct.note("too_long", "other")
    assert conduct.counts == {"too_long": 51}
    assert [conduct.note("bad_http", "acme") for _ in range(2)] == ["", ""]
    assert "bad_http (3)" in conduct.note("bad_http", "acme")


def test_counts_only_grow_end_once_and_stay_within_what_a_request_can_use() -> None:
    def count() -> EngineCount:
        return EngineCount(most_prompt=10, most_completion=20)

    def lie(breach: str, *counts: Any) -> None:
        told = count()
        *before, (kind, *last) = counts
        for one, *given in before:
            getattr(told, one)(*given)
        with pytest.raises(EngineLied) as found:
            getattr(told, kind)(*last)
        assert found.value.breach == breach
        assert (told.prompt_tokens or 0) <= 10
        assert (told.completion_tokens or 0) <= 20

    def used(read: Any, written: Any) -> dict[str, Any]:
        return {"prompt_tokens": read, "completion_tokens": written}

    lie("usage_shrinks", ("so_far", 5, 3), ("so_far", 5, 2))
    lie("usage_shrinks", ("so_far", 5, 3), ("so_far", 4, 4))
    lie("usage_shrinks", ("so_far", 5, 3, 0, 0), ("so_far", 5, 9, 1, 0), ("so_far", 5, 8, 1, 0))
    lie("usage_shrinks", ("so_far", 5, 3), ("final", used(5, 2)))
    lie("usage_twice", ("final", used(5, 2)), ("final", used(5, 2)))
    lie("usage_twice", ("final", used(5, 2)), ("so_far", 5, 3))
    lie("usage_too_high", ("so_far", 11, 3))
    lie("usage_too_high", ("so_far", 5, 15, 0, 0), ("so_far", 5, 15, 1, 0))
    lie("usage_too_high", ("final", used(5, 21)))
    lie("usage_too_high", ("final", used(HUGE, HUGE)))
    numbers: tuple[Any, ...] = (-1, 5.0, "5", None, True, [], {})
    for odd in numbers:
        lie("usage_malformed", ("final", used(odd, 1)))
        lie("usage_malformed", ("running", used(1, odd)))
    usages: tuple[Any, ...] = (None, 5, "x", [], {})
    for none in usages:
        lie("usage_malformed", ("final", none))
    lie("usage_malformed", ("final", {**used(5, 2), "prompt_tokens_details": {"cached_tokens": -1}}))
    lie("usage_missing", ("so_far", 5, 2), ("require_final",))
    honest = count()
    honest.so_far(5, 1)
    honest.so_far(5, 3)
    honest.so_far(5, 4, 1)
    honest.final(used(5, 7))
    honest.require_final()
    assert (honest.prompt_tokens, honest.completion_tokens) == (5, 7)


def test_nobody_is_charged_more_than_was_held(db: Database) -> None:
    """An engine had counted the prompt as shorter than it says now: that is no lie, and not the tenant's loss."""
    limits = Limits(SpendingBooks(db), "w")
    size = Size(prompt=10, answer=5, answers=2, bound_prompt=100)
    bill = Bill(limits, Standing((), [], None, None), Reservation(3, 20, 0, size), None)
    assert bill.most_prompt == 100
    assert bill.within(Usage(60, 50, 9, "engine")) == Usage(10, 10, 9, "engine")
    assert bill.within(Usage(10, 2, 11, "partial")) == Usage(10, 2, 10, "partial")
    assert bill.within(Usage(None, None, None, None)) == Usage()
    free = Bill(limits, Standing((), [], None, None), None, None)
    assert free.within(Usage(60, 50, 9, "engine")) == Usage(60, 50, 9, "engine")


def test_every_lie_has_a_test() -> None:
    assert IN_STREAMS.keys() | {"", "leaks"} == set(LIES)
