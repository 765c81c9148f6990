"""`/admin/v1/traffic` and `switchyard traffic`, of one process and of a gateway with several workers."""

from __future__ import annotations

import os
import signal
from typing import Any

import httpx
import pytest

from tests.bars.support.gateways import gateway_process
from tests.support.admin_calls import Admin
from tests.support.cli_runner import Run, run
from tests.support.stack import CHAT, MESSAGES, House, Stack, run_engines, run_stack
from tests.support.waiting import DEADLINE_S, wait_until

__all__ = ["run"]


@pytest.fixture
def shop(house: House) -> House:
    house.publish("acme/triage")
    house.publish("globex/sentiment")
    house.point("acme/triage", "1.0")
    house.point("globex/sentiment", "1.0")
    return house


def whole_of(document: dict[str, Any], name: str = "all") -> dict[str, Any]:
    (found,) = [line["whole"] for line in document["lines"] if line["name"] == name]
    return dict(found)


def test_requests_are_there_by_everything_as_soon_as_they_have_ended(
    shop: House, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWITCHYARD_STATE_DIR", str(shop.settings.state_dir))
    shop.registry.tariffs.add("base:tiny", input_dollars="1", output_dollars="10", source="test")
    with run_stack(shop, engines=({"ttft_ms": 20, "token_ms": 5},)) as stack:
        stack.wait_resident("acme/triage@1.0", "globex/sentiment@1.0")
        admin = Admin(shop, stack.url, stack.http)
        assert stack.chat("triage").status_code == 200
        assert stack.chat("sentiment", key="globex", stream=True, max_tokens=8).text.endswith("data: [DONE]\n\n")
        assert stack.chat("no-such-model").status_code == 404
        assert stack.post(CHAT, {"model": "x", "messages": MESSAGES}, key="sk-stranger").status_code == 401
        document = admin.get("/traffic")
        whole = whole_of(document)
        assert (whole["requests"], whole["outcomes"]) == (4, {"ok": 2, "refused": 2})
        assert document["gateway"].endswith(f":{shop.settings.port}")
        assert (document["workers"], document["step_s"], document["by"]) == (1, 10, "all")
        assert document["since_ms"] <= document["until_ms"]
        wait_until("loads to be shown", lambda: sum(admin.get("/traffic")["loads"]) == 2)
        assert whole["completion_tokens"] == 12
        assert float(whole["cost_dollars"]) > 0
        assert 10 <= whole["ttft_p50_ms"] <= 1_000, "from the bucket of 20 ms on"
        assert whole["inter_token_p50_ms"] >= 2.5
        by_tenant = admin.get("/traffic", by="tenant")
        assert [line["name"] for line in by_tenant["lines"]] == ["acme", "globex"]
        assert whole_of(by_tenant, "acme")["outcomes"] == {"ok": 1, "refused": 1}
        (of_adapter,) = admin.get("/traffic", adapter="globex/sentiment")["lines"]
        assert (of_adapter["name"], of_adapter["whole"]["requests"]) == ("globex/sentiment", 1)
        (of_engine,) = admin.get("/traffic", by="engine")["lines"]
        assert (of_engine["name"], of_engine["whole"]["requests"]) == (stack.engine.url, 2)
        assert [line["name"] for line in admin.get("/traffic", by="endpoint")["lines"]] == ["chat"]
        shown = run("traffic", "--url", stack.url)
        assert shown.status == 0, shown.err
        assert "2 refused" in shown.out
        assert "TTFT p95, ms" in shown.out
        assert run("traffic", "--by", "tenant", "--json", "--url", stack.url).document["lines"][0]["name"] == "acme"


@pytest.mark.parametrize(
    ("query", "param", "says"),
    [
        ({"step_s": 15}, "step_s", "a multiple of 10"),
        ({"step_s": 10, "window_s": 7200}, "step_s", "a multiple of 300"),
        ({"window_s": 5}, "window_s", "10"),
        ({"tenant": "acme", "adapter": "acme/triage"}, "adapter", "one of them"),
        ({"by": "engine", "tenant": "acme"}, "by", "leave one of them out"),
        ({"by": "colour"}, "by", "'endpoint'"),
        ({"windows_s": 60}, "windows_s", "no query parameter"),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused_with_its_field(
    stack: Stack, admin: Admin, query: dict[str, Any], param: str, says: str
) -> None:
    status, error = admin.refused("GET", "/traffic", params=query)
    assert status in (400, 422)
    assert error["param"] == param
    assert says in error["message"]


def test_a_tenant_that_is_not_counted_by_name_is_refused_with_the_setting(shop: House) -> None:
    with run_stack(shop, metrics_top_tenants=0, metrics_tenants=["globex"]) as stack:
        admin = Admin(shop, stack.url, stack.http)
        assert stack.chat("triage").status_code == 200
        status, error = admin.refused("GET", "/traffic", params={"tenant": "acme"})
        assert (status, error["param"]) == (400, "tenant")
        assert "of tenants that is globex" in error["message"]
        assert "SWITCHYARD_METRICS_TENANTS" in error["message"]
        assert whole_of(admin.get("/traffic", by="tenant"), "_other")["requests"] == 1
        assert admin.get("/traffic", tenant="globex")["lines"][0]["whole"]["requests"] == 0


def test_every_worker_says_what_all_of_them_have_counted_and_a_new_leader_begins_anew(shop: House) -> None:
    with (
        run_engines(shop, {}) as (engine,),
        gateway_process(shop.settings.state_dir, [engine.url], workers=2) as gateway,
        httpx.Client(timeout=DEADLINE_S, limits=httpx.Limits(max_keepalive_connections=0)) as http,
    ):
        admin = Admin(shop, gateway.url, http)

        def chat(number: int) -> int:
            body = {"model": "triage", "messages": MESSAGES, "max_tokens": 2}
            head = {"Authorization": f"Bearer {shop.keys['acme']}"}
            return http.post(f"{gateway.url}{CHAT}", headers=head, json=body).status_code

        assert {chat(number) for number in range(20)} == {200}
        wait_until(
            "each worker to have told of its own",
            lambda: {whole_of(admin.get("/traffic"))["requests"] for _ in range(6)} == {20},
        )
        wait_until("both workers to be counted", lambda: admin.get("/traffic")["workers"] == 2)
        before = admin.get("/traffic")
        old = admin.get("/fleet")["controller"]
        os.kill(old["pid"], signal.SIGKILL)
        wait_until("a successor of all", lambda: gateway.wait_workers(2)["controller"]["token"] > old["token"])
        after = admin.get("/traffic")
        assert after["since_ms"] > before["since_ms"]
        assert whole_of(after)["requests"] == 0
        assert chat(0) == 200
        wait_until("it to be counted", lambda: whole_of(admin.get("/traffic"))["requests"] == 1)
