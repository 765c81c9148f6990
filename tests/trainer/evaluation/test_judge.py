"""A model as a judge: both orders, ties kept, its bias shown, and whatever it says read or counted as unreadable."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from registry.names import parse_ref
from tests.support.judge_server import judge_server
from tests.trainer.evaluation.conftest import TOKENS, Court
from trainer.data.faults import DataError
from trainer.endpoints.client import client_of
from trainer.endpoints.endpoint import Endpoint, gateway_at
from trainer.evaluation.asking import asker
from trainer.evaluation.comparison import Evaluation, Extras, Wanted, compare
from trainer.evaluation.items import Item
from trainer.evaluation.judge import Judge, PairVerdict, better_in, judging_of, score_in
from trainer.evaluation.judged import QUESTIONS, read_conversations
from trainer.evaluation.rows import read_rows
from trainer.evaluation.sides import incumbent_of, side_of

NEW, OLD = "acme/triage@1.1", "acme/triage@1.0"


@pytest.mark.parametrize(
    ("text", "better"),
    [
        ('{"reason": "clear", "better": "A"}', "A"),
        ('Let me see. {"better": "B", "reason": "it has {braces}"} I hope this helps.', "B"),
        ('```json\n{"better": "tie"}\n```', "tie"),
        ('{"better": "Assistant A"}', "A"),
        ("My verdict: [[B]]", "B"),
        ("First I thought [[A]], but no: [[C]]", "tie"),
        ("b", "B"),
        ("Tie.", "tie"),
        ("A is better because B is worse", None),
        ("", None),
        ('{"better": "neither"}', None),
        ('{"better": ["A"]}', None),
        ("{" * 5_000, None),
        ("I cannot judge this.", None),
    ],
)
def test_a_verdict_is_read_however_it_is_said_or_not_at_all(text: str, better: str | None) -> None:
    assert better_in(text) == better


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ('{"score": 7}', 7),
        ('{"score": "8"}', 8),
        ('{"score": 7.0}', 7),
        ("Rating: [[10]]", 10),
        ("I give it 6/10.", 6),
        ("9", 9),
        ('{"score": 11}', None),
        ('{"score": 0}', None),
        ('{"score": 7.5}', None),
        ('{"score": true}', None),
        ("seven", None),
        ("", None),
    ],
)
def test_a_grade_is_a_whole_number_from_one_to_ten(text: str, score: int | None) -> None:
    assert score_in(text) == score


def test_a_verdict_that_turns_with_the_order_is_a_tie() -> None:
    verdicts = [PairVerdict("A", "B"), PairVerdict("B", "A"), PairVerdict("A", "A"), PairVerdict("tie", "A")]
    assert [verdict.winner for verdict in verdicts] == ["incumbent", "candidate", "tie", "tie"]
    found = judging_of("judge", [*verdicts, PairVerdict(None, "A")])
    assert (found.pairs, found.unreadable, found.ties) == (5, 1, 2)
    assert (found.flipped, found.first_preferred) == (0.25, 5 / 7)


def answers(prompt: str) -> tuple[str, str]:
    """What a judge was shown as A and as B."""
    found = re.findall(r"<assistant [AB]>\n(.*?)\n</assistant [AB]>", prompt, re.DOTALL)
    return found[0], found[1]


@pytest.fixture
def judged(court: Court) -> Callable[..., Evaluation]:
    registry = court.stack.house.registry

    @contextmanager
    def at(say: Callable[[str], str]) -> Iterator[Judge]:
        with judge_server(say) as url, client_of(Endpoint(url, "sk-judge")) as client:
            yield Judge(client, "wise")

    def compared(say: Callable[[str], str], talks: Path | None = None) -> Evaluation:
        candidate = registry.adapters.get(parse_ref(NEW))
        sides = side_of(candidate), incumbent_of(registry, candidate, required=True)
        rows = read_rows(court.rows("judged", [NEW] * 12), 100)
        held = read_conversations(talks) if talks else ()
        with at(say) as judge, asker(gateway_at(court.stack.url, court.stack.house.keys["acme"])) as ask:
            extras = Extras(("judge",), judge, held)
            return compare(Wanted(*sides, rows, (), (), TOKENS, extras=extras), ask)

    return compared


def item(found: Evaluation, metric: str) -> Item:
    return next(one for one in found.items if one.metric == metric)


def test_a_judge_that_knows_the_right_answer_finds_the_better_one(
    court: Court, judged: Callable[..., Evaluation]
) -> None:
    def say(prompt: str) -> str:
        right = re.findall(r"<a right answer>\n(.*?)\n</a right answer>", prompt, re.DOTALL)
        return json.dumps({"better": "A" if answers(prompt)[0] == right[0] else "B"})

    found = judged(say)
    one = item(found, "judge")
    assert (one.incumbent, one.candidate, one.improvement, one.word) == (0.0, 1.0, 1.0, "better")
    judging = found.judgings["judge"]
    assert (judging.candidate_wins, judging.flipped, judging.first_preferred) == (12, 0.0, 0.5)


def test_a_judge_that_always_prefers_what_it_sees_first_finds_no_winner(judged: Callable[..., Evaluation]) -> None:
    found = judged(lambda prompt: '{"better": "A"}')
    one = item(found, "judge")
    assert (one.incumbent, one.candidate, one.improvement, one.word) == (0.0, 0.0, 0.0, "undecided")
    judging = found.judgings["judge"]
    assert (judging.ties, judging.flipped, judging.first_preferred) == (12, 1.0, 1.0)


def test_a_judge_that_cannot_be_read_is_no_judge(judged: Callable[..., Evaluation]) -> None:
    found = judged(lambda prompt: "As a language model I would rather not say.")
    assert found.items == ()
    assert "12 of the judge's 12 answers could not be read" in found.not_measured["judge"]


def test_conversations_of_two_turns_are_graded_turn_by_turn_and_compared_as_a_whole(
    court: Court, judged: Callable[..., Evaluation], tmp_path: Path
) -> None:
    talks = tmp_path / "talks.jsonl"
    talks.write_text("".join(f'{{"topic": "t", "turns": ["first {n}", "second {n}"]}}\n' for n in range(3)))
    shown: list[str] = []

    def say(prompt: str) -> str:
        shown.append(prompt)
        if "whole number from 1 to 10" in prompt:
            return json.dumps({"score": 8 if "second" in prompt else 4})
        return '{"better": "tie"}'

    found = judged(say, talks)
    score = item(found, "judge_score")
    assert (score.incumbent, score.candidate, score.units) == (6.0, 6.0, 3), "the mean of both turns"
    assert score.low is None, "three conversations are too few for an interval"
    assert item(found, "judge_talk").improvement == 0
    second = [prompt for prompt in shown if "user: second 1" in prompt and "<answer>" in prompt]
    assert second
    assert all("user: first 1" in prompt and "assistant:" in prompt for prompt in second), "the whole talk is shown"


def test_our_own_conversations_are_three_of_each_of_eight_topics() -> None:
    found = read_conversations(QUESTIONS)
    topics = [one.topic for one in found]
    assert len(found) == 24
    assert {topics.count(topic) for topic in topics} == {3}


def test_what_is_no_conversation_is_named_by_its_line(tmp_path: Path) -> None:
    file = tmp_path / "talks.jsonl"
    file.write_text('{"turns": ["a", "b"]}\n{"turns": ["a"]}\n{"turns": ["a", " "]}\n{}\n')
    with pytest.raises(DataError) as refused:
        read_conversations(file)
    assert [fault.line for fault in refused.value.faults] == [2, 3, 4]
