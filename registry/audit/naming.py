"""What an order is about, by the names that its address, query, body or parameters give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

NAMES = ("version", "adapter", "scope", "url", "name", "tenant")
"""Fields that say what an order is about, where its address does not; the first that is there."""
SIDES = ("a", "b")
"""Fields of an order that is about two, where its address does not name one."""
AGAINST = " against "
"""Between their names."""
MOST_CHARS = 320
MOST_TENANT_CHARS = 63


def about_of(params: Mapping[str, Any], said: Mapping[str, Any], path: str = "") -> str:
    """`acme/triage`, `acme/triage@1.1`, `acme/triage@production`, `base against acme/triage@1.1`, `experiments/7`,
    `tenant:acme`, `key-…`, an engine's URL; empty: it does not say. `params` are those of the address, `said` the rest.
    """
    values = [str(value) for value in params.values()]
    if "alias" in params and "adapter" in params:
        found = f"{params.get('tenant')}/{params['adapter']}@{params['alias']}"
    elif len(values) == 1 and values[0].isdecimal():  # a number says nothing without what it counts
        found = f"{path.partition(f'/{values[0]}')[0].rpartition('/')[2]}/{values[0]}"
    elif values:
        found = "/".join(values)
    else:
        found = _named({name: value for name, value in said.items() if isinstance(value, str)})
    return found[:MOST_CHARS]


def _named(said: Mapping[str, str]) -> str:
    if all(side in said for side in SIDES):
        return AGAINST.join(said[side] for side in SIDES)
    if "adapter" in said and "/" not in said.get("version", "/"):  # a version by its number alone
        return f"{said['adapter']}@{said['version']}"
    return next((said[name] for name in NAMES if name in said), "")


def tenant_of(about: str, said: Mapping[str, Any]) -> str | None:
    """Whose that is, as far as the order says; what it changes says the rest."""
    tenant = said.get("tenant")
    if not isinstance(tenant, str):
        kind, mark, rest = about.partition(":")
        if kind in ("tenant", "adapter") and mark:
            tenant = rest.partition("/")[0]
        else:
            tenant = next((name.partition("/")[0] for name in _adapters(said) if "/" in name), "")
    return None if not tenant else tenant[:MOST_TENANT_CHARS]


def _adapters(said: Mapping[str, Any]) -> Iterator[str]:
    """What names an adapter; a side with an endpoint of its own is called as that likes."""
    ours = (side for side in SIDES if said.get(f"{side}_url") is None)
    yield from (value for name in ("version", "adapter", *ours) if isinstance(value := said.get(name), str))
