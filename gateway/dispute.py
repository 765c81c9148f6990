"""An engine refuses a request, and we do not know why: is it the request, or the engine? A second engine is asked."""

from __future__ import annotations

import time

from gateway.errors import ApiError
from gateway.handoffs import Endpoint
from gateway.steps.load import Fleet


class Dispute:
    """Of one request of a tenant; there is none until an engine refuses it."""

    __slots__ = ("_endpoint", "_first", "_fleet", "_tenant", "_url")

    def __init__(self, fleet: Fleet, tenant: str, endpoint: Endpoint) -> None:
        self._fleet = fleet
        self._tenant = tenant
        self._endpoint = endpoint
        self._url = ""
        self._first: ApiError | None = None
        """The first engine's refusal, while a second one is asked."""

    def refused(self, url: str, refusal: ApiError) -> None:
        """Return when a second engine should be asked. Raises what the client gets, when not."""
        if self._first is not None:
            raise refusal if refusal.status < 500 else self._first
        if not refusal.disputable:
            raise refusal
        self.failed(url)
        if not self._fleet.second_asks.take(url, self._tenant, time.monotonic()):
            raise refusal
        self._url, self._first = url, refusal

    def failed(self, url: str) -> None:
        """An engine did not answer the request: whether it answers any should be found out."""
        self._fleet.disputed(url, self._endpoint, self._tenant, served_elsewhere=False)

    def served(self) -> None:
        """An engine has answered the request: one that refused it before was wrong."""
        if self._first is None:
            return
        self._fleet.second_asks.give_back(self._url, self._tenant)
        self._fleet.breaker.contradicted(self._url, self._tenant, time.monotonic())
        self._fleet.disputed(self._url, self._endpoint, self._tenant, served_elsewhere=True)

    def unless_settled(self, otherwise: ApiError) -> ApiError:
        """What the client gets when no engine is left: the refusal that nobody contradicted, if there is one."""
        return self._first or otherwise
