"""What a model is asked for, and how its answer is read."""

from __future__ import annotations

import json
import re
from typing import Any

SYSTEM = (
    "You write examples from which another language model is trained. What you write must be true, complete and "
    "useful by itself. You answer with JSON alone."
)
MAX_AVOIDED = 20
MAX_AVOIDED_CHARACTERS = 200
FENCE = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL)


def samples_schema(*keys: str) -> dict[str, Any]:
    """JSON schema of `{"samples": [{key: text, …}, …]}`."""
    one = {
        "type": "object",
        "properties": {key: {"type": "string"} for key in keys},
        "required": list(keys),
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"samples": {"type": "array", "items": one}},
        "required": ["samples"],
        "additionalProperties": False,
    }


GENERATED = samples_schema("instruction", "output")
PARAPHRASED = samples_schema("text")


def generation_prompt(topic: str, count: int, guidelines: str, avoided: list[str]) -> str:
    """Ask for new rows on a topic; `avoided` are questions that are there already."""
    parts = [
        f"Topic: {topic}",
        f"Write {count} examples. Each has an instruction, as a person who works with this would ask it, and the "
        "output, the answer that it should get.",
        "Spread them evenly over easy, middling and hard questions, and over different situations, lengths and ways of "
        "asking. Where code belongs in an answer, it is complete and would run.",
    ]
    if guidelines:
        parts.append(f"Guidelines for every output:\n{guidelines}")
    if avoided:
        listed = "\n".join(f"- {one[:MAX_AVOIDED_CHARACTERS]}" for one in avoided[-MAX_AVOIDED:])
        parts.append(f"These are there already; ask for something else:\n{listed}")
    parts.append('Answer with one JSON object: {"samples": [{"instruction": "…", "output": "…"}, …]}')
    return "\n\n".join(parts)


def paraphrase_prompt(question: str, count: int) -> str:
    """Ask for other ways to ask the same."""
    return (
        f"Below is a question that has an answer already. Write {count} other ways to ask for the very same, as "
        "different people would: the answer to it must stay right word for word, so keep every name, number and "
        'condition, and the language. Answer with one JSON object: {"samples": [{"text": "…"}, …]}\n\n'
        f"The question:\n{question}"
    )


def samples_of(text: str) -> list[dict[str, Any]] | None:
    """The samples of an answer, in whatever it wrapped them; None when there is no JSON that could be some."""
    fenced = FENCE.search(text)
    for candidate in (text, fenced[1] if fenced else "", _from_first_bracket(text)):
        try:
            value = json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        found = value.get("samples") if isinstance(value, dict) else value
        if isinstance(found, list):
            return [one for one in found if isinstance(one, dict)]
    return None


def _from_first_bracket(text: str) -> str:
    starts = [at for at in (text.find("{"), text.find("[")) if at >= 0]
    if not starts:
        return ""
    try:
        _, end = json.JSONDecoder().raw_decode(text, min(starts))
    except (ValueError, RecursionError):
        return ""
    return text[min(starts) : end]
