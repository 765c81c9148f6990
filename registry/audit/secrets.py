"""What is left out of the audit log, and how long what is in it may be."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "…"
"""Stands where a secret was."""
_SECRET_NAME = re.compile(
    r"secret|password|authorization|credential|(^|_)api_?key$|^((admin_|store_)?key|token|messages|prompt|content)$",
    re.IGNORECASE,
)
"""Prompts too, as an operator sends them from the playground: they may be a tenant's text."""
_KEY = re.compile(r"\b(sk|whsec)[-_][A-Za-z0-9_-]{8,}")
_USERINFO = re.compile(r"(?<=://)[^/@\s'\"]*@")
MOST_CHARS = 2_000
"""Of one text."""
MOST_DOCUMENT_CHARS = 16_000
"""Of one document, as JSON."""
MOST_DEPTH = 20


def clean(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document without secrets and long texts."""
    return {_text(str(name)): _hidden_or(str(name), value) for name, value in document.items()}


def told(document: Mapping[str, Any]) -> dict[str, Any]:
    """The same of one that others have made: where it is long as a whole, its size and digest stand for it."""
    cleaned = clean(document)
    written = json.dumps(cleaned)
    if len(written) <= MOST_DOCUMENT_CHARS:
        return cleaned
    return {"left_out": f"{len(written)} characters", "sha256": hashlib.sha256(written.encode()).hexdigest()}


def _hidden_or(name: str, value: Any, depth: int = 0) -> Any:
    """The value of a field of that name, unless it is a secret or a prompt by its name."""
    if value is not None and not isinstance(value, bool) and _SECRET_NAME.search(name):
        return HIDDEN
    if depth > MOST_DEPTH:
        return HIDDEN
    if isinstance(value, Mapping):
        return {_text(str(key)): _hidden_or(str(key), below, depth + 1) for key, below in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_hidden_or("", below, depth + 1) for below in value]
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return _text(str(value))


def _text(text: str) -> str:
    """Without keys and passwords, and as every database can store it."""
    text = text.replace("\0", "").encode("utf-8", "replace").decode()
    text = _USERINFO.sub(f"{HIDDEN}@", _KEY.sub(lambda found: f"{found[1]}-{HIDDEN}", text))
    if len(text) <= MOST_CHARS:
        return text
    return f"{text[:MOST_CHARS]}… ({len(text)} characters)"
