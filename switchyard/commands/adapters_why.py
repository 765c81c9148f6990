"""`switchyard adapters why`: why an adapter takes no traffic, over the admin API."""

from __future__ import annotations

import typer

from registry.names import parse_ref
from switchyard.console import print_json, say
from switchyard.options import JsonFlag, UrlOption


def why(
    name: str = typer.Argument(metavar="ADAPTER", help="tenant/adapter."),
    url: str | None = UrlOption,
    json_output: bool = JsonFlag,
) -> None:
    """Say why an adapter takes no traffic, and what to do; exit status 1 when requests for it fail."""
    from gateway.admin_client import admin_client

    adapter = parse_ref(name).adapter_name
    with admin_client(url) as admin:
        reasons = admin.get(f"/adapters/{adapter}")["quiet"]
    if json_output:
        print_json(reasons)
    elif not reasons:
        say(f"nothing stands in the way of requests for {adapter}")
    else:
        for one in reasons:
            say(f"{one['severity'].upper():<5} {one['sentence']}", f"      → {one['remedy']}")
    if any(one["severity"] == "bad" for one in reasons):
        raise typer.Exit(1)
