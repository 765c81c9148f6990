"""Processes that share limits, with a ledger of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from gateway.errors import QuotaExceeded, RateLimited
from gateway.handoffs import Arm, Principal, Usage
from gateway.limits.borrower import Borrower
from gateway.limits.holds import Reservation
from gateway.limits.lending import Lender
from gateway.limits.limits import Bill, Entry, Limits
from registry.catalog.snapshot import EMPTY, Catalog, LimitEntry, TariffEntry
from registry.db import now_ms
from registry.limits.spending import Parts, Spent

SCOPE = "tenant:acme"
PRINCIPAL = Principal("acme", "k-1", frozenset(), allow_unknown_fields=False)
ARM = Arm("tiny", "sha256:1")
PRICE = TariffEntry(0, 1_000_000, 1_000_000, 1_000_000)
"""A nano-dollar for each token."""


@dataclass
class Ledger:
    """A ledger of one scope: when, by whom, and how many tokens, at a nano-dollar each."""

    attempts: list[tuple[int, str, int]] = field(default_factory=list)
    dead: frozenset[str] = frozenset()

    def window(self, since_ms: int, until_ms: int, but: str = "") -> Parts:
        parts: dict[str, Spent] = {}
        for at_ms, who, tokens in self.attempts:
            if since_ms <= at_ms < until_ms and who != but:
                parts[who] = parts.get(who, Spent()) + Spent(tokens, tokens)
        return {SCOPE: parts}

    def ended(self) -> frozenset[str]:
        return self.dead

    def spent(self) -> int:
        return sum(tokens for _, _, tokens in self.attempts)


def catalog(**most: int) -> Catalog:
    entry = LimitEntry(None, None, None, None, None, None, None)
    return replace(
        EMPTY,
        limits=MappingProxyType({SCOPE: replace(entry, **most)}),
        tariffs=MappingProxyType({SCOPE: (PRICE,)}),
    )


@dataclass
class Request:
    """One that has come in and has its bill."""

    entry: Entry
    bill: Bill

    def __enter__(self) -> Bill:
        return self.bill.__enter__()

    def __exit__(self, *reason: Any) -> None:
        self.bill.__exit__(*reason)
        self.entry.__exit__(*reason)


@dataclass
class Process:
    """One of those that share."""

    name: str
    ledger: Ledger
    limits: Limits
    catalog: Catalog
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    borrowing: asyncio.Task[None] | None = None

    async def open(self, tokens: int) -> Request:
        entry = await self.limits.enter(self.catalog, PRINCIPAL)
        standing = self.limits.standing(self.catalog, PRINCIPAL, ARM)
        try:
            return Request(entry, await self.limits.open(standing, Reservation(tokens, tokens, tokens)))
        except BaseException:
            entry.__exit__(None, None, None)
            raise

    async def spend(self, tokens: int) -> None:
        with await self.open(tokens) as bill:
            at_ms = now_ms()
            await asyncio.sleep(0)
            bill.charge(Usage(tokens, 0, 0, "engine"), "ok", at_ms)
        self.ledger.attempts.append((at_ms, self.name, tokens))

    async def spend_all(self, tokens: int = 10) -> int:
        """Requests of so many tokens until one is refused; what they have used."""
        used = 0
        while True:
            try:
                await self.spend(tokens)
            except (QuotaExceeded, RateLimited):
                return used
            used += tokens

    async def die(self) -> None:
        """As with kill -9: nothing is given back."""
        if isinstance(self.limits.source, Borrower) and self.borrowing is not None:
            self.limits.source.stop()
            await self.borrowing
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


@asynccontextmanager
async def process(
    name: str, lender: Lender | None, ledger: Ledger, limits: Catalog, *, fails_open: bool = False
) -> AsyncIterator[Process]:
    made = Limits(ledger, name, shared=lender is not None, fails_open=fails_open)
    made.adopt(limits)
    made.books.read()
    running = Process(name, ledger, made, limits)
    if lender is not None:
        borrower = Borrower(lender, name, made.counters, fails_open=fails_open)
        made.source = borrower
        running.borrowing = asyncio.create_task(borrower.run())
    running.tasks.append(asyncio.create_task(made.books.run()))
    try:
        yield running
    finally:
        await running.die()
