"""`switchyard responses`."""

from __future__ import annotations

from dataclasses import asdict

import typer

from registry.days import DAY_MS, when
from switchyard.console import actor, print_done, print_json, print_table
from switchyard.options import JsonFlag
from switchyard.registry_access import open_registry

responses = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Show and delete what is stored of tenants' Responses; change their key.",
)


@responses.command("list")
def list_responses(
    tenant: str | None = typer.Option(None, help="Only of this tenant."), json_output: bool = JsonFlag
) -> None:
    """Count stored responses by tenant, and all records with the bytes that they take: responses, conversations and
    their items.
    """
    with open_registry() as registry:
        if tenant is not None:
            registry.tenants.get(tenant)
        kept = registry.responses.kept(tenant)
        most = {info.name: info for info in registry.tenants.all()}
    if json_output:
        print_json(
            [
                {
                    **asdict(one),
                    "max_records": most[one.tenant].max_stored_records,
                    "max_bytes": most[one.tenant].max_stored_bytes,
                }
                for one in kept
            ]
        )
        return
    print_table(
        ("TENANT", "RESPONSES", "RECORDS", "BYTES", "OLDEST RESPONSE", "NEWEST"),
        (
            (
                one.tenant,
                one.responses,
                _of(one.records, most[one.tenant].max_stored_records),
                _of(one.bytes, most[one.tenant].max_stored_bytes),
                one.oldest_ms and when(one.oldest_ms),
                one.newest_ms and when(one.newest_ms),
            )
            for one in kept
        ),
        empty="nothing is stored",
    )


def _of(number: int, most: int | None) -> str:
    """With what the tenant may have, if that is its own setting."""
    return str(number) if most is None else f"{number} of {most}"


@responses.command("delete")
def delete_responses(
    tenant: str = typer.Option(..., help="Whose they are."),
    older_than_days: int = typer.Option(0, min=0, help="Only what is older; 0: all of it."),
    json_output: bool = JsonFlag,
) -> None:
    """Delete a tenant's stored responses and conversations, for good."""
    from registry.db import now_ms

    with open_registry() as registry:
        before_ms = now_ms() - older_than_days * DAY_MS if older_than_days else None
        deleted = registry.retention.delete(tenant, before_ms, actor=actor())
    print_done({"tenant": tenant, "deleted": deleted}, f"deleted {deleted} of {tenant}", json_output)


@responses.command("reseal")
def reseal_responses(json_output: bool = JsonFlag) -> None:
    """Encrypt anew, with the first key of SWITCHYARD_STORE_KEY, what was written with another one or without any."""
    with open_registry() as registry:
        changed = sum(
            one.reseal() for one in (registry.retention, registry.pairs, registry.outcome_retention, registry.ballots)
        )
    print_done({"resealed": changed}, f"{changed} values were written anew; the others were as they are", json_output)
