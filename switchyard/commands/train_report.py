"""The end of `switchyard train` for people: the verdict on held-out rows, some wrong answers, and what to do next."""

from __future__ import annotations

from switchyard.console import print_table, say
from trainer.evaluation.advice import advice
from trainer.evaluation.in_training import ModelFigures, TrainingEvaluation, WrongAnswer
from trainer.pipeline import Outcome


def print_outcome(outcome: Outcome) -> None:
    """On stdout."""
    found = outcome.evaluation
    rows: list[tuple[str, str, str]] = [
        (f"held-out loss of {found.rows} rows, nats per token", f"{found.base.loss:.3f}", f"{found.adapter.loss:.3f}")
    ]
    if found.metric is not None:
        rows.insert(0, (f"{found.metric}, {found.rows} rows", _rate(found.base), _rate(found.adapter)))
        rows.append((f"answers cut at {found.max_new_tokens} tokens", str(found.base.cut), str(found.adapter.cut)))
    print_table(("", "BASE", "ADAPTER"), rows)
    _print_wrong_answers(found)
    if outcome.largest_effect is not None:
        say(f"effect   {outcome.largest_effect:.2f} nats at most")
    say(f"trained  {outcome.trained.steps} steps in {outcome.trained.seconds:.0f} s")
    say(f"folder   {outcome.folder}")
    created = "" if outcome.created else " (the same bytes were published before)"
    say(f"version  {outcome.version}{created}" if outcome.version else "version  not published")
    remedy = advice(found)
    if remedy:
        say("", remedy)
    if outcome.version and found.is_better:
        say("", *_next_steps(outcome.version, outcome.gate_against))


def _next_steps(version: str, gate_against: str | None) -> list[str]:
    serve = f"switchyard adapters promote {version}"
    if gate_against is None:
        return [f"serve it: {serve}"]
    compare = f"switchyard evaluate {version} --against {gate_against} --data FILE"
    return [f"its gate asks for a certificate first: {compare}", f"then serve it: {serve}"]


def _print_wrong_answers(found: TrainingEvaluation) -> None:
    if not found.wrong:
        return
    score = found.adapter.score
    wrong = score.total - score.correct if score else 0
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


def _rate(side: ModelFigures) -> str:
    score = side.score
    return "" if score is None else f"{score.rate:.1%} ({score.low:.1%} to {score.high:.1%})"
