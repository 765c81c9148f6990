"""All shapes, asked and compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from loadtest.fidelity.differences import Difference, differences
from loadtest.fidelity.exchanges import Target, ask
from loadtest.fidelity.rules import explanation
from loadtest.fidelity.shapes.shape import Shape

SHOWN_CHARS = 300
"""Of a value, in a line for people."""


@dataclass(frozen=True, slots=True)
class Explained:
    """A difference, and why it is right."""

    shape: str
    difference: Difference
    reason: str


@dataclass(slots=True)
class Result:
    """What came of a comparison."""

    shapes: int = 0
    unexplained: list[tuple[str, Difference]] = field(default_factory=list)
    explained: list[Explained] = field(default_factory=list)

    def with_more(self, other: Result) -> Result:
        """Both in one."""
        explained = [*self.explained, *other.explained]
        return Result(self.shapes + other.shapes, [*self.unexplained, *other.unexplained], explained)

    def lines(self, *, explained: bool = False) -> Iterator[str]:
        """For people: every difference without a reason, and those with one if they are wanted."""
        for shape, difference in self.unexplained:
            yield f"DIFFERS  {shape}: {_shown(difference)}"
        for one in self.explained if explained else ():
            yield f"explained {one.shape}: {_shown(one.difference)} ({one.reason})"

    def document(self) -> dict[str, Any]:
        """The figures."""
        return {"shapes": self.shapes, "differences": len(self.unexplained), "explained": len(self.explained)}

    def reasons(self) -> dict[str, int]:
        """How many differences each reason explains."""
        return dict(Counter(one.reason for one in self.explained).most_common())


def _shown(difference: Difference) -> str:
    engine, gateway = (repr(value)[:SHOWN_CHARS] for value in (difference.engine, difference.gateway))
    return f"{difference.path}: engine {engine}, gateway {gateway} {difference.about[: 2 * SHOWN_CHARS]}".rstrip()


def context_of(engine: Target) -> int:
    """Tokens of the engine's context, as it says itself. Raises `httpx.HTTPError`, ValueError."""
    headers = {"Authorization": f"Bearer {engine.key}"} if engine.key else {}
    cards = httpx.get(f"{engine.url}/v1/models", headers=headers, timeout=30).raise_for_status().json()["data"]
    told = [card["max_model_len"] for card in cards if card.get("max_model_len")]
    if not told:
        raise ValueError(f"no model of {engine.url}/v1/models says its max_model_len")
    return int(max(told))


def _compared(engine: dict[str, Any], gateway: dict[str, Any]) -> Iterator[Difference]:
    """Where one refuses and the other serves, that alone is the difference."""
    if engine["status"] == gateway["status"]:
        yield from differences(engine, gateway)
    else:
        yield Difference("status", engine["status"], gateway["status"], f"{engine['answer']} / {gateway['answer']}")


def compare(engine: Target, gateway: Target, shapes: Sequence[Shape]) -> Result:
    """Ask both, one after the other, for each shape. Raises `httpx.HTTPError` when one cannot be asked."""
    result = Result(len(shapes))
    with httpx.Client() as http:
        for shape in shapes:
            direct = ask(http, engine, shape.engine_path or shape.path, shape.body, shape.headers)
            through = ask(http, gateway, shape.path, shape.body, shape.headers)
            for difference in _compared(direct, through):
                reason = explanation(difference, shape.differs)
                if reason is None:
                    result.unexplained.append((shape.name, difference))
                else:
                    result.explained.append(Explained(shape.name, difference, reason))
    return result
