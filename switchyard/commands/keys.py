"""`switchyard keys`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from registry.days import day_ms, when
from switchyard.console import actor, print_done, print_json, print_table, say
from switchyard.options import JsonFlag
from switchyard.registry_access import open_registry

if TYPE_CHECKING:
    from registry.tenants.store import NewKey

keys = typer.Typer(add_completion=False, no_args_is_help=True, help="Create, list, rotate and revoke API keys.")


@keys.command("create")
def create_key(
    tenant: str,
    label: str = typer.Option("", "--label", help="For people to tell keys apart."),
    scope: list[str] = typer.Option(
        ["inference", "training"],
        "--scope",
        help="inference (the tenant's adapters), base (base models by name), training (files and fine-tuning); "
        "repeatable.",
    ),
    expires: str | None = typer.Option(
        None, "--expires", help="First day on which it opens nothing more, YYYY-MM-DD (UTC); default: it has no end."
    ),
    adapter: list[str] = typer.Option(
        [], "--adapter", help="The only adapter that it opens, as adapter or tenant/adapter; repeatable. Default: all."
    ),
    json_output: bool = JsonFlag,
) -> None:
    """Make a key and print it, once: it is stored only as a hash."""
    until_ms = None if expires is None else day_ms(expires, "expires")
    with open_registry() as registry:
        key = registry.tenants.create_key(
            tenant,
            label=label,
            scopes=tuple(scope),
            expires_at_ms=until_ms,
            adapters=adapter or None,
            actor=actor(),
        )
        _show_once(key, json_output)
        registry.wait_until_served()


@keys.command("rotate")
def rotate_key(
    key_id: str,
    keep_old: int = typer.Option(
        0, "--keep-old", min=0, max=2_160, help="Hours for which the old key goes on beside the new one."
    ),
    json_output: bool = JsonFlag,
) -> None:
    """Make a key like this one and print it, once; this one ends, at once or after so many hours."""
    with open_registry() as registry:
        key = registry.tenants.rotate_key(key_id, keep_old_s=keep_old * 3_600, actor=actor())
        _show_once(key, json_output)
        registry.wait_until_served()
        old = registry.tenants.get_key(key_id)
    if not json_output:
        say(
            f"The old key {key_id} works until {when(old.expires_at_ms)}."
            if keep_old
            else f"The old key {key_id} is revoked."
        )


def _show_once(key: NewKey, json_output: bool) -> None:
    """Before anything else can fail."""
    if json_output:
        print_json(key)
        return
    say(key.secret, "", f"id {key.id}, scopes {', '.join(key.scopes)}. Keep it: it cannot be shown again.")


@keys.command("list")
def list_keys(tenant: str | None = typer.Argument(None), json_output: bool = JsonFlag) -> None:
    """List keys, without their secrets."""
    with open_registry() as registry:
        infos = registry.tenants.list_keys(tenant)
    if json_output:
        print_json(infos)
        return
    print_table(
        ("ID", "TENANT", "KEY", "LABEL", "SCOPES", "ADAPTERS", "CREATED", "EXPIRES", "REVOKED"),
        (
            (
                info.id,
                info.tenant,
                info.shown,
                info.label or None,
                ", ".join(info.scopes),
                "all" if info.adapters is None else ", ".join(info.adapters),
                when(info.created_at_ms),
                when(info.expires_at_ms),
                when(info.revoked_at_ms),
            )
            for info in infos
        ),
        empty="no keys yet; create one with `switchyard keys create TENANT`",
    )


@keys.command("revoke")
def revoke_key(key_id: str, json_output: bool = JsonFlag) -> None:
    """End a key; gateways refuse it within a second."""
    with open_registry() as registry:
        registry.tenants.revoke_key(key_id, actor=actor())
        registry.wait_until_served()
    print_done({"id": key_id, "revoked": True}, f"revoked {key_id}", json_output)
