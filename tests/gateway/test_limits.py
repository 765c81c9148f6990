"""Limits and budgets through a whole gateway: what clients see, what is held, and what the counters say afterwards."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from gateway.limits.counters import Counter
from gateway.steps.hold import TEMPLATE_TOKENS
from registry.db import now_ms
from registry.ledger.rows import RefusalDay
from registry.ledger.usage_report import report_usage
from registry.limits.budget_report import report_budgets
from tests.support.stack import CHAT, MESSAGES, House, Stack, open_house, run_engines, run_gateway, run_stack
from tests.support.waiting import wait_until

DOLLAR = 1_000_000_000


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One engine and one gateway, where prompts count by their bytes; every test makes a tenant of its own."""
    with open_house(tmp_path_factory.mktemp("limited")) as house:
        house.registry.tariffs.add("base:tiny", input_dollars="1", output_dollars="10", source="a test")
        with run_stack(house, default_output_tokens=40) as stack:
            stack.faults(fail_tokenize=500)
            yield stack


def tenant(stack: Stack, name: str, **most: int) -> None:
    """A tenant with an adapter `triage` and these limits, known to the gateway."""
    stack.house.tenant(name)
    stack.house.publish(f"{name}/triage")
    stack.house.point(f"{name}/triage", "1.0")
    if most:
        limit(stack, f"tenant:{name}", **most)
    stack.wait_revision()
    stack.wait_resident(f"{name}/triage@1.0")


def limit(stack: Stack, scope: str, **most: int) -> None:
    stack.house.registry.limits.set(scope, most)
    stack.wait_revision()
    found = counter(stack, scope)
    wait_until("the ledger to be read", lambda: found.books_read or not found.budgets)


def counter(stack: Stack, scope: str) -> Counter:
    house = stack.gateway.house
    assert house is not None
    found = house.limits.counter(scope)
    assert found is not None
    return found


def answers_429(stack: Stack) -> float:
    text = stack.http.get(f"{stack.url}/metrics", headers=stack.operator).text
    lines = [line for line in text.splitlines() if line.startswith("switchyard_requests_total") and '"429"' in line]
    return sum(float(line.split()[-1]) for line in lines)


def error(answer: Any) -> tuple[int, str, str]:
    found = answer.json()["error"]
    return answer.status_code, found["type"], found["code"]


def test_an_answer_without_limits_has_no_rate_limit_headers_and_its_cost_is_on_record(limited: Stack) -> None:
    tenant(limited, "free")
    answer = limited.chat("triage", "free")
    assert [name for name in answer.headers if name.startswith("x-ratelimit")] == []
    (row,) = limited.house.usage_of(answer.headers["x-request-id"])
    prompt, completion = row["prompt_tokens"], row["completion_tokens"]
    assert row["cost_nano"] == prompt * 1_000 + completion * 10_000 > 0


def test_requests_above_the_rate_are_a_429_with_the_time_to_wait(limited: Stack) -> None:
    tenant(limited, "quick", requests_per_minute=2)
    before = time.monotonic()
    first, second, third = (limited.chat("triage", "quick") for _ in range(3))
    took_s = time.monotonic() - before
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert second.headers["x-ratelimit-remaining-requests"] == "0"
    assert 30 - took_s - 0.001 <= float(first.headers["x-ratelimit-reset-requests"].removesuffix("s")) <= 30
    assert error(third) == (429, "rate_limit_error", "rate_limit_exceeded")
    assert 30 - took_s <= int(third.headers["retry-after"]) <= 30
    assert third.headers["x-ratelimit-remaining-requests"] == "0"


def test_tokens_are_held_before_a_request_and_settled_after_it(limited: Stack) -> None:
    tenant(limited, "wordy", tokens_per_minute=600)
    before = time.monotonic()
    answer = limited.chat("triage", "wordy", max_tokens=500, min_tokens=500)
    assert 0 <= int(answer.headers["x-ratelimit-remaining-tokens"]) < 100
    used = sum(answer.json()["usage"][name] for name in ("prompt_tokens", "completion_tokens"))
    wait_until("the settlement", lambda: counter(limited, "tenant:wordy").in_flight == 0)
    tokens = counter(limited, "tenant:wordy").tokens
    assert tokens is not None
    now = time.monotonic()
    assert 600 - used - 0.1 <= tokens.free(now) < 600 - used + 0.1 + 10 * (now - before)
    refused = limited.chat("triage", "wordy", max_tokens=575)
    assert error(refused) == (429, "rate_limit_error", "rate_limit_exceeded")
    assert "x-should-retry" not in refused.headers
    too_large = limited.chat("triage", "wordy", max_tokens=601)
    assert error(too_large) == (429, "rate_limit_error", "rate_limit_exceeded")
    assert too_large.headers["x-should-retry"] == "false"


def test_a_used_up_budget_is_an_insufficient_quota_that_the_sdk_does_not_retry(limited: Stack) -> None:
    tenant(limited, "poor", daily_nano=1_000_000)
    key = limited.house.keys["poor"]
    before = answers_429(limited)
    with (
        OpenAI(base_url=f"{limited.url}/v1", api_key=key, max_retries=5) as client,
        pytest.raises(openai.RateLimitError) as caught,
    ):
        client.chat.completions.create(model="triage", messages=MESSAGES, max_tokens=1_000)
    assert answers_429(limited) == before + 1
    assert (caught.value.code, caught.value.type) == ("insufficient_quota", "insufficient_quota")
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert limited.chat("triage", "poor", max_tokens=1).status_code == 200


def test_a_request_without_max_tokens_is_sent_with_the_bound_that_is_held(limited: Stack) -> None:
    tenant(limited, "vague", daily_tokens=1_000_000)
    endless = {"model": "triage", "messages": MESSAGES, "ignore_eos": True}
    answer = limited.post(CHAT, endless, "vague")
    assert answer.json()["usage"]["completion_tokens"] == 40
    longer = limited.post(CHAT, {**endless, "min_tokens": 50}, "vague")
    assert longer.json()["usage"]["completion_tokens"] == 50
    short = limited.post(CHAT, {**endless, "max_tokens": 3}, "vague")
    rows = [limited.house.usage_of(one.headers["x-request-id"])[0] for one in (answer, short)]
    assert [bool(row["bounded_by_us"]) for row in rows] == [True, False]


@pytest.fixture(scope="module")
def keyed(limited: Stack) -> Stack:
    """The tenant `keyed` has no limits; its keys have."""
    tenant(limited, "keyed")
    return limited


def limited_key(stack: Stack, **most: int) -> str:
    """The secret of a new key with these limits."""
    made = stack.house.registry.tenants.create_key("keyed")
    limit(stack, f"key:{made.id}", **most)
    return made.secret


ENDLESS = {"model": "triage", "messages": MESSAGES, "ignore_eos": True}


@pytest.mark.parametrize("most", [{"requests_per_minute": 100}, {"concurrency": 5}])
def test_limits_that_count_no_tokens_cut_no_answer(keyed: Stack, most: dict[str, int]) -> None:
    answer = keyed.post(CHAT, {**ENDLESS, "min_tokens": 41}, limited_key(keyed, **most))
    assert answer.json()["usage"]["completion_tokens"] > 41
    assert "x-switchyard-max-tokens" not in answer.headers
    assert [row["bounded_by_us"] for row in keyed.house.usage_of(answer.headers["x-request-id"])] == [None]


def prompt_of(body: dict[str, Any]) -> int:
    """Tokens that budgets hold for its prompt."""
    return len(httpx.Request("POST", "http://x", json=body).content) + TEMPLATE_TOKENS


@pytest.mark.parametrize("room", [1, 13, 39, 40, 500])
@pytest.mark.parametrize("limit", ["tokens_per_minute", "daily_tokens", "monthly_tokens", "daily_nano"])
def test_an_answer_that_nobody_bounds_is_bounded_to_what_the_limit_can_ever_hold(
    keyed: Stack, limit: str, room: int
) -> None:
    prompt = prompt_of(ENDLESS)
    of_a_minute = -(-(prompt - TEMPLATE_TOKENS) // 4) + room
    most = {"tokens_per_minute": of_a_minute, "daily_nano": prompt * 1_000 + room * 10_000}
    answer = keyed.post(CHAT, ENDLESS, limited_key(keyed, **{limit: most.get(limit, prompt + room)}))
    assert answer.status_code == 200, answer.text
    told = int(answer.headers["x-switchyard-max-tokens"])
    assert answer.json()["usage"]["completion_tokens"] == told == min(room, 40)


def test_no_refusal_speaks_of_a_field_that_was_not_sent_or_of_a_remedy_that_cannot_help(keyed: Stack) -> None:
    def refused(most: dict[str, int], **body: Any) -> str:
        key = limited_key(keyed, **most)
        answer = keyed.post(CHAT, {"model": "triage", "messages": MESSAGES, **body}, key)
        assert answer.status_code == 429, answer.text
        assert "retry-after" not in answer.headers
        assert answer.headers["x-should-retry"] == "false"
        return str(answer.json()["error"]["message"])

    assert refused({"concurrency": 0}).endswith("its concurrency is 0. Ask the operator to raise it.")
    assert "raise it" in refused({"daily_tokens": 0})
    assert "raise it" in refused({"tokens_per_minute": 0})
    tiny = refused({"daily_tokens": 10})
    assert "max" not in tiny
    assert tiny.endswith("No request is so small: ask the operator to raise it.")
    assert "No request is so small" in refused({"daily_tokens": 30}, max_tokens=3)
    assert "by max_completion_tokens). No request" in refused({"daily_tokens": 30}, max_completion_tokens=1000)
    long = [{"role": "user", "content": "a " * 400}]
    assert ". Send a shorter prompt, or ask" in refused({"daily_tokens": 300}, messages=long)
    assert ". Send a shorter prompt, or ask" in refused({"daily_tokens": 300}, messages=long, max_tokens=9)
    assert "Send a smaller max_tokens and a shorter" in refused({"daily_tokens": 300}, messages=long, max_tokens=900)
    assert "Send a smaller max_tokens and min_tokens," in refused({"daily_tokens": 300}, max_tokens=900, min_tokens=900)
    assert "max" not in refused({"tokens_per_minute": 10})
    assert "Send" not in refused({"tokens_per_minute": 10}, max_tokens=30)
    tool = {"type": "function", "function": {"name": "f", "description": "d" * 800}}
    assert "Send a shorter prompt with fewer tools" in refused({"daily_tokens": 600}, tools=[tool], max_tokens=5)
    assert "Send a smaller max_tokens." in refused({"tokens_per_minute": 60}, max_tokens=80)
    assert "Send a smaller max_completion_tokens," in refused({"daily_tokens": 300}, max_completion_tokens=200)


def test_many_prompts_that_are_too_much_together_are_told_to_be_fewer(keyed: Stack) -> None:
    body = {"model": "triage", "prompt": ["a"] * 20}
    error = keyed.post("/v1/completions", body, limited_key(keyed, tokens_per_minute=60)).json()["error"]["message"]
    assert "20 prompts, up to 16 tokens of answer each" in error
    assert error.endswith("Send a smaller max_tokens (without one it is 16) or fewer prompts.")


def test_refusals_are_counted_by_reason_in_usage_budgets_and_metrics_and_cost_no_row_each(keyed: Stack) -> None:
    registry = keyed.house.registry
    made = registry.tenants.create_key("keyed")
    limit(keyed, f"key:{made.id}", requests_per_minute=1, daily_tokens=100)
    for _ in range(20):
        assert keyed.chat("triage", made.secret, max_tokens=1).status_code == 429
    limit(keyed, f"key:{made.id}", requests_per_minute=100_000)
    for _ in range(3):
        assert keyed.chat("triage", made.secret, max_tokens=500).status_code == 429
    assert keyed.chat("nothing", made.secret).status_code == 404
    assert keyed.chat("triage", made.secret, n=0).status_code == 400
    assert keyed.chat("triage", "sk-unknown").status_code == 401

    def reasons() -> dict[str, int]:
        lines = report_usage(registry.db, "key", until_ms=now_ms(), tenants=["keyed"]).lines
        return next((dict(line.refused_by_reason) for line in lines if line.name == made.id), {})

    wait_until("the refusals to be counted", lambda: sum(reasons().values()) == 25)
    expected = {"model_not_found": 1, "invalid_value": 1}
    counted = reasons()
    by_limits = {name: counted.pop(name) for name in ("requests_per_minute", "daily_tokens")}
    assert sum(by_limits.values()) == 23
    assert by_limits["daily_tokens"] >= 3
    assert counted == expected
    with registry.db.read() as session:
        assert session.query(RefusalDay).filter(RefusalDay.key_id == made.id).count() <= 6
    (line,) = [
        one for one in report_budgets(registry.limits, registry.spending, registry.refusals) if made.id in one.scope
    ]
    assert line.refused == by_limits["daily_tokens"]
    text = keyed.http.get(f"{keyed.url}/metrics", headers=keyed.operator).text
    for reason in (*by_limits, *expected, "invalid_api_key"):
        assert f'switchyard_refusals_total{{reason="{reason}"}}' in text


def test_a_budget_that_is_spent_says_so_and_when_it_begins_anew(keyed: Stack) -> None:
    made = keyed.house.registry.tenants.create_key("keyed")
    limit(keyed, f"key:{made.id}", daily_tokens=1_000)
    assert keyed.chat("triage", made.secret).status_code == 200
    wait_until("the settlement", lambda: counter(keyed, f"key:{made.id}").in_flight == 0)
    limit(keyed, f"key:{made.id}", daily_tokens=3)
    message = keyed.chat("triage", made.secret).json()["error"]["message"]
    assert "is spent. Ask the operator to raise it, or wait until" in message
    assert "max_tokens" not in message


def test_only_a_stream_has_a_time_to_its_first_token(keyed: Stack) -> None:
    whole = keyed.chat("triage", "keyed")
    stream = keyed.chat("triage", "keyed", stream=True)
    times = [keyed.house.usage_of(one.headers["x-request-id"])[0]["ttft_ms"] for one in (whole, stream)]
    assert times[0] is None
    assert times[1] is not None


def test_a_dollar_budget_without_a_price_is_refused_and_not_free(house: House) -> None:
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    house.registry.limits.set("tenant:acme", {"monthly_nano": DOLLAR})
    with run_stack(house) as stack:
        refused = stack.chat("triage")
        assert error(refused) == (503, "service_unavailable", "unpriced")
        assert refused.headers["x-should-retry"] == "false"
        house.registry.tariffs.add("adapter:acme/triage", input_dollars="1", output_dollars="1", source="a test")
        stack.wait_revision()
        assert stack.chat("triage").status_code == 200


def test_every_scope_of_a_request_counts_and_a_refusal_holds_nothing(limited: Stack) -> None:
    tenant(limited, "scoped", requests_per_minute=10)
    limit(limited, "adapter:scoped/triage", requests_per_minute=1, daily_tokens=100_000)
    before = time.monotonic()
    assert limited.chat("triage", "scoped").status_code == 200
    assert error(limited.chat("triage", "scoped"))[2] == "rate_limit_exceeded"
    requests = counter(limited, "tenant:scoped").requests
    assert requests is not None
    now = time.monotonic()
    refilled = (now - before) * 10 / 60
    assert 7.9 < requests.free(now) < 8.1 + refilled, "each was counted once when it came in: its body was parsed"
    limited.house.registry.limits.clear("adapter:scoped/triage")
    limited.wait_revision()
    assert limited.chat("triage", "scoped").status_code == 200


def test_what_was_spent_before_a_restart_is_spent_after_it(house: House) -> None:
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    house.registry.tariffs.add("base:tiny", input_dollars="1", output_dollars="10", source="a test")
    house.registry.limits.set("tenant:acme", {"daily_nano": DOLLAR})
    with run_engines(house, {}) as mocks:
        with run_gateway(house, mocks) as stack:
            assert stack.chat("triage").status_code == 200
            spent = counter(stack, "tenant:acme").day.nano
        with run_gateway(house, mocks) as stack:
            day = counter(stack, "tenant:acme").day
            assert (day.spent().nano, day.nano) == (spent, 0)
            assert spent > 0
            house.registry.limits.set("tenant:acme", {"daily_nano": spent + 1})
            stack.wait_revision()
            assert error(stack.chat("triage", max_tokens=1))[2] == "insufficient_quota"


def test_a_client_that_hangs_up_leaves_no_hold(limited: Stack) -> None:
    tenant(limited, "hasty", daily_tokens=1_000_000, concurrency=10)
    limited.faults(token_ms=20)
    try:
        body = {"model": "triage", "messages": MESSAGES, "stream": True, "max_tokens": 900, "ignore_eos": True}
        headers = {"Authorization": f"Bearer {limited.house.keys['hasty']}"}
        for _ in range(5):
            with limited.http.stream("POST", f"{limited.url}{CHAT}", json=body, headers=headers) as answer:
                chunks = answer.iter_bytes()  # closes the answer when it goes
                assert next(chunks).startswith(b"data:")
                assert counter(limited, "tenant:hasty").held_tokens > 900
    finally:
        limited.faults(token_ms=0)
    wait_until("all holds to be released", lambda: counter(limited, "tenant:hasty").in_flight == 0)
    assert counter(limited, "tenant:hasty").held_tokens == 0
    assert counter(limited, "tenant:hasty").held_nano == 0
