"""`switchyard attention`: what needs a person's decision, over the admin API."""

from __future__ import annotations

import typer

from registry.days import when
from switchyard.console import print_json, say
from switchyard.options import JsonFlag, UrlOption


def attention(
    tenant: str | None = typer.Option(None, "--tenant", help="Only what is this tenant's."),
    url: str | None = UrlOption,
    json_output: bool = JsonFlag,
) -> None:
    """Show what is wrong or waits for somebody, with what to do; exit status 1 when something is to be acted on."""
    from gateway.admin_client import admin_client

    with admin_client(url) as admin:
        found = admin.get("/attention", tenant=tenant, limit=1_000)
    if json_output:
        print_json(found)
    elif not found["items"]:
        say("nothing needs a decision")
    else:
        for item in found["items"]:
            since = "" if item["since_ms"] is None else f" (since {when(item['since_ms'])})"
            say(f"{item['severity'].upper():<6} {item['said']}{since}", f"       → {item['remedy']}")
            if item["command"] is not None:
                say(f"       $ {item['command']}")
    if found["act"]:
        raise typer.Exit(1)
