"""The slots that a worker has of the controller, while other workers send requests to the same engines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field

from gateway.fleet.slot_messages import SlotLeft, SlotsHeld, SlotWanted
from gateway.fleet.slots import Ticket
from gateway.fleet.wire import FromWorker

Key = tuple[str, int]
"""Engine URL, adapter."""


@dataclass(slots=True)
class _Lease:
    """One adapter's slot on one engine. Copies of requests may use it without its being given."""

    tenant: str
    users: int = 0
    given: bool = False
    closing: bool = False
    waiting: list[Ticket] = field(default_factory=list)


class SlotLeases:
    """Of one worker. A slot is asked for once for all who wait for it, and kept when nobody uses it, until slots of its
    engine are scarce: so requests for an adapter with traffic ask nobody.
    """

    def __init__(self, send: Callable[[FromWorker], None]) -> None:
        self.scarce: Set[str] = frozenset()
        """URLs of the engines whose slots somebody waits for, here or elsewhere."""
        self._send = send
        self._leases: dict[Key, _Lease] = {}

    @property
    def waiting(self) -> int:
        """Requests that wait for a slot."""
        return sum(len(lease.waiting) for lease in self._leases.values())

    def held_by(self, url: str, tenant: str) -> int:
        """Slots that this worker has for a tenant's adapters."""
        return sum(lease.given and lease.tenant == tenant for (where, _), lease in self._leases.items() if where == url)

    def take_over(self, held: Mapping[Key, tuple[str, int]]) -> None:
        """What runs already: tenant and users by engine and adapter; the controller is told."""
        self._leases = {key: _Lease(tenant, users, given=True) for key, (tenant, users) in held.items()}
        self._send(SlotsHeld(tuple((*key, tenant) for key, (tenant, _) in held.items())))

    def hand_over(self) -> Iterator[tuple[Key, str, int, list[Ticket]]]:
        """Engine and adapter, tenant, users, and who waits."""
        for key, lease in self._leases.items():
            yield key, lease.tenant, lease.users, lease.waiting

    def join(self, url: str, adapter: int) -> bool:
        """Be one more user of the adapter's slot, if this worker has it and may take more in."""
        lease = self._leases.get((url, adapter))
        if lease is None or not lease.given or lease.closing:
            return False
        lease.users += 1
        return True

    def may_join(self, url: str, adapter: int) -> bool:
        """Whether a request would run at once, as far as this worker can know: what nobody waits for is given."""
        lease = self._leases.get((url, adapter))
        return url not in self.scarce if lease is None or not lease.given else not lease.closing

    def join_as_guest(self, url: str, adapter: int, tenant: str) -> bool:
        """The same for a copy of a request, which goes when slots are scarce, and is not counted."""
        if url in self.scarce:
            return False
        if not self.join(url, adapter):
            self._leases.setdefault((url, adapter), _Lease(tenant)).users += 1
        return True

    def wait(self, url: str, ticket: Ticket) -> None:
        """Stand in line at the controller."""
        lease = self._leases.setdefault((url, ticket.adapter), _Lease(ticket.tenant))
        if not lease.waiting:
            self._send(SlotWanted(url, ticket.adapter, ticket.tenant))
        lease.waiting.append(ticket)

    def give_up(self, url: str, ticket: Ticket) -> None:
        """Stand in line no more."""
        lease = self._leases[url, ticket.adapter]
        lease.waiting.remove(ticket)
        if not lease.waiting:
            self._send(SlotLeft(url, ticket.adapter, waited=True))
            self._tidy((url, ticket.adapter), lease)

    def leave(self, url: str, adapter: int) -> None:
        """Use the adapter's slot no more."""
        lease = self._leases[url, adapter]
        lease.users -= 1
        if not lease.users:
            self._tidy((url, adapter), lease)

    def given(self, url: str, adapter: int) -> None:
        """The controller has given a slot: all who wait for it may go."""
        lease = self._leases.get((url, adapter))
        if lease is None or lease.given:  # nobody waits any more; or it was closing, and is open again
            self._send(SlotLeft(url, adapter))
        if lease is None:
            return
        lease.given, lease.closing = True, False
        going, lease.waiting = lease.waiting, []
        lease.users += len(going)
        for ticket in going:
            ticket.go()
        self._tidy((url, adapter), lease)

    def close(self, url: str, adapter: int) -> None:
        """Others wait for the slot: take nobody more in."""
        lease = self._leases.get((url, adapter))
        if lease is not None and lease.given:
            lease.closing = True
            self._tidy((url, adapter), lease)

    def become_scarce(self, urls: Set[str]) -> None:
        """Somebody waits for slots of these engines: give back what nobody uses."""
        self.scarce = urls
        for key, lease in list(self._leases.items()):
            self._tidy(key, lease)

    def _tidy(self, key: Key, lease: _Lease) -> None:
        if lease.users:
            return
        if lease.given and (lease.closing or key[0] in self.scarce):
            lease.given = lease.closing = False
            self._send(SlotLeft(*key))
        if not lease.given and not lease.waiting:
            del self._leases[key]
