"""Answers that are long in coming, that engines give up, and what they are called on their way out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.support.stack import CHAT, MESSAGES, TEXT, Stack, open_house, run_stack
from tests.support.waiting import wait_until

PING = ": ping"


@pytest.fixture(scope="module")
def pinging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Two engines that hold the same adapter, and a gateway that waits a fifth of a second before it pings."""
    with open_house(tmp_path_factory.mktemp("pinging")) as house:
        house.tenant("acme")
        house.publish("acme/triage")
        house.point("acme/triage", "1.0")
        with run_stack(house, engines=({}, {}), stream_ping_s=0.2, head_timeout_s=2.0, answer_timeout_s=1.0) as stack:
            stack.wait_resident("acme/triage@1.0")
            yield stack


@pytest.fixture
def waiting(pinging: Stack) -> Iterator[Stack]:
    yield pinging
    pinging.heal()


def sdk(stack: Stack, **options: Any) -> OpenAI:
    return OpenAI(base_url=f"{stack.url}/v1", api_key=stack.house.keys["acme"], **{"max_retries": 0, **options})


def events(text: str) -> list[str]:
    assert text.endswith("\n\n")
    return text.split("\n\n")[:-1]


def home(stack: Stack) -> int:
    """The number of the engine that requests go to first."""
    before = [stack.state_of(engine)["answered"] for engine in stack.engines]
    assert stack.chat("triage").status_code == 200
    after = [stack.state_of(engine)["answered"] for engine in stack.engines]
    return next(number for number in range(2) if before[number] != after[number])


def test_a_stream_that_is_long_in_coming_is_kept_open_with_pings_and_begins_when_it_can(waiting: Stack) -> None:
    waiting.faults(ttft_ms=700)
    answer = waiting.chat("triage", stream=True)
    got = events(answer.text)
    assert answer.status_code == 200
    assert got[0] == PING
    assert json.loads(got[-2].removeprefix("data: "))["model"] == "acme/triage@1.0"
    assert got[-1] == "data: [DONE]"


def test_so_is_one_that_pauses_between_two_tokens(waiting: Stack) -> None:
    waiting.faults(token_ms=500)
    got = events(waiting.chat("triage", stream=True, max_tokens=3).text)
    assert got[0] != PING
    assert got.count(PING) >= 2, "one in each pause"


def test_a_stream_that_flows_has_no_pings(waiting: Stack) -> None:
    waiting.faults(token_ms=50)
    got = events(waiting.chat("triage", stream=True, max_tokens=10, min_tokens=10).text)
    assert PING not in got


def test_an_answer_in_one_piece_is_never_pinged(waiting: Stack) -> None:
    waiting.faults(ttft_ms=500)
    assert waiting.chat("triage").json()["object"] == "chat.completion"


def test_the_sdk_reads_a_pinged_stream_as_any_other(waiting: Stack) -> None:
    waiting.faults(ttft_ms=500, token_ms=300)
    with (
        sdk(waiting) as client,
        client.chat.completions.create(
            model="triage", messages=MESSAGES, max_tokens=3, stream=True, stream_options={"include_usage": True}
        ) as stream,
    ):
        chunks = list(stream)
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 3
    assert len([chunk for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]) == 3
    with (
        sdk(waiting) as client,
        client.completions.create(model="triage", prompt="x", max_tokens=2, stream=True) as texts,
    ):
        assert all(chunk.object == "text_completion" for chunk in texts)


def test_another_engine_may_still_answer_while_only_pings_were_sent(waiting: Stack) -> None:
    first = waiting.engines[home(waiting)]
    waiting.http.post(f"{first.url}/mock/faults", json={"ttft_ms": 500, "abort_after_tokens": 1})
    answer = waiting.post(TEXT, {"model": "triage", "prompt": "x", "max_tokens": 2, "stream": True})
    got = events(answer.text)
    assert (got[0], got[-1]) == (PING, "data: [DONE]")
    texts = [json.loads(one.removeprefix("data: "))["choices"][0] for one in got[:-1] if one != PING]
    assert [one["finish_reason"] for one in texts] == [None, "length"]
    outcomes = [row["outcome"] for row in waiting.house.usage_of(answer.headers["x-request-id"])]
    assert outcomes == ["engine_failed", "ok"]


def test_a_failure_after_a_ping_is_an_event_that_the_sdk_raises(waiting: Stack) -> None:
    waiting.faults(hang=True)
    answer = waiting.chat("triage", stream=True)
    *pings, failure, done = events(answer.text)
    assert (answer.status_code, set(pings), done) == (200, {PING}, "data: [DONE]")
    assert json.loads(failure.removeprefix("data: "))["error"]["code"] == "engine_unavailable"
    with sdk(waiting) as client, pytest.raises(openai.APIError) as caught:
        list(client.chat.completions.create(model="triage", messages=MESSAGES, stream=True))
    assert caught.value.code == "engine_unavailable"


def test_a_failure_before_the_first_ping_has_its_status(waiting: Stack) -> None:
    waiting.faults(refuse_requests=500, refuse_requests_with=MESSAGES[0]["content"])
    assert waiting.chat("triage", stream=True).status_code == 502


def test_an_answer_in_one_piece_has_a_limit_of_its_own_whose_status_nobody_repeats(waiting: Stack) -> None:
    waiting.faults(hang=True)
    asked = waiting.asked()
    with sdk(waiting, max_retries=2) as client, pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="triage", messages=MESSAGES)
    assert caught.value.code == "answer_timeout", "the limit of streams is another one"
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert "'stream': true" in caught.value.message
    assert waiting.asked() == asked + 1


def test_an_unstreamed_answer_that_its_engine_gives_up_is_given_by_another(waiting: Stack) -> None:
    first = waiting.engines[home(waiting)]
    waiting.http.post(f"{first.url}/mock/faults", json={"abort_after_tokens": 2})
    answer = waiting.chat("triage", max_tokens=4)
    assert (answer.status_code, answer.json()["choices"][0]["finish_reason"]) == (200, "length")
    outcomes = [row["outcome"] for row in waiting.house.usage_of(answer.headers["x-request-id"])]
    assert outcomes == ["engine_failed", "ok"]


def test_a_streamed_answer_that_its_engine_gives_up_ends_with_an_error_and_is_no_good_one(waiting: Stack) -> None:
    waiting.faults(abort_after_tokens=2)
    answer = waiting.chat("triage", stream=True, max_tokens=4)
    *_, failure, done = events(answer.text)
    assert json.loads(failure.removeprefix("data: "))["error"]["code"] == "engine_broke"
    assert done == "data: [DONE]"
    assert '"finish_reason":"abort"' not in answer.text
    assert [row["outcome"] for row in waiting.house.usage_of(answer.headers["x-request-id"])] == ["engine_failed"]
    assert waiting.chat("triage").status_code == 503, "no engine gives a whole answer"


def test_a_client_that_leaves_a_pinged_stream_frees_its_place_on_the_engine(waiting: Stack) -> None:
    waiting.faults(ttft_ms=3_000)
    before = sum(waiting.state_of(one)["aborted"] for one in waiting.engines)
    body = {"model": "triage", "messages": MESSAGES, "stream": True}
    headers = {"Authorization": f"Bearer {waiting.house.keys['acme']}"}
    with waiting.http.stream("POST", f"{waiting.url}{CHAT}", json=body, headers=headers) as answer:
        assert next(answer.iter_text()).startswith(PING)
    wait_until("an engine to see it", lambda: sum(waiting.state_of(one)["aborted"] for one in waiting.engines) > before)
    assert waiting.house.usage_of(answer.headers["x-request-id"])[0]["outcome"] == "client_aborted"
