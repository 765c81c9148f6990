"""What kind of text an answer is: JSON, Markdown, code, or plain; and whether it seems to be cut off."""

from __future__ import annotations

import json
import re
from typing import Any, Literal

Kind = Literal["json", "code", "markdown", "plain", "tool call"]
MARKDOWN = re.compile(
    r"^(#{1,6} \S|[-*+] \S|\d+[.)] \S|> \S|\|.*\|)|\*\*[^*\n]{1,200}\*\*|`[^`\n]{1,200}`", re.MULTILINE
)
ENDINGS = tuple(".!?…:;)]}>\"'”’»`*|。！？」』）】｡؟۔।॥")
"""What a finished sentence or block ends with, in any script that is written with such marks."""
LONG_CHARACTERS = 40


def kind_of(text: str) -> Kind:
    """By its form alone."""
    stripped = text.strip()
    if stripped[:1] in ("{", "[") and json_value(stripped) is not None:
        return "json"
    if "```" in stripped:
        return "code"
    return "markdown" if MARKDOWN.search(stripped[:20_000]) else "plain"


def json_value(text: str) -> Any:
    """The value of a JSON text; None when it is none (or null)."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def is_long(text: str) -> bool:
    """Whether an answer is more than a label."""
    return len(text.strip()) >= LONG_CHARACTERS


def ends(text: str) -> bool:
    """Whether its last character is one that a finished text has."""
    return text.rstrip().endswith(ENDINGS)


def is_broken(text: str) -> bool:
    """Whether a block was begun and not ended: a code fence, or JSON."""
    stripped = text.strip()
    if stripped.count("```") % 2:
        return True
    begun = stripped[:1] == "{" or stripped[:2] in ("[{", '["', "[[")
    return begun and is_long(stripped) and json_value(stripped) is None and not stripped.endswith(("}", "]"))
