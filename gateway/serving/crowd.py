"""Clients' connections of one process: how many there may be, and which one goes when there are too many.

Each is a file, and a process may open so many. Without bounds whoever connects and says nothing keeps out everybody
else, and the connections to engines, and the database.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterable
from itertools import islice

from gateway.client_address import Networks, block_of, is_within
from gateway.serving.newcomers import Newcomers
from gateway.serving.starts import Starts
from gateway.told_together import EVERY_S, Seen, ToldTogether

log = logging.getLogger("switchyard.door")
OWN_FILES = 128
"""Kept for the database, the journal, the fleet and logs."""
LOOKED_AT = 16
"""Of those that could go, so many are compared: the ones that have waited longest."""
SEARCHED = 1_024
"""Likewise, for one of a certain address."""
LEAST = 16
MOMENT_S = 0.5
"""So long a stranger may take to send the head of a request; who has not is suspect."""


def room_of(open_files: int, backlog: int) -> int:
    """The most connections of clients where a process may have so many files open, and `backlog` of them come at once:
    each request of one may need a connection to an engine.
    """
    return max(LEAST, (open_files - OWN_FILES - backlog) // 2)


class Guest:
    """One connection. It is a stranger's until a valid key has been sent on it, and then its tenant's."""

    __slots__ = ("_crowd", "_transport", "address", "came_s", "late_s", "tenant")

    def __init__(self, crowd: Crowd, transport: asyncio.Transport, address: str) -> None:
        self._crowd = crowd
        self._transport = transport
        self.address = address
        self.came_s = time.monotonic()
        self.late_s = 0.0
        """Seconds after which it is to be read."""
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
    stranger's that has been silent, likewise; else one that has just come; else one that idles. One that is served for
    a known key never goes.

    Who comes when there is no room is read at once only if few have come from there lately (`newcomers.py`).

    For who has more himself than who would go, nobody of the last two goes: whoever opens connections as fast as they
    are closed would drive out all others', as each of those is a stranger's for a moment, or idles for one.
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
        self._newcomers = Newcomers()
        self.starts = Starts()
        """Which of their requests begin now."""
        self.unreadable = ToldTogether(_tell)
        """Connections that were closed as what came on them is no HTTP."""

    def enter(self, transport: asyncio.Transport, address: str) -> Guest | None:
        """A new connection; `None`: there is no room for it."""
        host, address = address, block_of(address)
        if not self._has_room_for(host, address) and not self._turn_out_of(address):
            return None
        is_full = self._most is not None and self.count >= self._most
        if is_full and not self._turn_one_out(host, address):
            return None
        guest = Guest(self, transport, address)
        if is_full and not is_within(host, self._trusted):
            guest.late_s = self._newcomers.late_s(address, guest.came_s)
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

    def _turn_one_out(self, host: str, address: str) -> bool:
        """For one who comes from there."""
        strangers = [*islice(self.strangers, LOOKED_AT)]
        silent_since_s = time.monotonic() - MOMENT_S
        silent = [one for one in strangers if one.came_s < silent_since_s]
        victim = self._of_most(self.held_back) or self._of_most(silent)
        if victim is None:
            victim = self._of_most(strangers) or self._of_most(self.idle)
            if victim is None or not self._may_go(victim, host, address):
                return False
        victim.turn_out()
        return True

    def _may_go(self, guest: Guest, host: str, address: str) -> bool:
        """Whether who comes from there has no more than who would go."""
        most = max(self._of_address[guest.address], self._others(guest))
        return most >= self._of_address[address] or is_within(host, self._trusted)

    def _others(self, guest: Guest) -> int:
        """How many connections are of the same tenant, or of the same address while that is not known."""
        return self._of_tenant[guest.tenant] if guest.tenant else self._of_address[guest.address]

    def _of_most(self, guests: Iterable[Guest]) -> Guest | None:
        return max(islice(guests, LOOKED_AT), key=self._others, default=None)


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
