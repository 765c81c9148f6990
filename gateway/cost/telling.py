"""Telling of tenants that cost much more on a day that is over than was to be expected, once each; and keeping what was
found, of some days before it too, for who looks.

As a process of its own (`python -m gateway.cost.telling DAY [--operator]`): 10,000 tenants are a minute of arithmetic,
which the requests of the process that leads would wait for. It says a line for each on standard output.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator, Sequence

from gateway.cost.anomalies import Jump
from gateway.cost.forecast import MOST_DAYS
from gateway.cost.outlook import jumps_among
from gateway.cost.outlook_words import jump_document, jump_said
from registry.children.mouth import Mouth
from registry.ledger.daily_usage import DailyUsage, daily_sums, tenants_on
from registry.ledger.jump_looks import Told
from registry.service import Registry

LOOKED_BACK = 7
"""Days of which what was found is kept from the first look on; nobody is told of those before the last."""
TENANTS_READ = 500
"""At a time; each read goes over all sums of three months."""
OPERATOR = "--operator"
"""The operator has an address that is told too."""


def tell(registry: Registry, day: int, told: Told) -> Iterator[Jump]:
    """Those of one day that this process found first, from where the last look at it has ended."""
    after = registry.jump_looks.begin(day)
    while after is not None:
        tenants = tenants_on(registry.db, day, after, TENANTS_READ)
        if not tenants:
            registry.jump_looks.end(day)
            return
        found = look(registry, day, tenants)
        documents = {jump.tenant: jump_document(jump) for jump in found}
        moved = registry.jump_looks.move_on(day, after, tenants[-1], documents, told)
        yield from found if moved else ()
        after = tenants[-1] if moved else registry.jump_looks.begin(day)


def look(registry: Registry, day: int, tenants: Sequence[str]) -> list[Jump]:
    """Those of some tenants, which are in the order of their names."""
    by_tenant: dict[str, list[DailyUsage]] = {}
    for one in daily_sums(registry.db, day - MOST_DAYS, day + 1, between=(tenants[0], tenants[-1])):
        by_tenant.setdefault(one.tenant, []).append(one)
    return jumps_among(registry, (by_tenant.get(tenant, []) for tenant in tenants), day)


def main(arguments: Sequence[str]) -> None:
    """As a process of its own."""
    day, *more = arguments
    mouth = Mouth()
    with Registry.open() as registry:
        for jump in tell(registry, int(day), "everybody" if OPERATOR in more else "tenants"):
            mouth.say(f"{jump_said(jump)}\n".encode())
        for back in range(1, LOOKED_BACK):
            deque(tell(registry, int(day) - back, "nobody"), maxlen=0)


if __name__ == "__main__":
    main(sys.argv[1:])
