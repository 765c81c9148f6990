"""How much tenants have stored, and whether they may store more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from gateway.complaints import Complaint
from gateway.errors import QuotaExceeded
from gateway.handoffs import Principal

log = logging.getLogger("switchyard.responses")
UNREAD = Complaint(log)
LOOK_S = 2.0
"""What a tenant stores between two looks at how much that is, it may have too much."""
AT_ONCE = 500
"""Tenants in one question."""
MOST_KNOWN = 10_000
"""Tenants whose amounts are at hand."""
Amounts = Mapping[str, tuple[int, int]]
"""Records and bytes by tenant."""


@dataclass(frozen=True, slots=True)
class Most:
    """How much one tenant may have stored."""

    records: int
    bytes: int


class Quota:
    """Of one process. Not for threads."""

    def __init__(self, read: Callable[[Collection[str]], Amounts], default: Most) -> None:
        """`read` asks the database, and blocks; `default` holds for tenants that have no setting of their own."""
        self._read = read
        self._default = default
        self._known: dict[str, tuple[int, int]] = {}
        self._asked: set[str] = set()

    async def look(self, principal: Principal) -> None:
        """Return if the tenant may store something. Raises `QuotaExceeded`, or what the database raises."""
        while not self.has_room(principal):
            tenant = principal.tenant
            found = (await asyncio.to_thread(self._read, [tenant])).get(tenant, (0, 0))
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[tenant] = found

    def has_room(self, principal: Principal) -> bool:
        """Whether the tenant is known to have less than it may; False: nobody has asked yet. Raises `QuotaExceeded`."""
        tenant, records, length = principal.tenant, principal.max_stored_records, principal.max_stored_bytes
        self._asked.add(tenant)
        known = self._known.get(tenant)
        if known is None:
            return False
        if known[0] >= (most := self._default.records if records is None else records):
            raise _exceeded(known[0], most, "records")
        if known[1] >= (most := self._default.bytes if length is None else length):
            raise _exceeded(known[1], most, "bytes")
        return True

    async def run(self) -> None:
        """Look again and again how much there is of those who store; until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            asked, self._asked = [*self._asked], set()
            try:
                for begin in range(0, len(asked), AT_ONCE):
                    some = asked[begin : begin + AT_ONCE]
                    found = await asyncio.to_thread(self._read, some)
                    self._known.update({tenant: found.get(tenant, (0, 0)) for tenant in some})
            except SQLAlchemyError as error:
                UNREAD.report("how much tenants have stored is not known now", error)


def _exceeded(have: int, most: int, what: str) -> QuotaExceeded:
    return QuotaExceeded(
        f"{have} {what} of stored responses and conversations are the tenant's, which may have {most}. "
        "Delete some, wait until old ones are deleted, or send 'store': false.",
        code="storage_quota_exceeded",
    )
