"""What several processes may use together, lent to each of them in parts, so that all parts are never more than it.

An account is one limit of one scope. Of a *cap* (a budget's dollars or tokens of one day or month, or places for
requests that run) every process has an allowance: it may use so much without asking again, and the allowances of all
are never more than the limit. A process states what it uses and what it wants, absolutely, so that a statement may be
lost or come twice; it stops using an allowance *before* it states a smaller one. Of a *rate* the units of a bucket are
taken and given back.

A process that dies keeps what it was lent, as spent, until another one has read from its journal what it really spent.
Places alone come back by themselves, since nobody will give them back.

`Pool` is the lender in the controller's memory; `gateway.limits.valkey_pool` is the same in Valkey, and the same tests
hold for both.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

MINUTE_S = 60.0
SETTLING_S = 1.0
"""A lender that begins gives nothing for so long: those whom another one has lent to state first what they use."""
SILENT_S = 5.0
"""Places of a process that has said nothing for so long are free again."""
HUNGRY_S = 1.0
"""After somebody got less than needed, everybody gives back at once for so long."""
KEPT_S = 3600.0
"""What is remembered of places that nobody has."""
EAGER_PART = 4
"""Of what nobody needs, one process gets at most this fraction in advance."""
REFUSED_S = 0.1
"""After a refusal the lender is not asked again for the same limit for so long: a client that insists costs little."""
ADVANCE = 20
"""A busy process asks for this fraction of a limit in advance, and gives back what is more than twice as much."""
NEVER = 1e-9
"""Units a minute of a rate whose limit is 0."""
ROUNDING = 1e-6


class LenderLost(Exception):
    """The lender does not answer, so nothing more is lent."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger says that another process has spent; `final`: that process is dead, and all of it is there."""

    writer: str
    spent: int
    final: bool


@dataclass(frozen=True, slots=True)
class CapWish:
    """What a process uses of a cap, and would like to have."""

    account: str
    limit: int
    kept_s: float
    """How long the account is remembered after it was spoken of last, longer than its window; 0 for places. No clock
    of ours decides when a window ends: clocks jump.
    """
    used: int
    """Spent and held."""
    spent: int
    least: int
    """What is more than `used`, and less than this, helps nobody there."""
    need: int
    """More than `used`, for requests that wait, and what is kept for others."""
    want: int
    """More than `used`: what it needs, and what it will need soon."""
    known: tuple[Known, ...] = ()


@dataclass(frozen=True, slots=True)
class CapGrant:
    """`allowed` is the most that the process may use, in all."""

    account: str
    allowed: int
    spent_elsewhere: int
    idle_elsewhere: int
    """What other processes have and did not use when they were heard last."""
    contended: bool
    """Somebody needs what others have lent and do not use."""


@dataclass(frozen=True, slots=True)
class RateWish:
    """Units of a bucket that fills in one minute."""

    account: str
    per_minute: int
    owed: int
    """Used without asking; negative: given back."""
    want: int


@dataclass(frozen=True, slots=True)
class RateGrant:
    """Units taken for the process, and for how many seconds the bucket must fill until it is full."""

    account: str
    granted: int
    lacking_s: float


@dataclass(frozen=True, slots=True)
class Grants:
    """The answer to one exchange. Another `epoch` than before: another lender, which must be told everything."""

    epoch: str
    lends: bool
    """Not yet, when the lender has only begun."""
    caps: tuple[CapGrant, ...]
    rates: tuple[RateGrant, ...]


class Lender(Protocol):
    """Lends to processes, each known by the name of its journal's writer."""

    async def exchange(self, writer: str, caps: tuple[CapWish, ...], rates: tuple[RateWish, ...]) -> Grants:
        """One atomic step for each account. Raises `LenderLost`."""


@dataclass(slots=True)
class _Part:
    """What one process has."""

    allowed: int
    used: int
    spent: int
    heard_s: float


@dataclass(slots=True)
class _Cap:
    kept_s: float
    parts: dict[str, _Part] = field(default_factory=dict)
    hungry_until_s: float = 0.0


class Pool:
    """The lender that lives in one process's memory."""

    def __init__(
        self, epoch: str, *, settling_s: float = SETTLING_S, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._epoch = epoch
        self._settling_s = settling_s
        self._clock_s = clock_s
        self._opened_s: float | None = None
        self._caps: dict[str, _Cap] = {}
        self._full_at_s: dict[str, float] = {}
        """By account: when the bucket is full, if nothing more is taken."""
        self._swept_s = 0.0

    async def exchange(self, writer: str, caps: tuple[CapWish, ...], rates: tuple[RateWish, ...]) -> Grants:
        """As `Lender` says; it is always there."""
        return self.lend(writer, caps, rates)

    def lend(self, writer: str, caps: Iterable[CapWish], rates: Iterable[RateWish]) -> Grants:
        """The same at once."""
        now_s = self._clock_s()
        if self._opened_s is None:
            self._opened_s = now_s
        if now_s - self._swept_s > MINUTE_S:
            self._sweep(now_s)
        lends = now_s >= self._opened_s + self._settling_s
        return Grants(
            self._epoch,
            lends,
            tuple(self._lend(writer, wish, now_s, lends=lends) for wish in caps),
            tuple(self._take(wish, now_s) for wish in rates),
        )

    def _lend(self, writer: str, wish: CapWish, now_s: float, *, lends: bool) -> CapGrant:
        cap = self._caps.get(wish.account)
        if cap is None:
            cap = self._caps[wish.account] = _Cap(wish.kept_s or KEPT_S)
        parts = cap.parts
        for known in wish.known:
            if known.writer != writer and (known.final or known.writer not in parts):
                parts[known.writer] = _Part(known.spent, known.spent, known.spent, now_s)
        if not wish.kept_s:
            for silent in [name for name, part in parts.items() if now_s - part.heard_s > SILENT_S]:
                del parts[silent]
        spent = used = allowed = 0
        for name, part in parts.items():
            if name != writer:
                spent += part.spent
                used += part.used
                allowed += part.allowed
        more = _more(wish, wish.limit - allowed - wish.used) if lends else 0
        if more < wish.need:
            cap.hungry_until_s = now_s + HUNGRY_S
        parts[writer] = _Part(wish.used + more, wish.used, wish.spent, now_s)
        return CapGrant(wish.account, wish.used + more, spent, allowed - used, now_s < cap.hungry_until_s)

    def _take(self, wish: RateWish, now_s: float) -> RateGrant:
        interval_s = MINUTE_S / (wish.per_minute or NEVER)
        full_at_s = max(now_s, self._full_at_s.get(wish.account, 0.0)) + wish.owed * interval_s
        free = int((MINUTE_S - max(0.0, full_at_s - now_s)) / interval_s + ROUNDING)
        granted = max(0, min(wish.want, free))
        full_at_s += granted * interval_s
        self._full_at_s[wish.account] = full_at_s
        return RateGrant(wish.account, granted, max(0.0, full_at_s - now_s))

    def _sweep(self, now_s: float) -> None:
        """Forget accounts that nobody speaks of any more, and buckets that are full."""
        self._swept_s = now_s
        for account, cap in list(self._caps.items()):
            heard_s = max((part.heard_s for part in cap.parts.values()), default=0.0)
            if now_s > heard_s + cap.kept_s:
                del self._caps[account]
        for account in [name for name, full_at_s in self._full_at_s.items() if full_at_s < now_s]:
            del self._full_at_s[account]


def _more(wish: CapWish, free: int) -> int:
    """What of the free part is lent: what is needed, and a fraction of the rest in advance."""
    needed = max(0, min(wish.need, free))
    if needed < wish.least:
        return 0
    return needed + max(0, min(wish.want - wish.need, (free - wish.need) // EAGER_PART))
