"""Limits that time does not refill: budgets of a window, and places for requests that run.

A process that is alone may use the whole limit. One of several may use what it was lent: its part is `allowed`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from gateway.limits.lending import ADVANCE, REFUSED_S, CapGrant, CapWish, Known
from gateway.limits.windows import KEPT_S, Window
from registry.ledger.usage_days import CORRECTIONS
from registry.limits.spending import Spent

NOBODYS = (CORRECTIONS, "")
"""Writers in the ledger that are no process."""


class Counted(Protocol):
    """The scope that a cap is of, and what is counted there (`gateway.limits.counters.Counter`)."""

    scope: str
    in_flight: int
    held_nano: int
    held_tokens: int
    contended: bool
    ended_writers: frozenset[str]

    def caps(self) -> Sequence[Cap]:
        """All of the scope's caps."""

    def measure(self) -> None:
        """A cap, or what is spent of it, has changed."""


class Cap:
    """A limit that time does not refill: a budget of a window, or places for requests that run.

    Invariant: in this process, what is used is at most `allowed`, and that is at most what the lender has set apart
    for it. So `allowed` is lowered before a smaller wish is sent, and raised only by a grant.
    """

    __slots__ = (
        "_counter",
        "account",
        "allowed",
        "contended",
        "idle_elsewhere",
        "kept_s",
        "limit",
        "refused_s",
        "spent_elsewhere",
        "stated",
        "waiting",
    )

    def __init__(self, counter: Counted, account: str = "") -> None:
        self._counter = counter
        self.account = account
        self.kept_s = 0.0
        """How long a lender remembers the account after it was spoken of last; 0: as long as somebody speaks of it."""
        self.limit = 0
        self.allowed = 0
        """The most that may be used here."""
        self.spent_elsewhere = 0
        self.idle_elsewhere = 0
        """What other processes have and do not use, as the lender said last: it may come back."""
        self.contended = False
        """Somebody needs what others do not use: keep nothing in advance."""
        self.waiting: list[int] = []
        """What requests need that wait for it, each."""
        self.refused_s = -math.inf
        """When a request that had asked for more was refused."""
        self.stated: tuple[int, int, int, int] | None = None
        """What the lender was told last."""

    def used(self) -> int:
        """Spent and held, in this process."""
        raise NotImplementedError

    def cannot_fit(self, units: int, now_s: float) -> bool:
        """Whether it is no use to ask the lender for so many."""
        return units > self.limit

    def spent(self) -> int:
        """What will not come back, of this process."""
        return 0

    def known(self) -> tuple[Known, ...]:
        """What the ledger knows of others and the lender was not told yet."""
        return ()

    def wish(self, *, busy: bool) -> CapWish | None:
        """What to tell the lender; `None`: nothing new. What is given back may not be used from now on."""
        used = self.used()
        advance = self.limit // ADVANCE if busy and not self.contended else 0
        kept, least, waiting = max(0, self.allowed - used), min(self.waiting, default=0), sum(self.waiting)
        if not waiting:
            kept = min(kept, 2 * advance)
        elif kept < least:
            kept = 0  # it helps nobody here, and may be what somebody lacks elsewhere
        self.allowed = min(self.allowed, used + kept)
        self._counter.measure()
        need = max(waiting, kept)
        want = max(need, waiting + advance)
        known = self.known()
        if not known and not waiting and (used, least, need, want) == self.stated:
            return None
        self.stated = (used, least, need, want)
        return CapWish(self.account, self.limit, self.kept_s, used, self.spent(), least, need, want, known)

    def restate(self) -> None:
        """Another lender: it must be told everything."""
        self.stated = None

    def accept(self, grant: CapGrant) -> None:
        """The lender has set so much apart."""
        self.allowed = grant.allowed
        self.spent_elsewhere = grant.spent_elsewhere
        self.idle_elsewhere = grant.idle_elsewhere
        self.contended = grant.contended
        self._counter.contended = any(cap.contended for cap in self._counter.caps())
        self._counter.measure()


class Places(Cap):
    """Requests that may run at once."""

    __slots__ = ()

    def used(self) -> int:
        """Those that run."""
        return self._counter.in_flight

    def wish(self, *, busy: bool) -> CapWish | None:
        """The same, said again and again while requests run: a lender takes silence for death."""
        if self._counter.in_flight:
            self.stated = None
        return super().wish(busy=busy)


class Budget(Cap):
    """The most of a window, in nano-dollars or in tokens."""

    __slots__ = ("_told", "in_dollars", "window")

    def __init__(self, counter: Counted, window: Window, *, in_dollars: bool) -> None:
        super().__init__(counter)
        self.in_dollars = in_dollars
        self.window = window
        self.begin()

    def begin(self) -> None:
        """Its window is another one."""
        window = self.window
        self.account = f"{self._counter.scope} {window.name} {self.unit} {window.starts_ms}"
        self.kept_s = (window.ends_ms - window.starts_ms) / 1000 + KEPT_S
        self.allowed = self.spent_elsewhere = self.idle_elsewhere = 0
        self.stated = None
        self._told: Mapping[str, Spent] | None = None

    @property
    def unit(self) -> Literal["dollars", "tokens"]:
        """Of its figures; dollars are counted in nano-dollars."""
        return "dollars" if self.in_dollars else "tokens"

    def spent(self) -> int:
        """In its window, by this process."""
        return self.window.nano if self.in_dollars else self.window.tokens

    def used(self) -> int:
        """Spent and held, by this process."""
        counter = self._counter
        return self.spent() + (counter.held_nano if self.in_dollars else counter.held_tokens)

    def cannot_fit(self, units: int, now_s: float) -> bool:
        """Whether it is no use to ask: money does not come back as quickly as places."""
        return units > self.limit or (now_s < self.refused_s + REFUSED_S and self.used() + units > self.allowed)

    def spent_by_all(self) -> int:
        """As far as it is known here: the ledger may be behind, and the lender may be ahead of it."""
        return self.spent() + max(self.spent_elsewhere, sum(self._of(one) for one in self.window.others.values()))

    def count_alone(self) -> None:
        """Nobody else counts now: all that others have not spent may be used here."""
        self.allowed = self.limit - sum(self._of(one) for one in self.window.others.values())

    def known(self) -> tuple[Known, ...]:
        """What the ledger has of others, if it was read since the lender was told.

        What nobody counts is all in the ledger: corrections, and rows that came by no journal.
        """
        others = self.window.others
        if others is self._told:
            return ()
        self._told = others
        final = self._counter.ended_writers.union(NOBODYS)
        return tuple(Known(writer, self._of(one), writer in final) for writer, one in others.items())

    def restate(self) -> None:
        """Another lender: it must be told everything."""
        super().restate()
        self._told = None

    def _of(self, spent: Spent) -> int:
        return spent.nano if self.in_dollars else spent.tokens
