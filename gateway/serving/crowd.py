"""Clients' connections of one process: how many there may be, and which one goes when there are too many.

Each is a file, and a process may open so many. Without bounds whoever connects and says nothing keeps out everybody
else, and the connections to engines, and the database.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from itertools import islice

from gateway.client_address import Networks, block_of, is_within
from gateway.told_together import EVERY_S, Seen, ToldTogether

log = logging.getLogger("switchyard.door")
OWN_FILES = 128
"""Kept for the database, the journal, the fleet and logs."""
LOOKED_AT = 16
"""Of those that could go, so many are compared: the ones that have waited longest."""
SEARCHED = 1_024
"""Likewise, for one of a certain address."""
LEAST = 16


def room_of(open_files: int, backlog: int) -> int:
    """The most connections of clients where a process may have so many files open, and `backlog` of them come at once:
    each request of one may need a connection to an engine.
    """
    return max(LEAST, (open_files - OWN_FILES - backlog) // 2)


class Guest:
    """One connection. It is a stranger's until a valid key has been sent on it, and then its tenant's."""

    __slots__ = ("_crowd", "_transport", "address", "tenant")

    def __init__(self, crowd: Crowd, transport: asyncio.Transport, address: str) -> None:
        self._crowd = crowd
        self._transport = transport
        self.address = address
        self.tenant = ""

    def known(self, tenant: str) -> None:
        """A valid key was sent."""
        if tenant != self.tenant:
            self._crowd.know(self, tenant)

    def begins(self) -> None:
        """A request is served."""
        self._crowd.idle.pop(self, None)

    def ends(self) -> None:
        """Its answer is complete."""
        if self.tenant and not self._transport.is_closing():
            self._crowd.idle[self] = None

    def is_held_back(self) -> None:
        """Its answer, a refusal, comes late on purpose."""
        if self.tenant and not self._transport.is_closing():
            self._crowd.held_back[self] = None

    def is_answered(self) -> None:
        """It comes now."""
        self._crowd.held_back.pop(self, None)

    def leave(self) -> None:
        """The connection is gone."""
        self._crowd.leave(self)

    def turn_out(self) -> None:
        """Close the connection for another one's sake."""
        self.leave()
        self._transport.abort()


class Crowd:
    """All of them. When there is no room, one on which a refusal is held back goes first, of who has most; else a
    stranger's, and else one that idles, likewise of who has most. One that is served for a known key never goes.
    """

    def __init__(self, most: int | None = None, most_of_address: int | None = None, trusted: Networks = ()) -> None:
        """`most` connections, `None`: any number; `most_of_address` of one address, but of `trusted` networks, whose
        hosts are proxies.
        """
        self._most = most
        self._most_of_address = most_of_address
        self._trusted = tuple(trusted)
        self.strangers: dict[Guest, None] = {}
        """In the order in which they came."""
        self.idle: dict[Guest, None] = {}
        """Of known keys, and nothing is served on them: in the order of their last answers."""
        self.held_back: dict[Guest, None] = {}
        """Of known keys, whose tenants are refused faster than they may hear of it."""
        self._of_address: Counter[str] = Counter()
        self._of_tenant: Counter[str] = Counter()
        self.count = 0
        self.unreadable = ToldTogether(_tell)
        """Connections that were closed as what came on them is no HTTP."""

    def enter(self, transport: asyncio.Transport, address: str) -> Guest | None:
        """A new connection; `None`: there is no room for it."""
        host, address = address, block_of(address)
        if not self._has_room_for(host, address) and not self._turn_out_of(address):
            return None
        if self._most is not None and self.count >= self._most and not self._turn_one_out():
            return None
        guest = Guest(self, transport, address)
        self.strangers[guest] = None
        self._of_address[address] += 1
        self.count += 1
        return guest

    def know(self, guest: Guest, tenant: str) -> None:
        """Whose key was sent on it."""
        if guest.tenant:
            _one_less(self._of_tenant, guest.tenant)
        elif guest not in self.strangers:
            return  # it was turned out
        self.strangers.pop(guest, None)
        self._of_tenant[tenant] += 1
        guest.tenant = tenant

    def leave(self, guest: Guest) -> None:
        """It is gone; done once."""
        if guest.tenant:
            _one_less(self._of_tenant, guest.tenant)
            self.idle.pop(guest, None)
            self.held_back.pop(guest, None)
            guest.tenant = ""
        elif guest in self.strangers:
            del self.strangers[guest]
        else:
            return
        _one_less(self._of_address, guest.address)
        self.count -= 1

    def _has_room_for(self, host: str, address: str) -> bool:
        most = self._most_of_address
        return most is None or self._of_address[address] < most or is_within(host, self._trusted)

    def _turn_out_of(self, address: str) -> bool:
        """Close the oldest of its strangers', if it has one."""
        found = next((guest for guest in islice(self.strangers, SEARCHED) if guest.address == address), None)
        if found is not None:
            found.turn_out()
        return found is not None

    def _turn_one_out(self) -> bool:
        victim = (
            self._of_most(self.held_back)
            or max(islice(self.strangers, LOOKED_AT), key=lambda one: self._of_address[one.address], default=None)
            or self._of_most(self.idle)
        )
        if victim is not None:
            victim.turn_out()
        return victim is not None

    def _of_most(self, guests: dict[Guest, None]) -> Guest | None:
        return max(islice(guests, LOOKED_AT), key=lambda one: self._of_tenant[one.tenant], default=None)


def _tell(seen: Seen) -> None:
    (_, address), most = seen.most_common(1)[0]
    log.warning(
        "what came on %d connections in %g s is no HTTP/1.1, such as TLS; %d of them were from %s",
        seen.total(), EVERY_S, most, address,
    )  # fmt: skip


def _one_less(counts: Counter[str], name: str) -> None:
    counts[name] -= 1
    if not counts[name]:
        del counts[name]
