"""How much longer a tokenizer's Unicode normalisation can make a text, before it cuts it into tokens.

Many bases compose what they read (NFC: Qwen, OLMo), some rewrite it (NFKC: what SentencePiece made); then a tokenizer
that works on bytes works on other bytes than were sent. A few hundred characters become longer by themselves; any
composed character can when a combining mark follows that takes its base away.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache

AFTER_MARK = 5
"""Bytes: the most that a composed character loses to one mark, as ᾂ does (three bytes, of parts eight)."""
PIECE = 16_384
"""Characters that are looked at in one go, in 3 ms at most: between pieces other threads may have the interpreter."""
CHARACTERS = range(0x80, 0x30000)
"""Beyond them nothing decomposes or combines."""


def normal_bytes(text: str) -> int:
    """The most bytes that a text has in UTF-8, composed or not."""
    return len(text.encode()) + growth((text,))


def growth(texts: Iterable[str]) -> int:
    """The most bytes that any composing normalisation adds to the texts, in UTF-8."""
    total = 0
    for text in texts:
        if not text.isascii():
            more, found = _table()
            for start in range(0, len(text), PIECE):
                total += sum(more.get(char, 0) for char in found.findall(text, start, start + PIECE))
    return total


@cache
def _table() -> tuple[dict[str, int], re.Pattern[str]]:
    """Bytes that each growing character adds; and what finds them, and all between those beyond the basic plane, for
    which `re` would look one by one. Most emoji lie behind these.
    """
    more = {char: by for char in map(chr, CHARACTERS) if (by := _grows(char))}
    basic = "".join(char for char in more if char <= "\uffff")
    beyond = [char for char in more if char > "\uffff"]
    return more, re.compile(f"[{re.escape(basic)}{beyond[0]}-{beyond[-1]}]")


def _grows(char: str) -> int:
    if unicodedata.combining(char):
        return AFTER_MARK + _longer(char)
    if not unicodedata.decomposition(char):
        return 0
    becomes_mark = unicodedata.combining(unicodedata.normalize("NFKD", char)[0])
    return _longer(char) + (AFTER_MARK if becomes_mark else 0)


def _longer(char: str) -> int:
    forms = (unicodedata.normalize("NFC", char), unicodedata.normalize("NFKC", char))
    return max(0, max(len(form.encode()) for form in forms) - len(char.encode()))
