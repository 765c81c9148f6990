"""Asks both of every prompt, and a judge of every pair, some at the same time; what is known already is not asked."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

from registry.votes.store import Side
from trainer.endpoints.at_once import each_in_order
from trainer.endpoints.client import Manner, Reply
from trainer.errors import EvaluationError
from trainer.evaluation.judge import Judge, PairVerdict, as_text
from trainer.evaluation.rows import EvaluationRow
from trainer.pairwise.pairs import SIDES, Comparison, Contestant, Pair, Place, pair_of, places, row_key
from trainer.pairwise.run_file import RunFile

TIE = PairVerdict("tie", "tie")


@dataclass(frozen=True, slots=True)
class TextPair:
    """Two texts that answer the same, and a right one if there is one."""

    question: str
    a: str
    b: str
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """A pair, and what a judge said of it; None without a judge. A and B are `incumbent` and `candidate` there."""

    pair: Pair
    verdict: PairVerdict | None


def run(comparison: Comparison, file: RunFile, judge: Judge | None, at_once: int) -> Generator[Judged, None, None]:
    """Every pair, in the seed's order. Who has heard enough closes it. Raises EvaluationError and EndpointError; what
    was answered until then is kept.
    """
    order = places(comparison.data.rows, comparison.seed)
    if not order:
        raise EvaluationError(f"{comparison.data.name} has no prompt")
    _warm(comparison, file, order[0].row)

    def work(place: Place) -> Judged:
        replies = {side: _answer(comparison, file, place.row, side) for side in _first_left(place.left)}
        pair = pair_of(place, replies["a"], replies["b"])
        return Judged(pair, None if judge is None else _verdict(file, judge, pair))

    yield from each_in_order(work, order, at_once)


def judge_texts(
    judge: Judge, pairs: Sequence[TextPair], at_once: int, told: Callable[[int, int], object] = lambda done, total: None
) -> Iterator[PairVerdict]:
    """What a judge says of pairs of texts, each in both orders, as soon as it is known; two texts that are the same are
    a tie unasked.

    A is the `incumbent` and B the `candidate` of a verdict. `told` hears how many of how many are done. Raises
    EndpointError.
    """
    for done, verdict in enumerate(each_in_order(lambda pair: _judged(judge, pair), pairs, at_once), 1):
        told(done, len(pairs))
        yield verdict


def _first_left(left: Side) -> tuple[Side, Side]:
    """Who is asked first changes too, so that neither finds an engine warmer."""
    return ("a", "b") if left == "a" else ("b", "a")


def _warm(comparison: Comparison, file: RunFile, row: EvaluationRow) -> None:
    """The first question loads an adapter, and its time is not the answer's."""
    for side in SIDES:
        one = comparison.contestant(side)
        if one.client.endpoint.is_ours and file.reply(row_key(row), side) is None:
            _ask(one, row, Manner(1, comparison.manner.temperature))


def _answer(comparison: Comparison, file: RunFile, row: EvaluationRow, side: Side) -> Reply:
    key = row_key(row)
    known = file.reply(key, side)
    if known is not None:
        return known
    reply = _ask(comparison.contestant(side), row, comparison.manner)
    file.keep_reply(key, side, reply)
    return reply


def _ask(one: Contestant, row: EvaluationRow, manner: Manner) -> Reply:
    if not isinstance(row.prompt, str):
        return one.client.chat(one.model, row.prompt, manner, row.tools)
    how = {"max_tokens": manner.max_tokens, "temperature": manner.temperature}
    return one.client.ask("/completions", {"model": one.model, "prompt": row.prompt, **how})


def _verdict(file: RunFile, judge: Judge, pair: Pair) -> PairVerdict:
    known = file.verdict(pair.key, judge.name)
    if known is not None:
        return known
    verdict = _judged(judge, TextPair(question_of(pair.row), pair.text("a"), pair.text("b"), pair.row.reference))
    file.keep_verdict(pair.key, judge.name, verdict)
    return verdict


def _judged(judge: Judge, pair: TextPair) -> PairVerdict:
    if pair.a.strip() == pair.b.strip():
        return TIE
    return judge.pair(pair.question, pair.a, pair.b, pair.reference)


def question_of(row: EvaluationRow) -> str:
    """A prompt as whoever judges reads it."""
    return row.prompt if isinstance(row.prompt, str) else as_text(row.prompt)
