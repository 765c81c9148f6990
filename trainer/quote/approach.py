"""Prompting, retrieval, fine-tuning, or several of them: a decision by five questions, with its reasons."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Approach = Literal["prompting", "few-shot prompting", "retrieval", "fine-tuning", "fine-tuning and retrieval"]
ENOUGH_ROWS = 200
"""From so many good rows on, training beats examples in the prompt for most tasks that are not style alone."""
LEAST_ROWS = 50
"""Fewer rows teach a model to repeat them."""


@dataclass(frozen=True, slots=True)
class Needs:
    """Answers to the questions; `None` was not answered, and `rows` are what there is to train on."""

    fresh_information: bool | None = None
    behaviour: bool | None = None
    prompting_enough: bool | None = None
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, why, and what to mind. `cautions` speak of this very case."""

    approach: Approach
    reasons: tuple[str, ...]
    cautions: tuple[str, ...] = ()

    @property
    def trains(self) -> bool:
        """Whether something is to be trained."""
        return self.approach.startswith("fine-tuning")


QUESTIONS: dict[str, str] = {
    "fresh_information": "Must answers hold facts that change, or that are newer than the base model?",
    "behaviour": "Must the model change how it answers: format, tone, terms, a fixed set of labels?",
    "prompting_enough": "Does a good prompt with a few examples already answer well enough?",
}
"""By the field of `Needs`, in the order in which they matter; `rows` is asked for last, and only where it decides."""


def next_question(needs: Needs) -> str | None:
    """The field of the next question that decides something; None when all is known. `rows` is a number."""
    if needs.fresh_information is None:
        return "fresh_information"
    if needs.behaviour is None:
        return "behaviour"
    if needs.fresh_information and not needs.behaviour:
        return None
    if not needs.behaviour and needs.prompting_enough is None:
        return "prompting_enough"
    if not needs.behaviour and needs.prompting_enough:
        return None
    return "rows" if needs.rows is None else None


def decide(needs: Needs) -> Decision:
    """The decision. Every question that decides must have been answered: ValueError names the one that was not."""
    missing = next_question(needs)
    if missing is not None:
        raise ValueError(f"{missing} is not answered")
    if needs.fresh_information:
        return _with_fresh_facts(needs)
    if needs.behaviour:
        return _few(needs) or Decision(
            "fine-tuning",
            (
                "no facts that change are needed",
                "a way of answering is learnt by training, and prompts keep it unsteadily",
                f"{needs.rows:,} rows are there to learn it from",
            ),
            _cautions(needs),
        )
    if needs.prompting_enough:
        return Decision(
            "prompting",
            ("the prompt is good enough already", "it costs nothing to begin, and can be changed in minutes"),
            ("long prompts are paid for with every request: `switchyard quote` says when training would pay",),
        )
    return _few(needs, ENOUGH_ROWS) or Decision(
        "fine-tuning",
        ("prompting is not good enough", f"{needs.rows:,} good rows are there to train on"),
        _cautions(needs),
    )


def _with_fresh_facts(needs: Needs) -> Decision:
    retrieval = "facts that change belong in documents that are looked up: an adapter keeps those of its training day"
    if not needs.behaviour:
        return Decision(
            "retrieval", (retrieval, "the way of answering may stay as it is"), ("prompt it well: cite what was found",)
        )
    few = _few(needs)
    if few is not None:
        return replace(few, approach="retrieval", reasons=(retrieval, *few.reasons))
    return Decision(
        "fine-tuning and retrieval",
        (retrieval, "the way of answering is learnt by training", f"{needs.rows:,} rows are there to learn it from"),
        ("train on rows that hold looked-up passages as they will be served", *_cautions(needs)),
    )


def _few(needs: Needs, least: int = LEAST_ROWS) -> Decision | None:
    """What to do with too few rows for training; None when there are at least so many."""
    rows = needs.rows or 0
    if rows >= least:
        return None
    why = "a model learns them by heart" if rows < LEAST_ROWS else "they teach a way of answering, not a hard task"
    return Decision(
        "few-shot prompting",
        (f"{rows:,} rows are too few to train on: below {least} {why}",),
        (
            "put the best rows into the prompt as examples, or have passages looked up, and collect more rows",
            "100 perfect rows beat 10,000 poor ones",
        ),
    )


def _cautions(needs: Needs) -> tuple[str, ...]:
    rows = needs.rows or 0
    said = ["training changes behaviour; it is a poor way to add facts"]
    if rows < ENOUGH_ROWS:
        said.append(f"{rows:,} rows are enough for format and style, a trial; expect overfitting, and collect more")
    if needs.prompting_enough:
        said.append("prompting is good enough already: measure that training is better (`switchyard evaluate`)")
    return tuple(said)
