"""`switchyard operators`."""

from __future__ import annotations

from typing import cast

import typer

from registry.days import day_ms, when
from switchyard.console import actor, print_done, print_json, print_table, say
from switchyard.options import JsonFlag
from switchyard.registry_access import open_registry

operators = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Create, list and revoke keys of people and programs that operate this.",
)


@operators.command("add")
def add_operator(
    name: str = typer.Argument(help="Whose key it is; one name may have several."),
    role: str = typer.Option(help="read (sees everything, changes nothing) or operate (orders too)."),
    expires: str | None = typer.Option(
        None, "--expires", help="First day on which it opens nothing more, YYYY-MM-DD (UTC); default: it has no end."
    ),
    json_output: bool = JsonFlag,
) -> None:
    """Make a key for /admin/v1, /metrics, /docs and the dashboard, and print it, once: it is stored only as a hash."""
    from registry.operators.store import Role

    until_ms = None if expires is None else day_ms(expires, "expires")
    with open_registry() as registry:
        made = registry.operators.add(name, cast("Role", role), actor=actor(), expires_at_ms=until_ms)
        if json_output:  # before anything else can fail
            print_json({"secret": made.secret, "operator": made.info})
        else:
            say(made.secret, "", f"id {made.info.id}, role {role}. Keep it: it cannot be shown again.")
        registry.wait_until_served()


@operators.command("list")
def list_operators(json_output: bool = JsonFlag) -> None:
    """List operators' keys, without their secrets."""
    with open_registry() as registry:
        infos = registry.operators.page(None, None)
    if json_output:
        print_json(infos)
        return
    print_table(
        ("ID", "NAME", "ROLE", "KEY", "MADE BY", "CREATED", "EXPIRES", "REVOKED"),
        (
            (
                info.id,
                info.name,
                info.role,
                info.shown,
                info.made_by,
                when(info.created_at_ms),
                when(info.expires_at_ms),
                when(info.revoked_at_ms),
            )
            for info in infos
        ),
        empty="no operator has a key of its own; `switchyard operators add NAME --role read` makes one",
    )


@operators.command("revoke")
def revoke_operator(key_id: str, json_output: bool = JsonFlag) -> None:
    """End an operator's key; gateways refuse it within a second."""
    with open_registry() as registry:
        registry.operators.revoke(key_id)
        registry.wait_until_served()
    print_done({"id": key_id, "revoked": True}, f"revoked {key_id}", json_output)
