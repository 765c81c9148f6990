"""What an order is about, by the names that its address, query, body or parameters give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NAMES = ("version", "adapter", "scope", "url", "name", "tenant")
"""Fields that say what an order is about, where its address does not; the first that is there."""
MOST_CHARS = 320
MOST_TENANT_CHARS = 63


def about_of(params: Mapping[str, Any], said: Mapping[str, Any], path: str = "") -> str:
    """`acme/triage`, `acme/triage@1.1`, `acme/triage@production`, `experiments/7`, `tenant:acme`, `key-…`, an engine's
    URL; empty: it does not say. `params` are those of the address, `said` the rest.
    """
    values = [str(value) for value in params.values()]
    if "alias" in params and "adapter" in params:
        found = f"{params.get('tenant')}/{params['adapter']}@{params['alias']}"
    elif len(values) == 1 and values[0].isdecimal():  # a number says nothing without what it counts
        found = f"{path.partition(f'/{values[0]}')[0].rpartition('/')[2]}/{values[0]}"
    elif values:
        found = "/".join(values)
    else:
        found = next((value for name in NAMES if isinstance(value := said.get(name), str)), "")
    return found[:MOST_CHARS]


def tenant_of(about: str, said: Mapping[str, Any]) -> str | None:
    """Whose that is, as far as the order says; what it changes says the rest."""
    tenant = said.get("tenant")
    if not isinstance(tenant, str):
        kind, mark, rest = about.partition(":")
        if kind == "tenant" and mark:
            tenant = rest
        elif (kind == "adapter" and mark) or any(said.get(name) == about for name in ("version", "adapter")):
            tenant = (rest if kind == "adapter" and mark else about).partition("/")[0]
    return None if not tenant else tenant[:MOST_TENANT_CHARS]
