"""The most tokens that a base's tokenizer makes of a text: what holds of budgets are measured with.

A tokenizer normalises a text, cuts it into pieces and makes tokens of each. A token stands for a byte or a character of
a piece at least, never for none of it; so there are no more tokens than the normalised text has of these, and what is
put around it. How much longer normalisation makes a text is measured when the base is registered, for every character
that there is (`registry.bases.tokenizer_steps`): `docs/decisions.md` has the whole argument.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

FORMAT = 1
DIGITS = 10_000
"""A factor is rounded up to so many parts of one."""
From = Literal["tokenizer", "unknown"]


@dataclass(frozen=True, slots=True)
class TokenBound:
    """What a text of some bytes in UTF-8 can become at most."""

    per_byte: float = 1.0
    """Tokens of each byte, at least 1."""
    composes: bool = True
    """Whether the text is composed first (NFC, NFKC), by which it gets `normalization.growth` more bytes at most."""
    per_text: int = 0
    """Tokens that are put around and between the parts of each text."""
    template_bytes: int = 0
    """Of the longest chat template: what it says by itself about tools and documents is no longer."""
    known_from: From = "tokenizer"

    def most(self, text_bytes: int, texts: int) -> int:
        """Of so many texts, which have so many bytes together: those by which composing makes them longer included."""
        return math.ceil(self.per_byte * text_bytes) + self.per_text * texts

    def to_json(self) -> dict[str, Any]:
        """A document for `json.dumps`; `from_json` reads it back."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any] | None) -> TokenBound | None:
        """What `to_json` wrote; `None` where nobody has measured, or another release has, by other rules."""
        if document is None or document.get("format") != FORMAT:
            return None
        return cls(**{name: value for name, value in document.items() if name != "format"})


UNKNOWN = TokenBound(per_byte=3.0, per_text=8, known_from="unknown")
"""Of a base whose tokenizer was never measured, or is of a kind that is not known. No normal form of Unicode makes more
bytes of a text than three times those that composing makes; a tokenizer with rules of its own might.
"""


def rounded_up(factor: float) -> float:
    """A factor of `TokenBound`."""
    return max(1.0, math.ceil(factor * DIGITS) / DIGITS)
