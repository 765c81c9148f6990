"""The end of `switchyard train` for people: the verdict on held-out rows, some wrong answers, and what to do next."""

from __future__ import annotations

from switchyard.console import print_table, say
from trainer.evaluation.advice import advice
from trainer.evaluation.in_training import Evaluation, Side, WrongAnswer
from trainer.pipeline import Outcome


def print_outcome(outcome: Outcome) -> None:
    """On stdout."""
    found = outcome.evaluation
    print_table(
        ("", "BASE", "ADAPTER"),
        (
            (f"{found.metric}, {found.rows} rows", _rate(found.base), _rate(found.adapter)),
            ("held-out loss, nats per token", f"{found.base.loss:.3f}", f"{found.adapter.loss:.3f}"),
            (f"answers cut at {found.max_new_tokens} tokens", found.base.cut, found.adapter.cut),
        ),
    )
    _print_wrong_answers(found)
    say(f"effect   {outcome.largest_effect:.2f} nats at most")
    say(f"trained  {outcome.trained.steps} steps in {outcome.trained.seconds:.0f} s")
    say(f"folder   {outcome.folder}")
    created = "" if outcome.created else " (the same bytes were published before)"
    say(f"version  {outcome.version}{created}" if outcome.version else "version  not published")
    remedy = advice(found)
    if remedy:
        say("", remedy)
    if outcome.version and found.adapter.score.correct > found.base.score.correct:
        say("", f"serve it: switchyard adapters promote {outcome.version}")


def _print_wrong_answers(found: Evaluation) -> None:
    if not found.wrong:
        return
    wrong = found.adapter.score.total - found.adapter.score.correct
    shown = f", {len(found.wrong)} of them" if len(found.wrong) < wrong else ""
    say("", f"{wrong} wrong answers of the adapter{shown}:")
    for answer in found.wrong:
        _print_wrong_answer(answer, found.max_new_tokens)
    say()


def _print_wrong_answer(answer: WrongAnswer, most: int) -> None:
    say(
        f"  line {answer.line}  {answer.prompt}",
        f"    expected  {answer.expected}",
        f"    answered  {answer.answer}{f'  [cut at {most} tokens]' if answer.cut else ''}",
    )


def _rate(side: Side) -> str:
    score = side.score
    return f"{score.rate:.1%} ({score.low:.1%} to {score.high:.1%})"
