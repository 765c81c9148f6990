"""May this request begin now? Bounded places, for the whole gateway and for each tenant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType

from gateway.bytes_in_flight import BytesInFlight, HeldBytes
from gateway.errors import Overloaded, RateLimited

MOST_FILES, MOST_FILES_OF_TENANT = 16, 4
"""Files that come, or go: each holds some megabytes in memory."""
MOST_RESUMED = 128
"""Streams that are taken up again, for each of which the database is asked twice a second; of a tenant half."""
MOST_DOCUMENTS = 128
"""Stored ones that are on their way to clients, each of some megabytes at most; one tenant alone gets half."""


@dataclass(slots=True)
class Places:
    """Places of this worker for one kind of thing; `what` names it in the plural.

    A tenant gets another one only while it has fewer than are free. So one tenant alone gets half of all, k of them
    at once a (k + 1)th each, and there is always one left for whoever comes next.
    """

    what: str
    most: int
    most_of_tenant: int
    taken: int = 0
    by_tenant: dict[str, int] = field(default_factory=dict)

    def look(self, tenant: str) -> None:
        """Return if there is a place for this tenant. Raises `RateLimited` or `Overloaded`."""
        used, free = self.by_tenant.get(tenant, 0), self.most - self.taken
        if used < self.most_of_tenant and used < free:
            return
        if used >= self.most_of_tenant or free > 0:
            raise RateLimited(
                f"{used} {self.what} of this tenant are in flight; the limit is {min(used, self.most_of_tenant)} now.",
                code="concurrency_limit",
                retry_after_s=1,
            )
        raise Overloaded("The gateway is full.", code="gateway_full", retry_after_s=1)

    def take(self, tenant: str) -> None:
        """A place, until `leave`. Raises as `look`."""
        self.look(tenant)
        self.taken += 1
        self.by_tenant[tenant] = self.by_tenant.get(tenant, 0) + 1

    def leave(self, tenant: str) -> None:
        """Give a place back."""
        self.taken -= 1
        if left := self.by_tenant[tenant] - 1:
            self.by_tenant[tenant] = left
        else:
            del self.by_tenant[tenant]

    @contextmanager
    def place(self, tenant: str) -> Iterator[None]:
        """A place while the block runs. Raises as `look`."""
        self.take(tenant)
        try:
            yield
        finally:
            self.leave(tenant)


@dataclass(frozen=True, slots=True)
class Admission:
    """A request takes a place among `bodies` while its body is under way, and one among `requests` when it is there:
    so half-sent bodies keep out nobody's whole ones. What is kept has `documents` until it is read, so that it can be
    asked for while a tenant's requests have all of its places, and may run in the background. What is made in the
    `background` has a place there too: it goes on for long, and leaves half of the requests' to what somebody waits
    for; its stream, when that is taken up again, is among the `resumed`. Files are bytes on their way for long, and
    have their own. `bytes` is what requests and answers in one piece take of memory.
    """

    bytes: BytesInFlight

    bodies: Places
    requests: Places
    background: Places
    documents: Places
    resumed: Places
    uploads: Places
    downloads: Places

    @classmethod
    def of(cls, most_bodies: int, most_requests: int, most_requests_of_tenant: int, bytes_: BytesInFlight) -> Admission:
        """Bounds of one worker."""
        return cls(
            bytes=bytes_,
            bodies=Places("unfinished bodies", most_bodies, most_bodies),
            requests=Places("requests", most_requests, most_requests_of_tenant),
            background=Places(
                "responses in the background", max(1, most_requests // 2), max(1, most_requests_of_tenant // 2)
            ),
            documents=Places("unread documents", MOST_DOCUMENTS, MOST_DOCUMENTS),
            resumed=Places("resumed streams", MOST_RESUMED, MOST_RESUMED),
            uploads=Places("file uploads", MOST_FILES, MOST_FILES_OF_TENANT),
            downloads=Places("file downloads", MOST_FILES, MOST_FILES_OF_TENANT),
        )


class Stay:
    """A context around one request to a model, from before its body is read: its place, and the bytes that it holds."""

    __slots__ = ("_admission", "_place", "_tenant", "held")

    def __init__(self, admission: Admission, tenant: str) -> None:
        self._admission = admission
        self._tenant = tenant
        self._place: Places | None = None
        """Among what it has its place."""
        self.held = HeldBytes(admission.bytes, tenant)

    def __enter__(self) -> Stay:
        """Its body is under way. Raises as `Places.look`."""
        bodies = self._admission.bodies
        bodies.take(self._tenant)
        self._place = bodies
        return self

    def has_body(self) -> None:
        """Its body is there. Raises as `Places.look`."""
        self._leave()
        requests = self._admission.requests
        requests.take(self._tenant)
        self._place = requests

    def _leave(self) -> None:
        if self._place is not None:
            self._place.leave(self._tenant)
            self._place = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()
        self.held.give_back()
