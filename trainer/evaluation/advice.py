"""What a result on held-out rows means, and what to do about it. Pure."""

from __future__ import annotations

from trainer.evaluation.in_training import TrainingEvaluation

MANY = 0.05
"""Share of all answers. Fewer that do not end are single misses."""


def advice(found: TrainingEvaluation) -> str | None:
    """One sentence when the adapter should not be served as it is, or was not measured rightly; else None."""
    base, adapter = found.base.score, found.adapter.score
    if base is None or adapter is None:
        return _of_loss(found) if found.adapter.loss >= found.base.loss else None
    wrong, cut = adapter.total - adapter.correct, found.adapter.cut
    limit_is_short = found.max_new_tokens < found.longest_reference
    if cut * 2 >= wrong > 0 and (limit_is_short or cut >= MANY * found.rows):
        return _of_cut_answers(found)
    if adapter.correct > base.correct:
        return None
    if base.correct == base.total:
        return "The base answers every held-out row rightly without an adapter: there is nothing to gain on these rows."
    if found.adapter.loss >= found.base.loss:
        return _of_loss(found)
    fell = f"its loss fell ({found.base.loss:.3f} to {found.adapter.loss:.3f})"
    return (
        f"On held-out rows it is no better than its base, but {fell}: train longer before you serve it, and see by the "
        "wrong answers whether the metric is too strict for them."
    )


def _of_loss(found: TrainingEvaluation) -> str:
    return (
        "On held-out rows it is no better than its base, and its loss did not fall "
        f"({found.base.loss:.3f} to {found.adapter.loss:.3f}): lower training.learning_rate or the number of steps, or "
        "give more and other rows."
    )


def _of_cut_answers(found: TrainingEvaluation) -> str:
    cut = f"{found.adapter.cut} of {found.rows} answers were cut at {found.max_new_tokens} tokens"
    if found.max_new_tokens < found.longest_reference:
        return (
            f"{cut}, and right ones have up to {found.longest_reference}: leave evaluation.max_new_tokens out, or "
            "raise it. What was trained is as it is; only this measurement was cut short."
        )
    return (
        f"{cut}, and right ones have {found.longest_reference} at most: it has not learnt where to stop; "
        "train longer before you serve it."
    )
