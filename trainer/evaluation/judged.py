"""What a judge says of answers that were given: rows of an evaluation in pairs, and conversations of two turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.data.faults import DataError, Fault
from trainer.data.lines import read_lines
from trainer.endpoints.at_once import each_in_order
from trainer.evaluation.asking import Asker
from trainer.evaluation.items import Asked, Item, item_of_scores
from trainer.evaluation.judge import (
    JUDGE,
    JUDGE_SCORE,
    JUDGE_TALK,
    LEAST_SCORE,
    MOST_SCORE,
    Judge,
    Judging,
    PairVerdict,
    as_text,
    judging_of,
    too_unreadable,
)

QUESTIONS = Path(__file__).parent / "sets" / "conversations.jsonl"
"""Ours: three of each of eight topics, with two turns each."""
TURNS = 2
MAX_ANSWER_TOKENS = 512


@dataclass(frozen=True, slots=True)
class JudgedItems:
    """Items by a judge, and why one of them is not there; how it behaved, by metric."""

    items: tuple[Item, ...]
    not_measured: dict[str, str]
    judgings: dict[str, Judging]


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a user says in turn; the second goes on from the answer to the first."""

    line: int
    topic: str
    turns: tuple[str, ...]


def judge_pairs(judge: Judge, asked: Sequence[Asked], at_once: int) -> JudgedItems:
    """Of every row, which answer is better. A side's figure is the share of pairs that it wins; ties win nothing."""

    def judged(one: Asked) -> PairVerdict:
        question = one.row.prompt if isinstance(one.row.prompt, str) else as_text(one.row.prompt)
        return judge.pair(question, one.replies[0].text, one.replies[1].text, one.row.reference)

    verdicts = list(each_in_order(judged, asked, at_once))
    return _of_pairs(JUDGE, judge, [one.row.unit for one in asked], verdicts)


def _of_pairs(name: str, judge: Judge, units: Sequence[str], verdicts: Sequence[PairVerdict]) -> JudgedItems:
    judging = judging_of(judge.model, verdicts)
    why = too_unreadable(judging.unreadable, judging.pairs)
    if why is not None:
        return JudgedItems((), {name: why}, {name: judging})
    both = [(unit, one.winner) for unit, one in zip(units, verdicts, strict=True) if one.is_readable]
    first, second = ([float(winner == side) for _, winner in both] for side in ("incumbent", "candidate"))
    item = item_of_scores(name, [unit for unit, _ in both], first, second, span=None)
    return JudgedItems((item,), {}, {name: judging})


def read_conversations(file: Path) -> tuple[Conversation, ...]:
    """Questions of two turns, `{"topic": …, "turns": [first, second]}`. DataError lists every line that is none."""
    read = read_lines(file)
    faults, found = list(read.faults), []
    for line in read.lines:
        turns = line.row.get("turns")
        if not isinstance(turns, list) or len(turns) != TURNS or not all(_is_text(turn) for turn in turns):
            faults.append(Fault(line.number, "data_type", f"'turns' must be a list of {TURNS} texts"))
        else:
            found.append(Conversation(line.number, str(line.row.get("topic", "")), tuple(turns)))
    if faults:
        raise DataError((str(file), faults))
    return tuple(found)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def judge_conversations(
    judge: Judge, ask: Asker, models: tuple[str, str], conversations: Sequence[Conversation], at_once: int
) -> JudgedItems:
    """Both models, the incumbent first, hold every conversation; each turn is graded, and the whole compared.

    `judge_score` is the mean grade of a conversation's turns, `judge_talk` the share of them that a side wins.
    """

    def held(one: Conversation) -> tuple[PairVerdict, tuple[float | None, float | None]]:
        talks = [_hold(ask, model, one) for model in models]
        said = [as_text(talk[1:]) for talk in talks]
        grades = [_grade(judge, talk) for talk in talks]
        return judge.pair(f"user: {one.turns[0]}", said[0], said[1], None), (grades[0], grades[1])

    found = list(each_in_order(held, conversations, at_once))
    units = [str(one.line) for one in conversations]
    pairs = _of_pairs(JUDGE_TALK, judge, units, [verdict for verdict, _ in found])
    graded = [(unit, *grades) for unit, (_, grades) in zip(units, found, strict=True) if None not in grades]
    why = too_unreadable(len(found) - len(graded), len(found))
    if why is not None:
        return JudgedItems(pairs.items, {**pairs.not_measured, JUDGE_SCORE: why}, pairs.judgings)
    first, second = ([float(one[side] or 0) for one in graded] for side in (1, 2))
    span = float(MOST_SCORE - LEAST_SCORE)
    score = item_of_scores(JUDGE_SCORE, [unit for unit, *_ in graded], first, second, span=span)
    return JudgedItems((*pairs.items, score), pairs.not_measured, pairs.judgings)


def _hold(ask: Asker, model: str, conversation: Conversation) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for turn in conversation.turns:
        messages.append({"role": "user", "content": turn})
        reply = ask.chat(model, messages, MAX_ANSWER_TOKENS)
        messages.append({"role": "assistant", "content": reply.text or " "})
    return messages


def _grade(judge: Judge, talk: Sequence[dict[str, Any]]) -> float | None:
    """The mean grade of what the assistant said; None when one of them cannot be read."""
    grades = [
        judge.score(as_text(talk[:at]), talk[at]["content"], None)
        for at in range(len(talk))
        if talk[at]["role"] == "assistant"
    ]
    known = [grade for grade in grades if grade is not None]
    return sum(known) / len(known) if len(known) == len(grades) else None
