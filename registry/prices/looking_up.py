"""Prices of APIs that the log does not have, taken out of genai-prices when somebody asks for them.

Also as a process of its own, for those that must not load the package: `python -m registry.prices.looking_up NAME …`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from registry.children.mouth import Mouth
from registry.db import now_ms
from registry.errors import InvalidInput, NotFound
from registry.prices.baselines import Baselines
from registry.prices.genai import GenaiPrices, Listing, take_listings


def take_unknown(baselines: Baselines, names: Sequence[str]) -> Iterator[str]:
    """Take those that the package has, and say what was taken and what nobody knows, a sentence each."""
    if not names:
        return
    prices = GenaiPrices(now_ms())
    listings: dict[str, Listing] = {}
    for name in names:
        try:
            listings[name] = prices.find(name)
        except (NotFound, InvalidInput) as unknown:
            yield f"warning: {name} has no price: {unknown.message}"
    for name, taken in take_listings(baselines, listings).items():
        yield f"prices of {name} were taken out of {prices.snapshot}"
        yield from taken.left


def main(names: Sequence[str]) -> None:
    """As a process of its own."""
    from registry.service import Registry

    mouth = Mouth()
    with Registry.open() as registry:
        known = set(registry.baselines.names())
        for said in take_unknown(registry.baselines, [name for name in names if name not in known]):
            mouth.say(f"{said}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1:])
