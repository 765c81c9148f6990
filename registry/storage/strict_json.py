"""JSON from a stranger, read so that nothing in it can surprise what comes after.

Python's parser takes more than JSON: NaN, numbers of thousands of digits, `1e400` as infinity, a key twice, halves of
surrogate pairs that no UTF-8 can hold, and nesting that later breaks whoever walks or prints it. Engines and PEFT read
some of these otherwise, or end in a traceback. All of it is refused here, with a reason.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

MAX_DEPTH = 16
MAX_DIGITS = 19
"""What 64 bits hold; no length, offset, rank or token id is longer."""
BOM = b"\xef\xbb\xbf"


class NotStrictJson(ValueError):
    """The bytes are not JSON as every parser reads it; the message says what is wrong."""


class RepeatedKey(NotStrictJson):
    """A key occurs twice in one object. `key` is that one."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the key {key[:80]!r} twice")
        self.key = key


def strict_json(data: bytes, *, max_depth: int = MAX_DEPTH) -> Any:
    """The value in `data`, UTF-8 without a byte order mark. Raises `NotStrictJson` and nothing else.

    Objects and lists may lie `max_depth` deep. The caller bounds the length of `data`.
    """
    try:
        text = _decode(data)
        value = json.loads(
            text,
            object_pairs_hook=_unique_keys,
            parse_constant=_no_constant,
            parse_int=_whole_number,
            parse_float=_finite_number,
        )
        if "\\" in text:  # only an escape can make half a pair
            _require_encodable(value)
    except RecursionError:
        raise NotStrictJson("nested too deep") from None
    except NotStrictJson:
        raise
    except ValueError as error:
        raise NotStrictJson(f"no JSON: {error}") from None
    if _is_deeper(value, max_depth):
        raise NotStrictJson(f"nested more than {max_depth} deep")
    return value


def _decode(data: bytes) -> str:
    if data.startswith(BOM):
        raise NotStrictJson("a byte order mark before the JSON")
    if b"\0" in data[:4] or data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise NotStrictJson("text in UTF-16 or UTF-32, where JSON is UTF-8")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotStrictJson(f"no UTF-8 at byte {error.start}") from None


def _unique_keys(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for key, value in pairs:
        if key in document:
            raise RepeatedKey(key)
        document[key] = value
    return document


def _no_constant(name: str) -> float:
    raise NotStrictJson(f"{name}, which is no JSON")


def _whole_number(text: str) -> int:
    if len(text.removeprefix("-")) > MAX_DIGITS:
        raise NotStrictJson(f"a number of {len(text)} digits")
    return int(text)


def _finite_number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise NotStrictJson(f"the number {text[:40]}, which is beyond all that a float holds")
    return number


def _require_encodable(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise NotStrictJson("half of a surrogate pair, which no UTF-8 can hold") from None


def _is_deeper(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit + 1):
        level = [item for item in level if isinstance(item, dict | list)]
        if not level:
            return False
        level = [item for parent in level for item in (parent.values() if isinstance(parent, dict) else parent)]
    return True
