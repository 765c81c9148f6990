"""How much JSON is in some bytes, counted before any of it is made.

A megabyte of `[],[],…` is half a million lists, which take a hundred times as long to make and to walk as a megabyte of
text. To count them takes a few milliseconds, and happens only where there may be too many.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from gateway.errors import BadRequest


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most of each that one piece of JSON may have."""

    containers: int
    """Objects and lists."""
    pairs: int
    """Keys of objects with their values."""
    strings: int
    """Keys, and values that are text."""
    values: int
    """Items of lists and pairs, as many as there are commas."""

    def refuse_more(self, raw: bytes, param: str | None = None) -> None:
        """Raises `BadRequest` when there is too much in `raw`; of what is no JSON it may say so or not."""
        if len(raw) <= self.containers:
            return
        found = self._excess(raw)  # what stands in strings counts here: most bodies are done
        if found is None:
            return
        bare = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
        found = self._too_many_strings(bare) or self._excess(b"".join(bare.split(b'"')[::2]))
        if found is not None:
            what, count, most = found
            where = "The body" if param is None else f"'{param}'"
            raise BadRequest(
                f"{where} has {count} {what}; the most is {most}. Send less structure: text may be as long as it likes "
                "within the body's limit.",
                param=param,
                code="invalid_value",
            )

    def _too_many_strings(self, raw: bytes) -> tuple[str, int, int] | None:
        strings = raw.count(b'"') // 2
        return ("strings", strings, self.strings) if strings > self.strings else None

    def _excess(self, raw: bytes) -> tuple[str, int, int] | None:
        for what, count, most in (
            ("objects and lists", raw.count(b"{") + raw.count(b"["), self.containers),
            ("pairs of key and value", raw.count(b":"), self.pairs),
            ("values", raw.count(b","), self.values),
        ):
            if count > most:
                return what, count, most
        return self._too_many_strings(raw)


BODY = Bounds(containers=32_768, pairs=65_536, strings=131_072, values=524_288)
"""Of a whole body. 100 tools of 100 properties are 20,000 objects, a prompt of token ids has up to 500,000."""
RECORD = Bounds(containers=8_192, pairs=16_384, strings=32_768, values=65_536)
"""Of a body that no model reads: feedback, items of a conversation, an order of training."""
WITHIN = Bounds(containers=4_096, pairs=8_192, strings=16_384, values=16_384)
"""Of JSON in a string of a body."""


def loads_within(text: str, param: str) -> Any:
    """The JSON in a string of a body. Raises `BadRequest` when it is too much, `orjson.JSONDecodeError`."""
    raw = text.encode()
    WITHIN.refuse_more(raw, param)
    return orjson.loads(raw)
