"""A file that is one JSON list of rows: read row by row, so that a fault has its place."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from trainer.data.faults import Fault
from trainer.data.lines import (
    EMPTY,
    MAX_FAULTS,
    MAX_LINE_BYTES,
    UTF8_BOM,
    Line,
    Lines,
    decoder,
    json_fault,
    row_or_fault,
)

MAX_ARRAY_BYTES = 512 * 2**20
"""A list is held in memory as a whole while it is read."""
LOOKED_AT_BYTES = 4_096
BLANK = re.compile(r"[ \t\r\n]*")
LENIENT = json.JSONDecoder()


def begins_a_list(stream: BinaryIO) -> bool:
    """Whether a file is one list, and not JSONL whose first line is one; the place in it does not move."""
    head = stream.read(LOOKED_AT_BYTES)
    stream.seek(0)
    text = head.removeprefix(UTF8_BOM).lstrip()
    return text.startswith(b"[") and text[1:].lstrip()[:1] in (b"{", b"]", b"")


def read_array(stream: BinaryIO) -> Lines:
    """The objects of the list, with a fault for everything else."""
    data = stream.read(MAX_ARRAY_BYTES + 1)
    digest = hashlib.sha256(data).hexdigest()
    if len(data) > MAX_ARRAY_BYTES:
        text = f"a list holds at most {MAX_ARRAY_BYTES >> 20} MiB; write JSONL, one JSON object per line"
        return Lines(digest, 1, (), (Fault(1, "file_too_large", text),))
    data = data.removeprefix(UTF8_BOM)
    try:
        found = list(_rows(data.decode("utf-8")))
    except UnicodeDecodeError as failed:
        number = data.count(b"\n", 0, failed.start) + 1
        return Lines(digest, 1, (), (Fault(number, "invalid_utf8", "not UTF-8 text; save the file as UTF-8"),))
    lines = [one for one in found if isinstance(one, Line)]
    shared = len({line.number for line in lines}) < len(lines)
    if shared:
        found = [_at(place, one) for place, one in enumerate(found, start=1)]
    faults = [one for one in found if isinstance(one, Fault)] if found else [EMPTY]
    return Lines(digest, len(found), tuple(one for one in found if isinstance(one, Line)), tuple(faults), shared)


def _rows(text: str) -> Iterator[Line | Fault]:
    at = _after_blanks(text, _after_blanks(text, 0) + 1)
    number, counted, faults = 1, 0, 0
    if text[at : at + 1] == "]":
        at += 1
    else:
        while faults < MAX_FAULTS:
            number, counted = number + text.count("\n", counted, at), at
            found, end = _row(text, at, number)
            faults += isinstance(found, Fault)
            yield found
            if end is None:
                return
            at = _after_blanks(text, end)
            if text[at : at + 1] != ",":
                break
            at = _after_blanks(text, at + 1)
        number += text.count("\n", counted, at)
        if text[at : at + 1] != "]":
            yield Fault(number, "bad_json", 'not JSON: the list goes on without a ","; correct it, or write JSONL')
            return
        at += 1
    if _after_blanks(text, at) < len(text):
        yield Fault(number, "bad_json", "not JSON: something stands behind the list; remove it, or write JSONL")


def _row(text: str, at: int, number: int) -> tuple[Line | Fault, int | None]:
    """What stands there, and where it ends; None when that cannot be told."""
    try:
        value, end = decoder.raw_decode(text, at)
    except json.JSONDecodeError as failed:
        return json_fault(failed.lineno, ValueError(failed.msg)), None
    except (ValueError, RecursionError) as failed:
        return json_fault(number, failed), _end(text, at)
    if end - at > MAX_LINE_BYTES:
        return Fault(number, "line_too_long", f"a row of {end - at} characters; {MAX_LINE_BYTES} is the most"), end
    return row_or_fault(number, value), end


def _end(text: str, at: int) -> int | None:
    try:
        return LENIENT.raw_decode(text, at)[1]
    except (ValueError, RecursionError):
        return None


def _at(place: int, one: Line | Fault) -> Line | Fault:
    return Line(place, one.row) if isinstance(one, Line) else Fault(place, one.code, one.message)


def _after_blanks(text: str, at: int) -> int:
    found: Any = BLANK.match(text, at)
    return int(found.end())
