"""What is needed of SentencePiece's own file: pieces, rules, and whether it knows every byte. (A protocol buffer.)"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
PIECES, TRAINER, NORMALIZER = 1, 2, 3
PIECE_TEXT, BYTE_FALLBACK, CHARSMAP = 1, 35, 2


class SentencePieceModel(NamedTuple):
    """Of one file."""

    pieces: frozenset[str]
    charsmap: bytes
    byte_fallback: bool


def read_model(data: bytes) -> SentencePieceModel:
    """Raises `ValueError` for what is none."""
    pieces: set[str] = set()
    charsmap, byte_fallback = b"", False
    for number, value in _fields(data):
        if number == PIECES:
            pieces |= {_part(text).decode() for field, text in _fields(_part(value)) if field == PIECE_TEXT}
        elif number == TRAINER:
            byte_fallback = any(field == BYTE_FALLBACK and said for field, said in _fields(_part(value)))
        elif number == NORMALIZER:
            charsmap = next((_part(rules) for field, rules in _fields(_part(value)) if field == CHARSMAP), b"")
    if not pieces:
        raise ValueError("there are no pieces in it")
    return SentencePieceModel(frozenset(pieces), charsmap, byte_fallback)


def _part(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number stands where a message should be")
    return value


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        length, at = _varint(data, at) if kind == BYTES else ({FIXED64: 8, FIXED32: 4}.get(kind, -1), at)
        if length < 0 or at + length > len(data):
            raise ValueError("it is no protocol buffer")
        yield number, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("it is no protocol buffer")
