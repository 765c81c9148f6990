"""Which tenants have lately asked for answers at the engines of one base, and may so again. Pure: who calls says when a
while is over.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

WHILE_S = 30.0
"""A tenant that has nothing running is forgotten after one while at least, and two at most."""


class Lately:
    """What a request changes here is two look-ups, as it is done for each: who begins is compared with `weights`, and
    who ends is put into `ended`.
    """

    __slots__ = ("_all", "_elsewhere", "ended", "total", "weights")

    def __init__(self) -> None:
        self.weights: dict[str, int] = {}
        """By tenant, as of its newest request in this worker."""
        self.total = 0
        """Of all weights, those elsewhere too."""
        self.ended: set[str] = set()
        """Tenants of which a request has ended in this while."""
        self._elsewhere: Mapping[str, int] = {}
        self._all: dict[str, int] = {}

    def others(self, tenant: str) -> int:
        """The weights of all but one."""
        return self.total - self._all.get(tenant, 0)

    def see(self, tenant: str, weight: int) -> None:
        """A tenant has begun something, and was not known or had another weight."""
        self.total += weight - self._all.get(tenant, 0)
        self.weights[tenant] = self._all[tenant] = weight

    def hear(self, elsewhere: Mapping[str, int]) -> None:
        """Weights of the tenants that other workers have told of; this one's own may be among them."""
        if elsewhere != self._elsewhere:
            self._elsewhere = elsewhere
            self._add_up()

    def turn(self, running: Container[str]) -> None:
        """A while is over: forget who has nothing running, and of whom nothing has ended in it."""
        self.weights = {one: weight for one, weight in self.weights.items() if one in self.ended or one in running}
        self.ended.clear()
        self._add_up()

    def _add_up(self) -> None:
        self._all = {**self._elsewhere, **self.weights}
        self.total = sum(self._all.values())
