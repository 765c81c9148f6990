"""One line of the usage journal: `CRC NUMBER KIND NAME JSON`.

CRC is the CRC-32 of all that follows it, eight hexadecimal digits; NUMBER counts the lines of a segment from 0, so that
a line that is missing is named; NAME is the attempt's id, or the segment's writer. What a scan needs is in front of the
JSON, which then need not be parsed.
"""

from __future__ import annotations

from typing import NamedTuple
from zlib import crc32

HEADER, INTENT, SETTLE, CLOSE = b"H", b"I", b"S", b"C"
EVENTS = (INTENT, SETTLE)
CRC_DIGITS = 8


class Damaged(ValueError):
    """A line that is not what was written."""


class Record(NamedTuple):
    """A line that is whole."""

    number: int
    kind: bytes
    name: bytes
    payload: bytes
    """JSON: the usage row of an intent or a settle record."""


def encode(number: int, kind: bytes, name: bytes, payload: bytes) -> bytes:
    """A line with its end. `name` has no spaces, `payload` no line breaks."""
    body = b"%d %b %b %b" % (number, kind, name, payload)
    return b"%08x %b\n" % (crc32(body), body)


def decode(line: bytes) -> Record:
    """A line without its end. Raises `Damaged`."""
    body = line[CRC_DIGITS + 1 :]
    if b"%08x" % crc32(body) != line[:CRC_DIGITS]:
        raise Damaged("its checksum does not match")
    try:
        number, kind, name, payload = body.split(b" ", 3)
        return Record(int(number), kind, name, payload)
    except ValueError:
        raise Damaged("it is no record of this journal") from None
