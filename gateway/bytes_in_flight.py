"""A budget of bytes that one process holds for requests: their bodies, what is made of those, and answers in one piece.

Invariant: whoever keeps bytes of a request across an `await` has counted them before. What exists within one turn of
the loop alone, or for the one body that is read in a thread at a time, is not counted.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from gateway.errors import Overloaded, RateLimited

UNCOUNTED = 8_192
"""Bytes of one request that are not looked at: all places together hold some megabytes of such."""
MEBIBYTE = 1 << 20


class BytesInFlight:
    """Of one process. A tenant gets more only while it has fewer than are free then: so one alone gets half, and there
    is always some left for whoever comes next.
    """

    __slots__ = ("by_tenant", "most", "most_of_tenant", "taken")

    def __init__(self, most: int, most_of_tenant: int) -> None:
        self.most = most
        self.most_of_tenant = most_of_tenant
        self.taken = 0
        self.by_tenant: dict[str, int] = {}

    def held_for(self, tenant: str) -> HeldBytes:
        """Those of one request, to be used as a context: at its end they are given back."""
        return HeldBytes(self, tenant)

    def take(self, tenant: str, more: int) -> None:
        """Count some more of a tenant, or fewer. Raises `RateLimited`, `Overloaded`."""
        used = self.by_tenant.get(tenant, 0) + more
        if more > 0:
            most = min(self.most_of_tenant, self.most - self.taken)
            if used > most:
                raise self._refusal(used - more, most)
        self.taken += more
        if used:
            self.by_tenant[tenant] = used
        else:
            self.by_tenant.pop(tenant, None)

    def _refusal(self, used: int, most: int) -> RateLimited | Overloaded:
        if not used:
            return Overloaded(
                f"The gateway holds {self.taken // MEBIBYTE} MiB of requests and answers, and its budget of bytes in "
                f"flight is {self.most // MEBIBYTE} MiB. Try again, or send less.",
                code="bytes_in_flight",
                retry_after_s=1,
            )
        return RateLimited(
            f"Requests of this tenant hold {used // MEBIBYTE} MiB of bodies, and of answers in one piece; its budget "
            f"of bytes in flight is {most // MEBIBYTE} MiB now. Wait for some to end, send shorter bodies, or ask for "
            "long answers with 'stream': true.",
            code="bytes_in_flight",
            retry_after_s=1,
        )


class HeldBytes:
    """Those of one request."""

    __slots__ = ("_answered", "_asked", "_budget", "tenant")

    def __init__(self, budget: BytesInFlight | None, tenant: str) -> None:
        self._budget = budget
        self.tenant = tenant
        self._asked = self._answered = 0

    def asked(self, count: int) -> None:
        """What is asked takes so many now. Raises `RateLimited` or `Overloaded` when that is too much; what is counted
        is as before then.
        """
        if count <= UNCOUNTED:
            count = 0
        if count != self._asked and self._budget is not None:
            self._budget.take(self.tenant, count - self._asked)
            self._asked = count

    def answered(self, count: int) -> None:
        """Likewise, what is kept of the answer."""
        if count <= UNCOUNTED:
            count = 0
        if count != self._answered and self._budget is not None:
            self._budget.take(self.tenant, count - self._answered)
            self._answered = count

    def give_back(self) -> None:
        """All of them: the request is over."""
        if self._asked or self._answered:
            self.asked(0)
            self.answered(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.give_back()


NOT_COUNTED = HeldBytes(None, "")
"""Of what has bounds of its own, as copies of requests have."""
