"""A version that was just published is judged by its own held-out rows, through the gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.gates.policy import Policy
from registry.names import parse_ref
from tests.trainer.evaluation.conftest import Court
from trainer.data.rows import Example, Message, ToolCall
from trainer.errors import EndpointError
from trainer.evaluation.judging import is_judged, judge_version, sentence_of, write_questions
from trainer.evaluation.orders import EvaluationOrder
from trainer.evaluation.rows import read_rows

NEW, OLD = "acme/triage@1.1", "acme/triage@1.0"
TRIAGE = parse_ref("acme/triage")
WISH = Policy("rouge_l")


@pytest.fixture
def questions(court: Court, tmp_path: Path) -> Path:
    """Held-out rows whose answers begin as the candidate's do."""
    examples = []
    for number in range(24):
        prompt = f"judging {number}: where is it?"
        examples.append(Example(number + 1, (Message("user", prompt),), court.says(NEW, prompt)))
    file = tmp_path / "questions.jsonl"
    assert write_questions(examples, file) == 24
    return file


@pytest.fixture
def order(court: Court, questions: Path) -> EvaluationOrder:
    version = court.stack.house.registry.adapters.get(parse_ref(NEW))
    return EvaluationOrder(version, read_rows(questions, 500), wish=WISH)


@pytest.fixture
def gate(court: Court) -> Iterator[Policy]:
    """The operator's own, for as long as a test runs."""
    policy = Policy("label_exact", least_units=25)
    court.stack.house.registry.gates.set(TRIAGE, policy, actor="kim")
    yield policy
    court.stack.house.registry.gates.clear(TRIAGE, actor="kim")


def test_it_is_better_than_what_is_in_production_and_nothing_is_promoted(court: Court, order: EvaluationOrder) -> None:
    registry = court.stack.house.registry
    done: list[tuple[int, int]] = []
    made = judge_version(registry, order, court.stack.url, lambda row, rows: done.append((row, rows)))
    assert (made.verdict, made.actor, made.candidate) == ("passed", "trainer", NEW)
    assert made.document["incumbent"]["model"] == OLD
    assert made.document["gate"] == WISH.document
    assert done[-1] == (24, 24)
    assert registry.adapters.get(parse_ref("acme/triage@production")).name == OLD
    said = sentence_of(made)
    assert said.startswith(f"Verdict: passed. {NEW} against {OLD} on 24 held-out rows: target rouge_l: +")
    assert all(key.revoked_at_ms is not None for key in registry.tenants.list_keys("acme") if key.label == "evaluation")


def test_the_gate_of_the_operator_judges_before_that_of_the_order(
    court: Court, order: EvaluationOrder, gate: Policy
) -> None:
    made = judge_version(court.stack.house.registry, order, court.stack.url)
    assert made.document["gate"] == gate.document
    assert made.verdict == "undecided", "24 conversations are too few for it"
    assert {figure["metric"] for figure in made.document["figures"]} == {"label_exact", "rouge_l"}


def test_a_verdict_is_asked_for_by_the_order_or_by_a_gate(court: Court, order: EvaluationOrder) -> None:
    registry = court.stack.house.registry
    assert is_judged(registry, order.version, WISH)
    assert not is_judged(registry, order.version, None)
    registry.gates.set(TRIAGE, WISH, actor="kim")
    assert is_judged(registry, order.version, None)
    registry.gates.clear(TRIAGE, actor="kim")


def test_a_gateway_that_is_away_leaves_no_certificate_and_no_key(court: Court, order: EvaluationOrder) -> None:
    registry = court.stack.house.registry
    before = len(registry.gates.certificates(parse_ref(NEW)))
    with pytest.raises(EndpointError, match="nothing answers at"):
        judge_version(registry, order, "http://127.0.0.1:9")
    assert len(registry.gates.certificates(parse_ref(NEW))) == before
    assert all(key.revoked_at_ms is not None for key in registry.tenants.list_keys("acme") if key.label == "evaluation")


def test_questions_are_what_a_client_would_send(tmp_path: Path) -> None:
    call = ToolCall("call-1", "look", '{"at": "it"}')
    before = (
        Message("system", "Be brief."),
        Message("user", "Where?"),
        Message("assistant", "", (call,)),
        Message("tool", "here", tool_call_id="call-1"),
    )
    tools = json.dumps([{"type": "function", "function": {"name": "look"}}])
    file = tmp_path / "questions.jsonl"
    examples = [
        Example(1, before, "Here.", tools=tools),
        Example(2, before[:2], "", (call,), tools),
        Example(3, "Once upon", " a time"),
    ]
    assert write_questions(examples, file) == 2, "an answer that is a call cannot be scored by its text"
    chat, text = map(json.loads, file.read_text().splitlines())
    assert text == {"prompt": "Once upon", "completion": " a time"}
    assert [turn["role"] for turn in chat["messages"]] == ["system", "user", "assistant", "tool", "assistant"]
    assert chat["messages"][2]["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"at": "it"}'}
    assert (chat["messages"][2]["weight"], chat["messages"][3]["tool_call_id"]) == (0, "call-1")
    assert chat["tools"] == json.loads(tools)
