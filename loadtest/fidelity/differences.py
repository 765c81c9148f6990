"""Two JSON documents, compared to the last field."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final


class _Absent:
    """The value of a field that is not there."""

    def __repr__(self) -> str:
        return "absent"


ABSENT: Final = _Absent()


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that is not the same."""

    path: str
    """As `choices[0].message.content`."""
    engine: Any
    """The engine's value, or `ABSENT`."""
    gateway: Any
    """The gateway's value, or `ABSENT`."""
    about: str = ""
    """What else people should know of it."""


def differences(engine: Any, gateway: Any, path: str = "") -> Iterator[Difference]:
    """Every field in which they differ, in the order of the engine's document. 1 and 1.0 differ, and so do 1 and true:
    clients with types read them as different things.
    """
    if isinstance(engine, dict) and isinstance(gateway, dict):
        for name in [*engine, *(name for name in gateway if name not in engine)]:
            inner = f"{path}.{name}" if path else name
            yield from differences(engine.get(name, ABSENT), gateway.get(name, ABSENT), inner)
    elif isinstance(engine, list) and isinstance(gateway, list):
        for index in range(max(len(engine), len(gateway))):
            one, other = (items[index] if index < len(items) else ABSENT for items in (engine, gateway))
            yield from differences(one, other, f"{path}[{index}]")
    elif type(engine) is not type(gateway) or engine != gateway:
        yield Difference(path, engine, gateway)
