"""One line of the usage journal: `CRC NUMBER TYPE NAME …`.

CRC is the CRC-32 of all that follows it, eight hexadecimal digits; NUMBER counts the lines of a segment from 0, so that
a line that is missing is named. By TYPE:

* `H WRITER JSON`, the header
* `K KIND JSON`, a kind of rows is declared: what they have in common (`gateway.journal.rows`)
* `I ATTEMPT KIND VALUES`, an attempt begins, and `S ATTEMPT KIND VALUES`, it has ended
* `C - JSON`, the closing record

What a scan needs is in front of the JSON, which then need not be parsed.
"""

from __future__ import annotations

from typing import NamedTuple
from zlib import crc32

HEADER, KIND, INTENT, SETTLE, CLOSE = b"H", b"K", b"I", b"S", b"C"
EVENTS = (INTENT, SETTLE)
CRC_DIGITS = 8


class Damaged(ValueError):
    """A line that is not what was written."""


class Record(NamedTuple):
    """A line that is whole."""

    number: int
    type: bytes
    name: bytes
    rest: bytes


def encode(number: int, type_: bytes, name: bytes, rest: bytes) -> bytes:
    """A line with its end. `name` has no spaces, `rest` no line breaks."""
    body = b"%d %b %b %b" % (number, type_, name, rest)
    return b"%08x %b\n" % (crc32(body), body)


def decode(line: bytes) -> Record:
    """A line without its end. Raises `Damaged`."""
    body = line[CRC_DIGITS + 1 :]
    if b"%08x" % crc32(body) != line[:CRC_DIGITS]:
        raise Damaged("its checksum does not match")
    try:
        number, type_, name, rest = body.split(b" ", 3)
        return Record(int(number), type_, name, rest)
    except ValueError:
        raise Damaged("it is no record of this journal") from None
