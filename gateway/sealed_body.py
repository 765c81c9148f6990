"""A checked body of which the long fields are JSON again: the bytes that engines get, and far less than objects take.

A request waits for its engine for minutes, with whatever it holds; what is read of it meanwhile are its short fields.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

import orjson

from gateway.keeping import Item

SEALED_FROM = 8_192
"""Bytes of a body from which on it is sealed."""
LONG_FIELD = 1_024
"""Bytes of a field from which on it is."""


class SealedBody(Mapping[str, Any]):
    """Reads as the body that it was made of; a field that is sealed is parsed each time."""

    __slots__ = ("_long", "_short")

    def __init__(self, short: dict[str, Any], long: dict[str, bytes]) -> None:
        self._short = short
        self._long = long

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> SealedBody:
        """The body, sealed; of one that is sealed, the fields that are not."""
        short: dict[str, Any] = {}
        long: dict[str, bytes] = {}
        if isinstance(body, SealedBody):
            long |= body._long
            body = body.short
        for name, value in body.items():
            if isinstance(value, str | list | dict) and value:
                written = orjson.dumps(value)
                if len(written) >= LONG_FIELD:
                    long[name] = written
                    continue
            short[name] = value
        return cls(short, long)

    @property
    def short(self) -> dict[str, Any]:
        """The fields that are not sealed."""
        return self._short

    def written(self, name: str) -> bytes:
        """A field as JSON. Raises `KeyError`."""
        return self._long[name] if name in self._long else orjson.dumps(self._short[name])

    def held_bytes(self) -> int:
        """How much is sealed."""
        return sum(map(len, self._long.values()))

    def without(self, names: Set[str]) -> SealedBody:
        """The same without these fields."""
        return SealedBody(
            {name: value for name, value in self._short.items() if name not in names},
            {name: value for name, value in self._long.items() if name not in names},
        )

    def with_fields(self, fields: Mapping[str, Any]) -> SealedBody:
        """The same with these fields, which are not sealed."""
        rest = self.without(fields.keys())
        return SealedBody({**rest._short, **fields}, rest._long)

    def pieces(self, short: Mapping[str, Any]) -> tuple[bytes, ...]:
        """The JSON of these fields, which are one at least, and of those that are sealed: in pieces, so that nothing
        is copied.
        """
        found = [orjson.dumps(short)[:-1]]
        for name, value in self._long.items():
            found += (b",%b:" % orjson.dumps(name), value)
        return (*found, b"}")

    def __getitem__(self, name: str) -> Any:
        return orjson.loads(self._long[name]) if name in self._long else self._short[name]

    def __contains__(self, name: object) -> bool:
        return name in self._short or name in self._long

    def __iter__(self) -> Iterator[str]:
        yield from self._short
        yield from self._long

    def __len__(self) -> int:
        return len(self._short) + len(self._long)


class SealedItems(Sequence[Item]):
    """Items that are kept as JSON, and parsed each time they are looked at."""

    __slots__ = ("_count", "_written")

    def __init__(self, items: Sequence[Item]) -> None:
        self._count = len(items)
        self._written = orjson.dumps([*items])

    def held_bytes(self) -> int:
        """How long they are."""
        return len(self._written)

    def __getitem__(self, at: Any) -> Any:
        return orjson.loads(self._written)[at]

    def __iter__(self) -> Iterator[Item]:
        yield from orjson.loads(self._written)

    def __len__(self) -> int:
        return self._count
