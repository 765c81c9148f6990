"""What is left of alpha where there are several questions."""

from __future__ import annotations


def shared_alpha(alpha: float, questions: int) -> float:
    """Alpha of each of so many questions (guardrails × treatments), so that any of them is wrong with probability
    `alpha` at most, whatever they have to do with each other (C. E. Bonferroni, 1936).
    """
    return alpha / max(1, questions)
