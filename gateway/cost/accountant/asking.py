"""The parent's end: who asks, whether a child is needed, and what becomes of its faults."""

from __future__ import annotations

import sys
from dataclasses import asdict
from threading import Lock
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import func, select

from gateway.errors import Overloaded
from registry.archive.reading import ArchiveUnreadable
from registry.children.asked import AskedChild, ChildGone
from registry.children.environment import environment_of
from registry.errors import InvalidInput, NotFound, RegistryError
from registry.ledger.rows import USAGE_DAYS
from registry.service import Registry

if TYPE_CHECKING:
    from gateway.cost.accountant.questions import Answer, Question

COMMAND = (sys.executable, "-m", "gateway.cost.accountant")
NICENESS = 10
WITHIN_S = 85.0
"""Longest wait for an answer, and before it for a turn; the dashboard waits for 90 s."""
FEW_SUMS = 2_000
"""Of usage by day, so many are added up in less time than a child takes to start, and in a few turns of the loop."""
FAULTS = {one.__name__: one for one in (InvalidInput, NotFound, ArchiveUnreadable)}
RETRY_AFTER_S = 2


class Accountant:
    """Of one process. It blocks: for a thread."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._one_at_a_time = Lock()
        self._child = AskedChild("the accountant", COMMAND, lambda: environment_of(registry), niceness=NICENESS)

    def ask(self, question: Question) -> Answer:
        """Raises what the question does, and `Overloaded` when there is no answer."""
        from gateway.cost.accountant.questions import Answer  # an idle gateway knows nothing of costs

        if self._are_few():
            return question.answer(self._registry)
        line = orjson.dumps((type(question).__name__, asdict(question))) + b"\n"
        if not self._one_at_a_time.acquire(timeout=WITHIN_S):
            raise Overloaded(
                f"Costs are added up for others, and it was not this question's turn within {WITHIN_S:g} s. Ask later.",
                code="accountant_busy",
                retry_after_s=RETRY_AFTER_S,
            )
        try:
            about, body = self._told(line)
        finally:
            self._one_at_a_time.release()
        fault = about.get("fault")
        if fault is None:
            return Answer(body, about["media_type"], about["following"])
        if "message" in about:
            raise FAULTS.get(fault, RegistryError)(about["message"], param=about["param"])
        raise Overloaded(
            "The registry's database cannot be used now; requests go on without it, and this does not.",
            code="registry_away",
            retry_after_s=RETRY_AFTER_S,
        )

    def close(self) -> None:
        """End the child, if one runs; no other is started."""
        self._child.close()

    def _are_few(self) -> bool:
        some = select(USAGE_DAYS.c.day).limit(FEW_SUMS + 1).subquery()
        with self._registry.db.read() as session:
            return session.execute(select(func.count()).select_from(some)).scalar_one() <= FEW_SUMS

    def _told(self, line: bytes) -> tuple[dict[str, Any], bytes]:
        """By the child that runs, or by another where that has ended by itself."""
        process = self._child.process
        if process is not None and process.poll() is not None:
            self._child.rest()
        try:
            about, body = self._child.ask_for_bytes(line, WITHIN_S)
        except ChildGone as gone:
            raise Overloaded(
                f"Costs could not be added up: {gone}. Try again, or ask for fewer days.",
                code="accountant_gone",
                retry_after_s=RETRY_AFTER_S,
            ) from gone
        return about, body
