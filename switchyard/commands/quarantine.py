"""`switchyard quarantine`: versions that no engine may have, over the admin API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from switchyard.console import print_done, print_json, print_table
from switchyard.options import JsonFlag, UrlOption

Version = typer.Argument(help="tenant/adapter@1.0.")

quarantine = typer.Typer(add_completion=False, no_args_is_help=True, help="Versions that no engine may have.")


@quarantine.command("list")
def list_quarantined(url: str | None = UrlOption, json_output: bool = JsonFlag) -> None:
    """List versions in quarantine, and why."""
    from gateway.admin_client import admin_client

    with admin_client(url) as admin:
        found = admin.get("/quarantine")["quarantined"]
    if json_output:
        print_json(found)
        return
    print_table(
        ("VERSION", "ALIASES", "REASON"),
        ((one["version"], ", ".join(one["aliases"]) or None, one["reason"]) for one in found),
        empty="no version is in quarantine",
    )


@quarantine.command()
def put(
    version: str = Version,
    reason: str = typer.Option(..., "--reason", help="Why; the tenant's clients get to read it."),
    url: str | None = UrlOption,
    json_output: bool = JsonFlag,
) -> None:
    """Keep a version from every engine: its requests get a 503 with the reason."""
    from gateway.admin_client import admin_client

    with admin_client(url) as admin:
        done = admin.post("/quarantine", version=version, reason=reason)
    print_done(done, f"{done['version']} is in quarantine{_pending(done)}", json_output)


@quarantine.command()
def release(version: str = Version, url: str | None = UrlOption, json_output: bool = JsonFlag) -> None:
    """Let a version be served again; the engine that loads it must prove it anew."""
    from gateway.admin_client import admin_client

    with admin_client(url) as admin:
        done = admin.post("/quarantine/release", version=version)
    said = "is released" if done["changed"] else "was not in quarantine"
    print_done(done, f"{done['version']} {said}{_pending(done)}", json_output)


def _pending(done: Mapping[str, Any]) -> str:
    return "" if done["in_force"] else "; not every gateway worker has it in force yet"
