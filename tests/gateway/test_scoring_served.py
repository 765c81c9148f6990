"""Answers that a gateway gives are looked at: of every dialect, and what becomes of each is stored or counted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from anthropic import Anthropic
from openai import OpenAI

from gateway.api.respond import Respond
from gateway.scoring import looking, scorer
from registry.errors import Conflict
from registry.experiments.infos import Decision
from registry.experiments.plan import Plan
from registry.names import parse_ref
from registry.outcomes.forms import AnswerChecks
from registry.outcomes.said import OutcomeRow
from tests.support.stack import MESSAGES, Stack, open_house, run_stack
from tests.support.waiting import wait_until

TRIAGE = parse_ref("acme/triage")


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An adapter that wants to have all of its answers looked at, and one that does not."""
    scorer_gathers, niceness = scorer.GATHER_S, looking.NICENESS
    scorer.GATHER_S, looking.NICENESS = 0.01, 0  # other tests would have its turn
    with open_house(tmp_path_factory.mktemp("scoring")) as house:
        house.tenant("acme")
        house.publish("acme/triage")
        house.publish("acme/triage")
        house.point("acme/triage", "1.0")
        house.publish("acme/plain")
        house.point("acme/plain", "1.0")
        house.registry.answer_checks.set(TRIAGE, AnswerChecks(share=1.0, pattern=r"[^{]*"), actor="test")
        with run_stack(house) as stack:
            yield stack
    scorer.GATHER_S, looking.NICENESS = scorer_gathers, niceness


def outcomes_of(stack: Stack, adapter_id: int, request_ids: Sequence[str]) -> dict[str, dict[str, float | None]]:
    """By request, once there are some of each."""

    def rows() -> list[OutcomeRow] | None:
        found = [one for one in stack.house.registry.outcomes.after(adapter_id, 0) if one.request_id in request_ids]
        return found if {one.request_id for one in found} == set(request_ids) else None

    found: dict[str, dict[str, float | None]] = {}
    for row in wait_until("outcomes", rows):
        found.setdefault(row.request_id or "", {})[row.metric] = row.value
    return found


def adapter_id(stack: Stack, name: str) -> int:
    house = stack.gateway.house
    assert house is not None
    return house.catalog.current.adapters["acme", name].aliases["production"].adapter_id


def test_answers_of_every_dialect_are_looked_at_streamed_or_not(asking: Stack) -> None:
    model: dict[str, Any] = {"model": "acme/triage"}
    with OpenAI(base_url=f"{asking.url}/v1", api_key=asking.house.keys["acme"], max_retries=0) as client:
        ids = [
            client.chat.completions.create(**model, messages=MESSAGES, max_tokens=2, n=2).id,
            client.completions.create(**model, prompt=["a", "b"], max_tokens=30).id,
            client.responses.create(**model, input="a", max_output_tokens=20).id,
        ]
        with client.chat.completions.create(**model, messages=MESSAGES, max_tokens=2, stream=True) as stream:
            ids.append([chunk.id for chunk in stream][-1])
        with client.responses.create(**model, input="a", max_output_tokens=20, stream=True) as events:
            seen = [*events]  # to its end: an answer whose client has left is not looked at
            ids.append(next(event.response.id for event in seen if event.type == "response.created"))
    with Anthropic(base_url=asking.url, api_key=asking.house.keys["acme"], max_retries=0) as anthropic:
        ids.append(anthropic.messages.create(**model, messages=MESSAGES, max_tokens=2).id)
    requests = [re.findall("[0-9a-f]{32}", id_)[0] for id_ in ids]
    found = outcomes_of(asking, adapter_id(asking, "triage"), requests)
    names = {"refusal", "empty", "repetition", "truncation", "conformance", "unscored"}
    assert all(set(one) == names for one in found.values())
    assert [found[one]["truncation"] for one in requests] == [1.0, 0.0, 0.0, 1.0, 0.0, 1.0]
    assert {one["unscored"] for one in found.values()} == {0.0}
    assert {one["conformance"] for one in found.values()} == {1.0}


def test_an_answer_to_a_split_is_known_by_its_arm_and_unit(asking: Stack) -> None:
    house = asking.house
    house.split("acme/triage", {"1.0": 5_000, "1.1": 5_000})
    try:
        answer = asking.chat("acme/triage", headers={"X-Switchyard-Unit": "u-1"})
    finally:
        house.end_split("acme/triage")
    request_id = answer.headers["x-request-id"]
    outcomes_of(asking, adapter_id(asking, "triage"), [request_id])
    row = house.usage_of(request_id)[0]
    rows = house.registry.outcomes.after(row["adapter_id"], 0)
    found = [one for one in rows if one.request_id == request_id]
    assert {one.unit_hash for one in found} == {row["unit_hash"]}
    assert {(one.arm, one.split_id, one.source) for one in found} == {(row["arm"], row["split_id"], "automatic")}


def test_nothing_is_kept_of_answers_that_nobody_asked_about(asking: Stack) -> None:
    plain = asking.chat("acme/plain").headers["x-request-id"]
    after = asking.chat("acme/triage").headers["x-request-id"]
    outcomes_of(asking, adapter_id(asking, "triage"), [after])
    assert not [
        row for row in asking.house.registry.outcomes.after(adapter_id(asking, "plain"), 0) if row.request_id == plain
    ]


def test_a_failed_answer_and_one_that_is_no_text_have_no_outcomes(asking: Stack) -> None:
    asking.faults(fail_next=[400])
    failed = asking.chat("acme/triage")
    asking.heal()
    assert failed.status_code == 400, failed.text
    assert asking.post("/v1/tokenize", {"model": "acme/triage", "prompt": "a"}).status_code == 200
    assert asking.post("/v1/embeddings", {"model": "acme/triage", "input": "a"}).status_code == 404
    after = asking.chat("acme/triage").headers["x-request-id"]
    found = outcomes_of(asking, adapter_id(asking, "triage"), [after])
    assert set(found) == {after}
    assert failed.headers["x-request-id"] not in found
    metrics = asking.http.get(f"{asking.url}/metrics", headers=asking.operator).text
    assert 'switchyard_sampled_answers_total{became="not text"} 1.0' in metrics


def became(stack: Stack, what: str) -> float:
    """Answers that were to be looked at of which this became, of the installation's one worker."""
    metrics = stack.http.get(f"{stack.url}/metrics", headers=stack.operator).text
    line = f'switchyard_sampled_answers_total{{became="{what}"}} '
    return sum(float(one.removeprefix(line)) for one in metrics.splitlines() if one.startswith(line))


def test_an_answer_that_nobody_has_heard_to_its_end_is_counted_as_broken_off(asking: Stack) -> None:
    before = became(asking, "broken off")
    asking.faults(token_ms=20)
    body = {"model": "acme/triage", "messages": MESSAGES, "max_tokens": 500, "min_tokens": 500, "stream": True}
    key = {"Authorization": f"Bearer {asking.house.keys['acme']}"}
    with asking.http.stream("POST", f"{asking.url}/v1/chat/completions", json=body, headers=key) as answer:
        next(answer.iter_bytes())
    wait_until("it to be counted", lambda: became(asking, "broken off") > before)
    asking.heal()


def test_an_answer_is_offered_before_a_client_that_has_all_of_it_can_hang_up(
    asking: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    house, order = asking.gateway.house, list[str]()
    assert house is not None
    end = Respond.end

    async def ended(respond: Respond) -> None:
        order.append("ended")
        await end(respond)

    monkeypatch.setattr(house.scorer, "offer", lambda _: order.append("offered"))
    monkeypatch.setattr(Respond, "end", ended)
    assert asking.chat("acme/triage", stream=True).status_code == 200
    assert order == ["offered", "ended"]


def test_an_adapter_that_wants_it_no_more_is_asked_no_more(asking: Stack) -> None:
    house = asking.house
    before = house.registry.answer_checks.get(TRIAGE)
    house.registry.answer_checks.set(TRIAGE, None, actor="test")
    asking.wait_revision()
    try:
        asking.chat("acme/triage")
        gateway = asking.gateway.house
        assert gateway is not None
        assert gateway.catalog.current.adapters["acme", "triage"].checks is None
    finally:
        house.registry.answer_checks.set(TRIAGE, before, actor="test")
        asking.wait_revision()


def test_an_operator_says_over_http_what_is_looked_for(asking: Stack) -> None:
    url = f"{asking.url}/admin/v1/adapters/acme/plain/metrics"

    def told(method: str, **body: Any) -> tuple[int, Any]:
        answer = asking.http.request(method, url, headers=asking.operator, **body)
        return answer.status_code, answer.json()

    nothing = {"share": 0.0, "pattern": None, "json_schema": None}
    assert told("GET") == (200, nothing)
    order = {"share": 0.5, "pattern": "a+", "json_schema": {"type": "object"}}
    assert told("PUT", json=order) == (200, order)
    assert told("GET") == (200, order)
    assert told("PUT", json={"pattern": "("})[0] == 400
    assert told("DELETE") == (200, nothing)


def test_the_form_of_answers_stays_while_an_experiment_runs(asking: Stack) -> None:
    registry = asking.house.registry
    plan = Plan.of({"treatments": ["1.1"]})
    made = registry.experiments.create(TRIAGE, plan, actor="test")
    wait_until("it to run", lambda: registry.experiments.get(made.id).state == "running")
    before = registry.answer_checks.get(TRIAGE)
    assert before is not None
    registry.answer_checks.set(TRIAGE, replace(before, share=0.5), actor="test")
    with pytest.raises(Conflict, match="while experiment"):
        registry.answer_checks.set(TRIAGE, None, actor="test")
    wait_until("it to be there", lambda: not registry.experiments.get(made.id).moving)
    registry.experiments.decide(made.id, Decision("stop", "the test is over"))
    wait_until("it to end", lambda: registry.experiments.get(made.id).ended_at_ms)
    registry.answer_checks.set(TRIAGE, before, actor="test")
