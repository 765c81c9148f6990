"""Requests and tokens a minute of one scope in this process.

Rates are GCRA, and not fixed windows: one number a rate, exact at every instant, with nothing that a timer must clear,
and a refund is the same as a charge with the sign turned. A bucket holds one minute's worth: so after a minute of
silence up to twice the limit can pass within the next one, as it can around the edge of a fixed window.
"""

from __future__ import annotations

import math

from gateway.limits.lending import ADVANCE, MINUTE_S, NEVER, REFUSED_S, RateGrant, RateWish

ROUNDING_S = 1e-6


class Rate:
    """Requests or tokens a minute: the bucket itself, which fills in one minute."""

    __slots__ = ("full_at_s", "interval_s", "left", "limit", "limit_header", "remaining_name", "reset_name")

    def __init__(self, what: bytes, limit: int, full_at_s: float = 0.0) -> None:
        self.limit = limit
        self.interval_s = MINUTE_S / (limit or NEVER)
        """From one unit to the next."""
        self.full_at_s = full_at_s
        """When it will be full, if nothing is taken; on the clock of `time.monotonic`."""
        self.left = float(limit)
        """Units that were free after the last request had taken its own."""
        self.limit_header = (b"x-ratelimit-limit-" + what, b"%d" % limit)
        self.remaining_name = b"x-ratelimit-remaining-" + what
        self.reset_name = b"x-ratelimit-reset-" + what

    def free(self, now_s: float) -> float:
        """Units that may be taken now."""
        lacking_s = self.full_at_s - now_s
        return (MINUTE_S - lacking_s) / self.interval_s if lacking_s > 0 else float(self.limit)

    def lacks(self, units: int, now_s: float) -> bool:
        """Whether so many may not be taken now."""
        lacking_s = self.full_at_s - now_s
        return (lacking_s if lacking_s > 0 else 0.0) + units * self.interval_s > MINUTE_S + ROUNDING_S

    def take_if_free(self, units: int, now_s: float) -> bool:
        """Take units out, if there are so many."""
        full_at_s = self.full_at_s
        if full_at_s < now_s:
            full_at_s = now_s
        full_at_s += units * self.interval_s
        spare_s = now_s + MINUTE_S - full_at_s
        if spare_s < -ROUNDING_S:
            return False
        self.full_at_s = full_at_s
        self.left = spare_s / self.interval_s
        return True

    def take(self, units: int, now_s: float) -> None:
        """Take units out, also such as are not there; negative ones go back in."""
        full_at_s = self.full_at_s
        self.full_at_s = (full_at_s if full_at_s > now_s else now_s) + units * self.interval_s

    def wait_s(self, units: float, now_s: float) -> float:
        """How long until so many units may be taken, if they are no more than the limit."""
        return max(0.0, self.full_at_s - now_s + units * self.interval_s - MINUTE_S)


class LentRate(Rate):
    """The same where several processes take from one bucket: `full_at_s` is the bucket's as it was heard of last."""

    __slots__ = ("account", "refused_s", "stock", "waiting")

    def __init__(self, what: bytes, limit: int, account: str) -> None:
        super().__init__(what, limit)
        self.account = account
        self.stock = 0
        """Units that were taken from the bucket and not used yet; negative: used without asking."""
        self.waiting: list[int] = []
        """Units for requests that wait for them."""
        self.refused_s = -math.inf
        """When a request that had asked for more was refused."""

    def free(self, now_s: float) -> float:
        """Units of the stock, and of the bucket."""
        return max(0.0, super().free(now_s)) + self.stock

    def lacks(self, units: int, now_s: float) -> bool:
        """Whether there are not so many in stock."""
        return units > self.stock

    def take_if_free(self, units: int, now_s: float) -> bool:
        """Take units from the stock, if there are so many."""
        if units > self.stock:
            return False
        self.stock -= units
        self.left = self.free(now_s)
        return True

    def take(self, units: int, now_s: float) -> None:
        """Take units from the stock, also such as are not there; negative ones go back."""
        self.stock -= units

    def wait_s(self, units: float, now_s: float) -> float:
        """How long until the bucket has so many beside the stock."""
        return super().wait_s(units - self.stock, now_s)

    def cannot_fit(self, units: int, now_s: float) -> bool:
        """Whether it is no use to ask the lender: it said how full the bucket is, and nobody can have filled it."""
        return units > self.limit or (now_s < self.refused_s + REFUSED_S and units > self.free(now_s))

    def wish(self, *, busy: bool) -> RateWish | None:
        """What to tell the lender; `None`: nothing. What is given back is gone from the stock at once."""
        advance = self.limit // ADVANCE if busy else 0
        owed = 0
        if self.stock < 0:
            owed = -self.stock
        elif not self.waiting:
            owed = min(0, 2 * advance - self.stock)
        self.stock += owed
        want = max(0, sum(self.waiting) + advance - self.stock)
        return RateWish(self.account, self.limit, owed, want) if owed or want else None

    def withdraw(self, wish: RateWish) -> None:
        """The lender may not have heard it: a debt stays one, and what was given back is not used again."""
        self.stock -= max(0, wish.owed)

    def accept(self, grant: RateGrant, now_s: float) -> None:
        """Take what was granted."""
        self.stock += grant.granted
        self.full_at_s = now_s + grant.lacking_s
