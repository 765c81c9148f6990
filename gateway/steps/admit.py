"""May this request begin now? Bounded concurrency, for the whole gateway and for each tenant."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import TracebackType

from gateway.errors import Overloaded, RateLimited
from gateway.handoffs import Principal


@dataclass(slots=True)
class Admission:
    """The counts of this worker. Limits are requests in flight."""

    max_in_flight: int
    max_in_flight_per_tenant: int
    in_flight: int = 0
    by_tenant: dict[str, int] = field(default_factory=dict)

    def admit(self, principal: Principal) -> Hold:
        """A place for one request, to be used as a context. Raises `RateLimited` or `Overloaded` when there is none."""
        used = self.by_tenant.get(principal.tenant, 0)
        if used >= self.max_in_flight_per_tenant:
            raise RateLimited(
                f"{used} requests of this tenant are in flight; the limit is {self.max_in_flight_per_tenant}.",
                code="concurrency_limit",
                retry_after_s=1,
            )
        if self.in_flight >= self.max_in_flight:
            raise Overloaded("The gateway is full.", code="gateway_full", retry_after_s=1)
        return Hold(self, principal.tenant)


class Hold:
    """A place that is given back whatever happens."""

    __slots__ = ("_admission", "_tenant")

    def __init__(self, admission: Admission, tenant: str) -> None:
        self._admission = admission
        self._tenant = tenant

    def __enter__(self) -> Hold:
        self._admission.in_flight += 1
        by_tenant = self._admission.by_tenant
        by_tenant[self._tenant] = by_tenant.get(self._tenant, 0) + 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._admission.in_flight -= 1
        by_tenant = self._admission.by_tenant
        by_tenant[self._tenant] -= 1
        if not by_tenant[self._tenant]:
            del by_tenant[self._tenant]
