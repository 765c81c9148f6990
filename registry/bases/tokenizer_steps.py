"""What the steps of a tokenizer before its vocabulary do to the length of a text, step by step.

Every kind of step of the `tokenizers` library is here; one that is not makes the tokenizer unknown. Most steps rewrite
a text character by character, so that no text grows by more than the worst of all characters does. Composing (NFC,
NFKC) does not: as the first step it is left to `normalization.growth`, later decomposing stands in for it, which never
gives less.
"""

from __future__ import annotations

import base64
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from registry.bases.charsmap import rules_of
from registry.bases.normalization import growth

Rewrite = Callable[[str], str]
"""Of one character."""
DECOMPOSED: Mapping[str, Literal["NFD", "NFKD"]] = {"NFC": "NFD", "NFD": "NFD", "NFKC": "NFKD", "NFKD": "NFKD"}
CUT = frozenset(
    {
        *("Whitespace", "WhitespaceSplit", "Split", "Punctuation", "Digits", "BertPreTokenizer", "UnicodeScripts"),
        *("CharDelimiterSplit", "FixedLength"),
    }
)
"""Steps that cut a text into pieces of a character at least, and add nothing."""
SHORTEN = frozenset({"Strip", "StripAccents", "Nmt"})
REPEATED = re.compile(
    r"(?:\[\^?[^\[\]]+\]|\\[sSdDwWpPnrt](?:\{\^?\w+\})?|\\?[^\\()|^$*+?{}\[\]])(?:\+|\{[1-9]\d*(?:,\d*)?\})?"
)
"""A pattern of which every match has a character at least."""


class UnknownStep(Exception):
    """A tokenizer with a step that is none of these: nothing is known of the lengths that it makes."""


@dataclass(slots=True)
class Steps:
    """What all steps of one tokenizer do."""

    composes: bool = False
    """Whether the first step composes; the others work on what that makes."""
    rewrites: list[Rewrite] = field(default_factory=list)
    """Of each character, one after the other."""
    factor: float = 1.0
    """By which other steps make a text longer at most, in bytes."""
    in_bytes: bool = False
    """Whether the vocabulary's characters stand for bytes."""
    put_before: list[str] = field(default_factory=list)
    """Before each text between special tokens."""
    cut: bool = False
    """Whether a text is in pieces by now."""

    def rewrite(self, char: str) -> str:
        """What becomes of one character."""
        for rewrite in self.rewrites:
            char = "".join(map(rewrite, char)) if len(char) > 1 else rewrite(char)
        return char

    @property
    def untouched(self) -> bool:
        """Whether no step so far changes a text."""
        return not (self.composes or self.rewrites or self.factor > 1)


def steps_of(document: Mapping[str, Any]) -> Steps:
    """Of a `tokenizer.json`. Raises `UnknownStep`, and `KeyError`, `TypeError` or `ValueError` for what is none."""
    steps = Steps()
    for step in (*_flat(document.get("normalizer")), *_flat(document.get("pre_tokenizer"))):
        add_step(steps, step)
    return steps


def add_step(steps: Steps, step: Mapping[str, Any]) -> None:
    """Raises as `steps_of`."""
    kind = step["type"]
    if kind in CUT:
        steps.cut = True
    elif kind in SHORTEN:
        return
    elif kind in DECOMPOSED:
        _normalise(steps, kind)
    elif kind == "Precompiled":
        _follow_rules(steps, base64.b64decode(step["precompiled_charsmap"] or ""))
    elif kind == "Lowercase":
        steps.rewrites.append(str.lower)
    elif kind == "BertNormalizer":
        _as_bert(steps, step)
    elif kind == "Prepend":
        steps.put_before.append(step["prepend"])
    elif kind == "Replace":
        _replace(steps, step["pattern"], step["content"])
    elif kind == "Metaspace":
        steps.rewrites.append(_replacing(" ", step["replacement"]))
        if step.get("prepend_scheme", "always") != "never" and step.get("add_prefix_space", True):
            _put_before(steps, step["replacement"])
        steps.cut = True
    elif kind == "ByteLevel":
        steps.in_bytes = True
        if step.get("add_prefix_space"):
            _put_before(steps, " ")
        steps.cut = True
    else:
        raise UnknownStep(f"{kind!r} is no step of a tokenizer that is known here")


def follow_charsmap(steps: Steps, charsmap: bytes) -> None:
    """A step with SentencePiece's own rules. Raises `ValueError` for what is no charsmap."""
    _follow_rules(steps, charsmap)


def _flat(step: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    if step is None:
        return []
    if step["type"] == "Sequence":
        parts = step.get("normalizers", step.get("pretokenizers"))
        return [one for part in parts or () for one in _flat(part)]
    return [step]


def _put_before(steps: Steps, text: str) -> None:
    if steps.cut:  # then before each piece
        steps.factor *= 1 + len(text.encode())
    else:
        steps.put_before.append(text)


def _normalise(steps: Steps, form: str) -> None:
    if form in ("NFC", "NFKC") and steps.untouched:
        steps.composes = True
        return
    decomposed = DECOMPOSED[form]
    steps.rewrites.append(lambda char: unicodedata.normalize(decomposed, char))


def _follow_rules(steps: Steps, charsmap: bytes) -> None:
    """A rule replaces a text that begins with its own, all of it: none grows by more than the worst rule."""
    first = steps.untouched
    worst = 1.0
    for text, becomes in rules_of(charsmap):
        if len(becomes) > len(text):
            more = growth([text.decode()]) if first else 0
            worst = max(worst, len(becomes) / (len(text) + more))
    steps.composes = steps.composes or (first and bool(charsmap))
    steps.factor *= worst


def _as_bert(steps: Steps, step: Mapping[str, Any]) -> None:
    """Accents go where they are told to, or by default with upper case. Spaces around ideographs become no tokens."""
    lower = step.get("lowercase", True)
    strips = step.get("strip_accents")
    if strips or (strips is None and lower):
        steps.rewrites.append(_without_accents)
    if lower:
        steps.rewrites.append(str.lower)


def _without_accents(char: str) -> str:
    return "".join(one for one in unicodedata.normalize("NFD", char) if unicodedata.category(one) != "Mn")


def _replace(steps: Steps, pattern: Mapping[str, str], content: str) -> None:
    added = len(content.encode())
    if (text := pattern.get("String")) is not None:
        if len(text) == 1:
            steps.rewrites.append(_replacing(text, content))
        elif text:
            steps.factor *= max(1.0, added / len(text.encode()))
        else:
            raise UnknownStep("a Replace of nothing")
    elif REPEATED.fullmatch(pattern["Regex"]):
        steps.factor *= max(1.0, added)
    else:  # it may match between any two bytes
        steps.factor *= 1.0 + added
        steps.put_before.append(content)


def _replacing(text: str, content: str) -> Rewrite:
    return lambda char: content if char == text else char
