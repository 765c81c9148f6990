"""Pairs as a judge is shown them, and its words as they are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from registry.shadows.pair_store import BATCH, ShadowPairs, VerdictInfo
from registry.shadows.pairs import AnswerText
from registry.shadows.summary import UNREADABLE

Letter = Literal["A", "B", "tie"]
"""Whom a judge prefers: the answer that it was shown first, or second."""


@dataclass(frozen=True, slots=True)
class ToJudge:
    """A pair whose texts are kept."""

    request_id: str
    question: str
    control: str
    candidate: str


def to_judge(pairs: ShadowPairs, shadow_id: int, judge: str, most: int) -> list[ToJudge]:
    """Pairs of two whole answers of which this judge has said nothing yet, the oldest first, so many at most."""
    found: list[ToJudge] = []
    after = None
    while len(found) < most and (page := pairs.page(shadow_id, after, BATCH, whole=True, with_content=True)):
        after = page[-1].request_id
        for pair in page:
            content = pair.content
            if content is not None and all(one.judge != judge for one in pair.verdicts):
                answers = _answer(content.control), _answer(content.candidate)
                found.append(ToJudge(pair.request_id, question_of(content.request), *answers))
    return found[:most]


def question_of(request: Mapping[str, Any]) -> str:
    """What was asked, for a reader."""
    messages = request.get("messages")
    if not isinstance(messages, list):
        return str(request.get("prompt", ""))
    return "\n\n".join(f"{message.get('role')}: {_text(message.get('content'))}" for message in messages)


def verdict_of(judge: str, *, control_first: Letter | None, candidate_first: Letter | None) -> VerdictInfo:
    """What a judge said in both orders; `None` is a word that could not be read. A verdict that turns is a tie."""
    after_control = (
        UNREADABLE if control_first is None else {"A": "control", "B": "candidate"}.get(control_first, "tie")
    )
    after_candidate = (
        UNREADABLE if candidate_first is None else {"A": "candidate", "B": "control"}.get(candidate_first, "tie")
    )
    if UNREADABLE in (after_control, after_candidate):
        verdict = UNREADABLE
    else:
        verdict = after_control if after_control == after_candidate else "tie"
    return VerdictInfo(judge, after_candidate, after_control, verdict)


def _answer(said: AnswerText) -> str:
    return "\n".join((said.text, *said.calls)).strip()


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content if isinstance(part, dict))
    return "" if content is None else str(content)
