"""Which adapters run on one engine at a time. Pure: who calls tells the time.

vLLM takes at most --max-loras different adapters into a step. Requests for others wait in it for as long as those run,
while later requests for those pass them by: so whoever keeps them busy keeps everybody else out. Here an adapter gets
a *slot* before a request for it is sent, and keeps it while requests run on it:

* Of the slots `reserve` are for tenants that have none, while there are such tenants. Whoever has fewest is next, by
  turns. A tenant that is alone has all of them. What is reserved is lent to a tenant whose answers are short while
  another has more: who then comes waits for a short answer, and who borrows would wait for a long one.
* Who waits has a slot *closed* for it, of a tenant that has more, else one of its own: what runs there goes on, what
  comes waits in line. Each slot is open for `HELD_S` at least, and one more is closed each `HELD_S` of waiting, as the
  first may have a long answer on it. Where another's has, one of its own that soon falls free is closed with it.
* Who has waited while another had more has so many *kept* from then on, until it has not run so many for a while
  (`slot_needs.py`): long answers of others would else take what it leaves between two requests. Likewise what
  it has had at once a moment ago, up to what the other has.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.fleet.slot_needs import Needs

HELD_S = 0.5
NOBODY = ""
"""Whose the adapter of zeros is, through which some engines serve their base to all tenants."""


@dataclass(slots=True, eq=False)
class Ticket:
    """One who waits for an adapter's slot; `go` is called when it is among the slot's users."""

    adapter: int
    tenant: str
    go: Callable[[], object]


@dataclass(slots=True)
class _Slot:
    tenant: str
    since_s: float
    """When it was opened for its adapter."""
    users: int = 0
    served: int = 0
    """Users that have left since it was opened."""
    closing: bool = False

    def falls_free_soon(self, now: float) -> bool:
        """Whether users stay for no longer than `HELD_S`, by their number and how many have left (Little's law)."""
        return 0 < self.users * (now - self.since_s) <= self.served * HELD_S


class Slots:
    """Of one engine that runs `most` adapters at a time. `tenants` gives the number of those that have adapters. An
    adapter is a number, and always of the same tenant, or of `NOBODY`.
    """

    def __init__(
        self,
        most: float,
        reserve: int,
        tenants: Callable[[], int],
        on_closed: Callable[[int], object] = lambda _adapter: None,
    ) -> None:
        self.most = most
        """`math.inf` while it is not known."""
        self._reserve = reserve
        self._tenants = tenants
        self._on_closed = on_closed
        self._held: dict[int, _Slot] = {}
        self._number: dict[str, int] = {}
        """Tenant → slots that it has; nobody has 0. No `Counter`, whose arithmetic is Python."""
        self._lines: dict[str, dict[int, list[Ticket]]] = {}
        """Tenant, whose turn was longest ago first → adapter, that was asked for first first → who waits for it."""
        self._needs = Needs()
        self._closed_s = -math.inf
        """When a slot was closed last."""

    @property
    def idle(self) -> bool:
        """Whether nobody has a slot or waits for one."""
        return not self._held and not self._lines

    @property
    def waiting(self) -> int:
        """Those who wait."""
        return sum(len(line) for lines in self._lines.values() for line in lines.values())

    def resize(self, most: float, now: float) -> None:
        """The engine turns out to run so many."""
        self.most = most
        self._let_in(now)

    def adopt(self, adapter: int, tenant: str, users: int, now: float) -> None:
        """So many use the adapter's slot already, whether or not there is room."""
        slot = self._held.get(adapter) or self._open(adapter, tenant, now)
        slot.users += users

    def hand_over(self) -> tuple[list[tuple[int, str, int]], list[Ticket]]:
        """Adapters with their tenants and users, and who waits; none of it is here any more."""
        held = [(adapter, slot.tenant, slot.users) for adapter, slot in self._held.items()]
        waiting = [ticket for lines in self._lines.values() for line in lines.values() for ticket in line]
        for table in (self._held, self._number, self._lines, self._needs):
            table.clear()
        return held, waiting

    def held_by(self, tenant: str) -> int:
        """Slots that a tenant has."""
        return self._number.get(tenant, 0)

    def join(self, adapter: int, tenant: str, now: float) -> bool:
        """Be one more user of the adapter's slot, if that can be at once."""
        slot = self._held.get(adapter)
        if slot is None:
            if not self._may_open(tenant, now):
                return False
            slot = self._open(adapter, tenant, now)
        elif slot.closing:
            return False
        slot.users += 1
        return True

    def may_join(self, adapter: int, tenant: str, now: float) -> bool:
        """Whether `join` would let it in."""
        slot = self._held.get(adapter)
        return self._may_open(tenant, now) if slot is None else not slot.closing

    def join_as_guest(self, adapter: int, tenant: str, now: float) -> bool:
        """The same for who has to make room for all others: only while nobody waits."""
        return not self._lines and self.join(adapter, tenant, now)

    def wait(self, ticket: Ticket, now: float) -> None:
        """Stand in line; `ticket.go` may be called before this returns."""
        self._lines.setdefault(ticket.tenant, {}).setdefault(ticket.adapter, []).append(ticket)
        self._let_in(now)
        if ticket.tenant in self._lines:
            self._needs.lacks(ticket.tenant, len(self._lines[ticket.tenant]), self._number, now)

    def give_up(self, ticket: Ticket, now: float) -> None:
        """Stand in line no more. One who was told to go leaves instead."""
        line = self._lines[ticket.tenant][ticket.adapter]
        line.remove(ticket)
        if not line:
            self._drop(ticket.tenant, ticket.adapter)
        self._let_in(now)

    def leave(self, adapter: int, now: float) -> None:
        """Use the adapter's slot no more."""
        slot = self._held[adapter]
        slot.users -= 1
        if slot.users:
            slot.served += 1
            return
        del self._held[adapter]
        if self._needs or self._number[slot.tenant] > 1:
            self._needs.leaves(slot.tenant, self._number, now)
        if left := self._number[slot.tenant] - 1:
            self._number[slot.tenant] = left
        else:
            del self._number[slot.tenant]
        if self._lines:
            self._let_in(now)

    def review(self, now: float) -> float | None:
        """Close a slot if it is time to; seconds until this is to be asked again, `None` when nobody waits."""
        if self._needs:
            self._let_in(now)  # what was kept may be so no more
        if (first := self._first()) is None:
            return None
        tenant = first[0]
        adapter = self._to_close(tenant)
        if adapter is None:
            return HELD_S
        slot = self._held[adapter]
        due_s = max(slot.since_s, self._closed_s) + HELD_S - now
        if due_s > 0:
            return due_s
        self._closed_s = now
        closed = [adapter]
        if slot.tenant != tenant and not slot.falls_free_soon(now):
            closed += _own(self._held, tenant, now)
        for one in closed:
            self._held[one].closing = True
            self._on_closed(one)
        return HELD_S

    def _may_open(self, tenant: str, now: float) -> bool:
        free = self.most - len(self._held)
        if free <= 0 or (self._needs and free <= self._needs.kept_from(tenant, self._number, now)):
            return False
        if free > self._reserve or tenant not in self._number:
            return True
        if self._tenants() <= len(self._number) - (NOBODY in self._number):  # then there is nobody to come
            return True
        return self._number[tenant] < max(self._number.values()) and _is_brief(self._held, tenant, now)

    def _open(self, adapter: int, tenant: str, now: float) -> _Slot:
        slot = self._held[adapter] = _Slot(tenant, now)
        self._number[tenant] = self._number.get(tenant, 0) + 1
        return slot

    def _let_in(self, now: float) -> None:
        while (first := self._first()) is not None:
            tenant, adapter = first
            slot = self._held.get(adapter)
            if slot is not None:  # it was closed for somebody who does not wait any more, or has another one by now
                slot.closing, slot.since_s, slot.served = False, now, 0
            elif self._may_open(tenant, now):
                slot = self._open(adapter, tenant, now)
            else:
                return
            tickets = self._drop(tenant, adapter)
            if (more := self._lines.pop(tenant, None)) is not None:
                self._lines[tenant] = more  # behind those who have as many slots and have not had this turn
            slot.users += len(tickets)
            for ticket in tickets:
                ticket.go()

    def _first(self) -> tuple[str, int] | None:
        """Tenant and adapter whose turn it is. If these must wait, so must all others: nobody has fewer slots."""
        if not self._lines:
            return None
        tenant = min(self._lines, key=self.held_by)
        return tenant, next(iter(self._lines[tenant]))

    def _drop(self, tenant: str, adapter: int) -> list[Ticket]:
        lines = self._lines[tenant]
        line = lines.pop(adapter)
        if not lines:
            del self._lines[tenant]
        return line

    def _to_close(self, tenant: str) -> int | None:
        """Whose slot should make room for this tenant: of who has most, the one that was opened first."""
        opened = {adapter: slot for adapter, slot in self._held.items() if not slot.closing}
        number = Counter(slot.tenant for slot in opened.values())
        own = number[tenant]
        found = [one for one, slot in opened.items() if slot.tenant == tenant or number[slot.tenant] > own]
        most = min(found, key=lambda one: (-number[opened[one].tenant], opened[one].since_s), default=None)
        if most is not None and opened[most].tenant == tenant and own < self.held_by(tenant):
            return None  # one at a time for one's own sake: what is closed cannot take what could run there
        return most


def _own(held: Mapping[int, _Slot], tenant: str, now: float) -> list[int]:
    """A tenant's slot that soon falls free and was open for long enough, if none of its is closed already."""
    own = {adapter: slot for adapter, slot in held.items() if slot.tenant == tenant}
    if any(slot.closing for slot in own.values()):
        return []
    return [one for one, slot in own.items() if now - slot.since_s >= HELD_S and slot.falls_free_soon(now)][:1]


def _is_brief(held: Mapping[int, _Slot], tenant: str, now: float) -> bool:
    """Whether all slots of a tenant fall free soon, and go on to others then."""
    return all(slot.falls_free_soon(now) and not slot.closing for slot in held.values() if slot.tenant == tenant)
