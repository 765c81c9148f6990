"""Which of its tenant's adapters a key is for."""

from __future__ import annotations

from collections.abc import Collection

from registry.errors import InvalidInput
from registry.names import check_name

MOST_ADAPTERS_OF_KEY = 1_000


def adapters_of_key(tenant: str, given: Collection[str]) -> list[str]:
    """`tenant/adapter` of each, sorted. Raises `InvalidInput` for none, too many, another tenant's, and versions."""
    if not 0 < len(given) <= MOST_ADAPTERS_OF_KEY:
        raise InvalidInput(
            f"adapters are {len(given)}; name 1 to {MOST_ADAPTERS_OF_KEY}, or leave the field out for all of them",
            param="adapters",
        )
    found = set()
    for name in given:
        owner, slash, adapter = name.rpartition("/")
        if slash and owner != tenant:
            raise InvalidInput(
                f"adapters has {name[:150]!r}, which is none of {tenant}'s; expected {tenant}/ADAPTER", param="adapters"
            )
        found.add(f"{tenant}/{check_name(adapter, 'adapters')}")
    return sorted(found)
