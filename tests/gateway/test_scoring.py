"""Sampled answers: their words are found whatever the dialect, and looked at by a child."""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import orjson
import pytest

from gateway.api.dialects import DIALECTS
from gateway.bytes_in_flight import HeldBytes
from gateway.handoffs import Arm, Assignment, Call, Target
from gateway.scoring import child, looking, scorer
from gateway.scoring.answers import Choice, choices_of
from gateway.scoring.findings import findings, goes_in_circles, refuses
from gateway.scoring.looking import Finding, Looking
from gateway.scoring.scorer import MOST_QUEUED, MOST_QUEUED_BYTES, MOST_TAPPED, Scorer
from gateway.tap import MOST_ANSWER_BYTES, Tap
from registry.catalog.snapshot import SplitArm, SplitEntry, SplitPolicy, VersionEntry
from registry.errors import InvalidInput
from registry.outcomes.forms import AnswerChecks
from registry.outcomes.said import Subject
from registry.outcomes.store import Outcomes

VERSION = VersionEntry(1, "acme/a@1.0", "acme", "a", "1.0", "m", "b", None, 0, adapter_id=7)
HOSTILE = "(a+)+b"


def document(text: str | None, **choice: Any) -> bytes:
    message = {"role": "assistant", "content": text, **choice.pop("message", {})}
    return orjson.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop", **choice}]})


def tap_of(*chunks: bytes, streamed: bool = False, checks: AnswerChecks | None = None) -> Tap:
    tap = Tap("r1", Target("a", None, None, VERSION, None, None, checks=checks), Arm("acme/a@1.0", "b", VERSION), None)
    tap.begin(streamed=streamed)
    for chunk in chunks:
        tap.take(chunk)
    return tap


@pytest.fixture(scope="module")
def eye() -> Iterator[Looking]:
    found = Looking()
    yield found
    found.close()


def found_in(eye: Looking, *answers: bytes, checks: AnswerChecks | None = None) -> list[dict[str, float]]:
    return [one.found for one in eye.look([tap_of(answer, checks=checks) for answer in answers])]


def test_the_words_of_every_kind_of_answer_are_found() -> None:
    chat = [
        b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n',
        b': ping\n\ndata: {"choices":[{"index":1,"delta":{"content":"B"}},{"index":0,"delta":{"content":"A"}}]}\n\n',
        b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}\n\n'
        b'data: {"choices":[],"usage":{}}\n\ndata: [DONE]\n\n',
    ]
    first, second = choices_of(b"".join(chat), streamed=True)
    assert (first.text, first.finish_reason, second.text) == ("A", "length", "B")
    text = b'data: {"choices":[{"index":0,"text":"to"}]}\n\ndata: {"choices":[{"index":0,"text":"ut"}]}\n\n'
    assert [one.text for one in choices_of(text, streamed=True)] == ["tout"]
    (call,) = choices_of(document(None, message={"tool_calls": [{"id": "c"}]}), streamed=False)
    assert (call.text, call.calls_tools) == ("", True)
    for broken in (b"{", b"[]", b'{"choices":[{"index":0,"message":3}]}', b'{"choices":7}'):
        with pytest.raises(ValueError, match=r".") as failed:
            choices_of(broken, streamed=False)
        assert isinstance(failed.value, ValueError)


@pytest.mark.parametrize(
    ("text", "declines"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("I’m sorry, I am not able to share this.", True),
        ("As an AI language model, I cannot do this.", True),
        ("  I cannot assist with that request", True),
        ("Es tut mir leid, aber ich kann das nicht tun.", True),
        ("I'm sorry to hear that your parcel is late! It will be there on Monday.", False),
        ("You can't help but like it.", False),
        ("The customer says: I can't log in.", False),
        ("x" * 500 + " I cannot help with that", False),
        ("", False),
    ],
)
def test_who_begins_by_declining_refuses(text: str, declines: bool) -> None:
    assert refuses(Choice([text])) is declines


def test_an_answer_that_says_the_same_again_and_again_goes_in_circles() -> None:
    assert goes_in_circles("We will look into it. " * 40)
    assert goes_in_circles("好的" * 60)
    assert not goes_in_circles(" ".join(f"word{number}" for number in range(400)))
    assert not goes_in_circles("no no no no no no")


def test_of_several_choices_the_share_counts_and_a_call_of_a_tool_is_not_empty() -> None:
    choices = [Choice(["a"], finish_reason="length"), Choice([" \n"]), Choice(calls_tools=True), Choice(refusal="No.")]
    assert findings(choices) == {"refusal": 0.25, "empty": 0.25, "repetition": 0.0, "truncation": 0.25}


def test_the_declared_form_is_checked_and_a_call_of_a_tool_has_none(eye: Looking) -> None:
    schema = {"type": "object", "required": ["team"], "properties": {"team": {"enum": ["a", "b"]}}}
    checks = AnswerChecks(schema=schema, pattern=r"\{.*\}").checked()
    call = document(None, message={"tool_calls": [{"id": "c"}]})
    said = [' {"team": "a"}\n', '{"team": "c"}', "team a", '["team"]']
    found = found_in(eye, *map(document, said), call, checks=checks)
    assert [one.get("conformance") for one in found] == [1.0, 0.0, 0.0, 0.0, None]


def test_a_hostile_pattern_or_schema_holds_up_nobody_and_is_given_up(eye: Looking) -> None:
    answer = document(orjson.dumps({"b": "a" * 64 + "!"}).decode())
    by_schema = AnswerChecks(schema={"properties": {"b": {"pattern": f"^{HOSTILE}$"}}}).checked()
    by_pattern = AnswerChecks(pattern=r'\{"b":"' + HOSTILE + r'"\}').checked()
    for checks in (by_schema, by_pattern):
        looked = eye.look([tap_of(answer, checks=checks) for _ in range(2 * child.MOST_SLOW)])
        assert {one.unscored for one in looked} == {"takes too long"}
        assert all(one.found["empty"] == 0.0 and "conformance" not in one.found for one in looked)
    assert found_in(eye, document("hi"))[0]["empty"] == 0.0


def test_what_is_no_answer_is_not_scored(eye: Looking) -> None:
    deep = b'{"choices":' + b"[" * 100_000
    looked = eye.look([tap_of(b"{"), tap_of(b'{"choices":[]}'), tap_of(deep), tap_of(document("hi"))])
    assert [one.unscored for one in looked] == ["not understood"] * 3 + [None]


def test_a_child_that_dies_is_begun_anew(eye: Looking) -> None:
    eye.look([tap_of(document("hi"))])
    process = eye.child.process
    assert process is not None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert [one.unscored for one in eye.look([tap_of(document("hi"))])] == ["failed"]
    assert [one.unscored for one in eye.look([tap_of(document("hi"))])] == [None]


def test_a_child_that_hangs_is_ended(eye: Looking, monkeypatch: pytest.MonkeyPatch) -> None:
    eye.look([tap_of(document("hi"))])
    process = eye.child.process
    assert process is not None
    monkeypatch.setattr(looking, "DEADLINE_S", 0.1)
    os.killpg(process.pid, signal.SIGSTOP)
    assert [one.unscored for one in eye.look([tap_of(document("hi"))])] == ["failed"]
    assert process.poll() is not None


def test_a_child_knows_no_setting_of_ours(eye: Looking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCHYARD_STORE_KEY", "secret")
    eye.rest()
    eye.look([tap_of(document("hi"))])
    process = eye.child.process
    assert process is not None
    with open(f"/proc/{process.pid}/environ", "rb") as environment:
        assert b"SWITCHYARD" not in environment.read()


def test_an_answer_that_is_too_long_is_not_kept() -> None:
    tap = tap_of(b"x" * MOST_ANSWER_BYTES, b"y", b"z")
    assert (tap.chunks, tap.left < 0) == ([], True)
    tap.begin(streamed=False)
    tap.take(b"z")
    assert (tap.chunks, tap.left) == ([b"z"], MOST_ANSWER_BYTES - 1)


@pytest.mark.parametrize(
    ("checks", "named"),
    [
        (AnswerChecks(share=1.5), "share is 1.5"),
        (AnswerChecks(pattern="("), "pattern is '('"),
        (AnswerChecks(pattern=""), "pattern has 0 characters"),
        (AnswerChecks(pattern="x" * 2_000), "pattern has 2000 characters"),
        (AnswerChecks(schema={"type": "thing"}), "schema is no JSON schema"),
        (AnswerChecks(schema={"$ref": "http://169.254.169.254/x"}), "schema refers to 'http"),
        (AnswerChecks(schema={"enum": ["x" * 100_000]}), "schema has"),
    ],
)
def test_what_cannot_be_asked_of_an_answer_is_refused(checks: AnswerChecks, named: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(named)):
        checks.checked()


def test_a_schema_that_nests_without_end_is_refused() -> None:
    schema: dict[str, Any] = {}
    for _ in range(200):
        schema = {"items": schema}
    with pytest.raises(InvalidInput, match="nests more than"):
        AnswerChecks(schema=schema).checked()


def test_all_answers_of_an_experiment_are_looked_at_and_the_base_as_an_arm_is_of_the_adapter() -> None:
    arm = SplitArm("base", 5_000, 0.5, "tiny", "b", None)
    policy = SplitPolicy(5, "x", "conversation", arm, False, frozenset(), (), 10_000, (b"", 0), True)
    split = SplitEntry(3, b"salt", (), (), policy)
    call = Call(DIALECTS["chat"], None, None, _nothing, "0" * 32, "0" * 32)
    base = Arm("tiny", "b", None, Assignment(3, "base", 0.5))
    about = Target("a", None, None, VERSION, "production", split)
    chooser = Scorer(cast("Outcomes", None), 1, Counter())
    tap = chooser.tap(call, about, base, "ab" * 16)
    assert tap is not None
    assert chooser.tapped == 1
    chooser.untap(tap)
    assert chooser.tapped == 0
    tenant, outcome = scorer._outcomes_of(tap, Finding({}, "too long"))[0]
    assert (tenant, outcome.said.metric, outcome.said.value) == ("acme", "unscored", 1.0)
    assert outcome.subject == Subject(7, "0" * 32, 3, "base", "ab" * 16)
    plain = about._replace(split=replace(split, policy=None))
    for target, chosen, unit_hash in ((plain, base, "ab" * 16), (about, base._replace(assignment=None), None)):
        assert chooser.tap(call, target, chosen, unit_hash) is None
    chooser.tapped = MOST_TAPPED
    assert chooser.tap(call, about, base, "ab" * 16) is None


async def _nothing(_held: HeldBytes) -> bytes:
    return b""


async def test_what_becomes_of_a_group_is_counted_also_when_nobody_can_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counter[str]()
    chooser = Scorer(cast("Outcomes", None), 1, counted)
    monkeypatch.setattr(scorer, "GATHER_S", 0)
    for _ in range(3):
        chooser.offer(tap_of(b"x" * (MOST_ANSWER_BYTES + 1)))
    with pytest.raises(AttributeError):  # there is nowhere to store it
        await chooser.run()
    assert counted == {"failed": 3}


def test_what_waits_to_be_looked_at_has_a_bound() -> None:
    counted = Counter[str]()
    few = Scorer(cast("Outcomes", None), 1, counted)
    for _ in range(MOST_QUEUED + 3):
        few.offer(tap_of(b"x"))
    long = Scorer(cast("Outcomes", None), 1, counted)
    for _ in range(MOST_QUEUED_BYTES // MOST_ANSWER_BYTES + 1):
        long.offer(tap_of(b"x" * MOST_ANSWER_BYTES))
    assert counted == {"dropped": 4}
