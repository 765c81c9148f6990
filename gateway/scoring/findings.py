"""What is found in the text of an answer. Rules of thumb, the same for every arm. For the child: pure, imports nothing
of ours but what reads an answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from statistics import fmean

from gateway.scoring.answers import Choice

REFUSES_WITHIN = 160
"""Characters: a refusal stands at the beginning."""
REFUSAL = re.compile(
    r"\b(?:i(?:['’]m| am) (?:really |very |so )?(?:sorry|afraid)[,. ]+(?:but )?(?:i|that|this)\b.{0,40}?"
    r"\b(?:can['’]?t|cannot|can not|unable|not able|won['’]?t|not allowed)"
    r"|i (?:can['’]?t|cannot|can not|won['’]?t|am unable to|am not able to) "
    r"(?:help|assist|do that|comply|provide|answer|fulfil+|discuss|continue|create|generate|write|share|support)"
    r"|i(?:['’]m| am) (?:unable|not able|not allowed) to|i must (?:decline|refuse)"
    r"|as an ai(?: language model| assistant)?,? i (?:can['’]?t|cannot|am unable|am not able|do not|don['’]t)"
    r"|es tut mir leid, (?:aber )?(?:ich kann|dabei|das kann)|dabei kann ich (?:ihnen |dir )?nicht helfen"
    r"|je suis désolée?, (?:mais )?je ne (?:peux|suis)|lo siento, (?:pero )?no puedo"
    r"|mi dispiace, (?:ma )?non posso|desculpe, (?:mas )?não posso)",
    re.IGNORECASE | re.DOTALL,
)
GRAM, LEAST_WORDS, REPEATED = 4, 24, 0.5
"""An answer of so many words at least goes in circles when so large a share of its runs of four words was said before:
seq-rep-4 of S. Welleck et al., "Neural text generation with unlikelihood training", 2020, section 3.
"""
MOST_WORDS = 4_000
"""The last ones: who goes in circles does so to the end."""
_WORD = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]|[^\W_\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]+")
"""Of scripts without blanks each sign is one."""


def findings(choices: Sequence[Choice]) -> dict[str, float]:
    """Metric → the share of choices for which it holds. Raises `ValueError` where there is none."""
    if not choices:
        raise ValueError("an answer without a choice")
    return {
        "refusal": fmean(refuses(one) for one in choices),
        "empty": fmean(not one.text.strip() and not one.refusal and not one.calls_tools for one in choices),
        "repetition": fmean(goes_in_circles(one.text) for one in choices),
        "truncation": fmean(one.finish_reason == "length" for one in choices),
    }


def refuses(choice: Choice) -> bool:
    """Whether an answer declines."""
    return bool(choice.refusal) or REFUSAL.search(choice.text.lstrip()[:REFUSES_WITHIN]) is not None


def goes_in_circles(text: str) -> bool:
    """Whether most of an answer was said before in it."""
    words = _WORD.findall(text.casefold())[-MOST_WORDS:]
    if len(words) < LEAST_WORDS:
        return False
    runs = [tuple(words[at : at + GRAM]) for at in range(len(words) - GRAM + 1)]
    return 1 - len(set(runs)) / len(runs) > REPEATED
