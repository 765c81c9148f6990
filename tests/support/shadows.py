"""Shadows of acme/triage: 1.0 answers, 1.1 gets copies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from registry.names import parse_ref
from registry.shadows.pair_store import PairInfo
from registry.shadows.store import ShadowInfo
from registry.shadows.terms import Terms
from tests.support.stack import CHAT, MESSAGES, Stack
from tests.support.waiting import wait_until

HOUR_MS = 3_600_000
CONTROL, CANDIDATE = "acme/triage@1.0", "acme/triage@1.1"


@contextmanager
def shadow(stack: Stack, *, share: int = 10_000, resident: bool = True, **terms: Any) -> Iterator[ShadowInfo]:
    """Copies of acme/triage go to 1.1, which the engine holds."""
    shadows = stack.house.registry.shadows
    begun = shadows.begin(parse_ref(CANDIDATE), Terms(share, HOUR_MS, **terms), actor="test")
    stack.wait_revision()
    if resident:
        stack.wait_resident(CANDIDATE)
    try:
        yield begun
    finally:
        shadows.end(begun.id, why="the test is over")
        stack.wait_revision()


def told(stack: Stack, shadow: ShadowInfo) -> ShadowInfo:
    return stack.house.registry.shadows.get(shadow.id)


def pairs(stack: Stack, shadow: ShadowInfo, count: int) -> list[PairInfo]:
    """The pairs and orphans that were stored, when there are so many."""
    store = stack.house.registry.pairs

    def enough() -> list[PairInfo] | None:
        found = store.page(shadow.id, None, 1_000, with_content=True)
        return found if len(found) >= count else None

    return wait_until(f"{count} pairs", enough)


def counted(stack: Stack, shadow: ShadowInfo, count: int) -> dict[str, int]:
    def enough() -> dict[str, int] | None:
        counts = dict(told(stack, shadow).counts)
        return counts if sum(counts.values()) >= count else None

    return wait_until(f"{count} requests to be counted", enough)


@contextmanager
def stream(stack: Stack, model: str = CONTROL) -> Iterator[Iterator[bytes]]:
    """A long answer that is not read yet."""
    body = {"model": model, "messages": MESSAGES, "max_tokens": 900, "min_tokens": 900, "stream": True}
    head = {"Authorization": f"Bearer {stack.house.keys['acme']}"}
    with httpx.stream("POST", f"{stack.url}{CHAT}", json=body, headers=head, timeout=30) as answer:
        yield answer.iter_bytes()


@contextmanager
def running_copy(stack: Stack) -> Iterator[None]:
    """A request and its copy run, until the block ends; then the request comes to its end."""
    house = stack.gateway.house
    assert house is not None
    stack.faults(token_ms=20)
    with stream(stack, "acme/triage") as parts:
        next(parts)
        wait_until("the copy to run", lambda: house.fleet.in_flight.copies)
        wait_until("it to be reported", lambda: [link for link in stack.controller.hub.links.values() if link.copies])
        yield
        stack.faults(token_ms=0)
        assert b"".join(parts).endswith(b"data: [DONE]\n\n")
