"""Measures a base's tokenizer: the most tokens that it makes of a text (`registry.bases.token_bound`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from itertools import chain
from typing import Any

from registry.bases.files import BaseFiles, read_json
from registry.bases.normal_form import chat_templates
from registry.bases.sentencepiece_model import read_model
from registry.bases.token_bound import UNKNOWN, TokenBound, rounded_up
from registry.bases.tokenizer_steps import Steps, UnknownStep, follow_charsmap, steps_of
from registry.errors import InvalidInput

CHARACTERS = (range(0xD800), range(0xE000, 0x30000))
"""All that steps change: beyond them nothing has another case, or is made of others."""
UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, IndexError)
ADDED_BY_SETTINGS = ("add_bos_token", "add_eos_token", "add_prefix_space")
SPACE = "\u2581"
"""What SentencePiece makes of a space."""
OF_TIKTOKEN = re.compile(rb"[A-Za-z0-9+/=]+ \d+\r?\n")
"""A line of its vocabularies."""
Weight = Callable[[str], int]
"""The most tokens that a text becomes which no step changes any more."""


def bound_of(files: BaseFiles) -> TokenBound:
    """Of a base's tokenizer; `UNKNOWN`'s figures for one of which it is not known what it does."""
    try:
        template_bytes = max((len(text.encode()) for text in chat_templates(files).values()), default=0)
        settings = read_json(files.text["tokenizer_config.json"]) if "tokenizer_config.json" in files.text else {}
        added = sum(bool(settings.get(name)) for name in ADDED_BY_SETTINGS)
        found = _measured(files)
    except (UnknownStep, InvalidInput, OSError, *UNREADABLE):
        return TokenBound(UNKNOWN.per_byte, UNKNOWN.composes, UNKNOWN.per_text, template_bytes, "unknown")
    return TokenBound(found.per_byte, found.composes, found.per_text + added, template_bytes)


def _measured(files: BaseFiles) -> TokenBound:
    text = files.text
    if "tokenizer.json" in text:
        return of_document(read_json(text["tokenizer.json"]))
    if "tekken.json" in text:  # bytes, as they are
        return TokenBound(composes=False, per_text=2)
    if "tokenizer.model" in text:
        return of_sentencepiece(text["tokenizer.model"].read_bytes())
    if "vocab.json" in text and "merges.txt" in text:  # GPT-2's, Qwen's: bytes, of which Qwen's are composed
        return TokenBound(per_text=2)
    raise UnknownStep("there is no tokenizer")


def of_document(document: Mapping[str, Any]) -> TokenBound:
    """Of a `tokenizer.json`. Raises `UnknownStep`, or one of `UNREADABLE` for what is none."""
    model = document["model"]
    kind = model.get("type", "BPE")
    if kind not in ("BPE", "Unigram", "WordPiece", "WordLevel"):
        raise UnknownStep(f"{kind!r} is no model of a tokenizer that is known here")
    steps = steps_of(document)
    vocabulary = {piece for piece, _ in model["vocab"]} if kind == "Unigram" else model["vocab"].keys()
    weight = _weight(vocabulary, in_bytes=steps.in_bytes, falls_back=bool(model.get("byte_fallback")))
    around = sum(weight(one) for one in steps.put_before)
    per_byte = _worst(steps, weight)
    lengths = [len(token["content"].encode()) for token in document.get("added_tokens") or () if token["content"]]
    if lengths and around:  # each begins another piece, before which all of that is put again
        per_byte = max(per_byte, per_byte * (1 + around) / min(lengths))
    return TokenBound(rounded_up(per_byte), steps.composes, around + _marks(document.get("post_processor")))


def of_sentencepiece(data: bytes) -> TokenBound:
    """Of a `tokenizer.model`, SentencePiece's or tiktoken's. Raises as `of_document`."""
    if OF_TIKTOKEN.match(data):
        return TokenBound(composes=False, per_text=2)
    model = read_model(data)
    steps = Steps()
    follow_charsmap(steps, model.charsmap)
    steps.rewrites.append(lambda char: SPACE if char == " " else char)
    weight = _weight(model.pieces, in_bytes=False, falls_back=model.byte_fallback)
    return TokenBound(rounded_up(_worst(steps, weight)), steps.composes, weight(SPACE) + 2)


def _weight(vocabulary: Collection[str], *, in_bytes: bool, falls_back: bool) -> Weight:
    if in_bytes:
        return lambda text: len(text.encode())
    if not falls_back:  # a character that it lacks is one unknown token
        return len
    return lambda text: sum(1 if char in vocabulary else len(char.encode()) for char in text)


def _worst(steps: Steps, weight: Weight) -> float:
    """Tokens of a byte at most."""
    if not steps.rewrites:
        return steps.factor
    worst = 1.0
    for char in map(chr, chain(*CHARACTERS)):
        worst = max(worst, weight(steps.rewrite(char)) / len(char.encode()))
    return worst * steps.factor


def _marks(step: Mapping[str, Any] | None) -> int:
    """Special tokens that are put around a text, or around and between two."""
    if step is None:
        return 0
    kind = step["type"]
    if kind == "Sequence":
        return sum(_marks(one) for one in step["processors"])
    if kind == "TemplateProcessing":
        special = step.get("special_tokens") or {}
        forms = (
            [one["SpecialToken"]["id"] for one in step[form] if "SpecialToken" in one] for form in ("single", "pair")
        )
        return max(sum(len(special.get(name, {}).get("ids", (0,))) for name in form) for form in forms)
    if kind in ("BertProcessing", "RobertaProcessing"):
        return 4
    if kind == "ByteLevel":
        return 0
    raise UnknownStep(f"{kind!r} is no step of a tokenizer that is known here")
