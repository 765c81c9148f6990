"""How many of a baseline's tokens one of ours is, from texts that both tokenizers have counted. Pure.

    ratio  r = Σ theirs / Σ ours, over the texts of a sample (a ratio estimator)
    ± 1.96 · sqrt(n / (n - 1) · Σ (theirs - r · ours)²) / Σ ours, of n texts: 95 % of such samples have the ratio within

Prompts and completions have ratios of their own. Texts are counted as they are: what chat templates add around each
message is a few tokens on either side, and in neither count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

from gateway.cost.assumptions import TokenRatio

Count = Callable[[str], int]
"""Tokens of a text."""
FEWEST = 30
"""Texts, below which an interval would say more than is known: then there is none."""
Z = Fraction(196, 100)
SCALE = 10**9


@dataclass(frozen=True, slots=True)
class Sampled:
    """What a request asks and what is answered, as texts."""

    prompt: str
    completion: str


def recounted(sample: Sequence[Sampled], ours: Count, theirs: Count, tokenizer: str, named: str) -> TokenRatio | None:
    """The ratios of a sample; `None` where it has no token of ours. `named` says where the texts are from.

    A side without texts, as where there are prompts alone, has the other side's ratio.
    """
    prompts = [(ours(one.prompt), theirs(one.prompt)) for one in sample if one.prompt]
    completions = [(ours(one.completion), theirs(one.completion)) for one in sample if one.completion]
    of_prompts, of_completions = _ratio(prompts), _ratio(completions)
    prompt, completion = of_prompts or of_completions, of_completions or of_prompts
    if prompt is None or completion is None:
        return None
    return TokenRatio(
        prompt,
        completion,
        "measured",
        f"counted with its own tokenizer {tokenizer} on {len(sample):,} texts of {named}: {float(prompt):.3f} of its "
        f"tokens for one of ours in prompts, {float(completion):.3f} in completions",
        _interval(prompts, prompt),
        _interval(completions, completion),
    )


def _ratio(counts: Sequence[tuple[int, int]]) -> Fraction | None:
    ours = sum(one for one, _ in counts)
    return Fraction(sum(other for _, other in counts), ours) if ours else None


def _interval(counts: Sequence[tuple[int, int]], ratio: Fraction) -> tuple[Fraction, Fraction] | None:
    n = len(counts)
    if n < FEWEST:
        return None
    ours = sum(one for one, _ in counts)
    squares = sum((other - ratio * one) ** 2 for one, other in counts) * Fraction(n, n - 1)
    width = Z * Fraction(isqrt(int(squares * SCALE**2)), SCALE * ours)
    return max(Fraction(0), ratio - width), ratio + width
