"""`switchyard webhooks`: addresses that are told what became of tenants' jobs, over the admin API."""

from __future__ import annotations

import typer

from registry.days import when
from switchyard.console import actor, print_done, print_json, print_table, say
from switchyard.options import JsonFlag, UrlOption

EndpointId = typer.Argument(help="The id that `webhooks list` shows.")

webhooks = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Addresses that are told what became of tenants' jobs."
)


@webhooks.command()
def create(
    tenant: str,
    address: str = typer.Argument(help="https://host/path."),
    name: str = typer.Option("webhook", "--name", help="For people."),
    event_type: list[str] | None = typer.Option(
        None,
        "--event-type",
        help="Such as fine_tuning.job.succeeded, .failed, .cancelled, experiment.decision or cost.anomaly; repeatable. "
        "Default: all.",
    ),
    url: str | None = UrlOption,
    json_output: bool = JsonFlag,
) -> None:
    """Add an address and print its secret, once."""
    from gateway.admin_client import admin_client

    chosen = {"event_types": event_type} if event_type else {}
    with admin_client(url) as admin:
        made = admin.post("/webhooks", tenant=tenant, url=address, name=name, actor=actor(), **chosen)
    if json_output:
        print_json(made)
        return
    say(made["secret"], "", f"id {made['endpoint']['id']}. Keep the secret: it cannot be shown again.")


@webhooks.command("list")
def list_webhooks(
    tenant: str | None = typer.Argument(None, help="Only this tenant's."),
    url: str | None = UrlOption,
    json_output: bool = JsonFlag,
) -> None:
    """List addresses, and how the last delivery to each went."""
    from gateway.admin_client import admin_client

    with admin_client(url) as admin:
        found = [one for one in admin.pages("/webhooks", "webhooks")["webhooks"] if tenant in (None, one["tenant"])]
    if json_output:
        print_json(found)
        return
    print_table(
        ("ID", "TENANT", "NAME", "URL", "SECRET", "LAST", "FAULT"),
        (
            (
                one["id"],
                one["tenant"],
                one["name"],
                one["url"],
                one["hint"],
                when(one["tried_at_ms"]),
                one["fault"],
            )
            for one in found
        ),
        empty="no webhook; `switchyard webhooks create TENANT https://host/path` makes one, and tenants may themselves",
    )


@webhooks.command()
def rotate(
    endpoint_id: str = EndpointId,
    keep_old: bool = typer.Option(False, "--keep-old", help="Let the old secret sign too, for 24 hours."),
    url: str | None = UrlOption,
    json_output: bool = JsonFlag,
) -> None:
    """Give an address a new secret and print it, once."""
    from gateway.admin_client import admin_client

    with admin_client(url) as admin:
        made = admin.post(f"/webhooks/{endpoint_id}/rotate", keep_old=keep_old, actor=actor())
    if json_output:
        print_json(made)
        return
    say(made["secret"], "", "Keep it: it cannot be shown again.")


@webhooks.command()
def delete(endpoint_id: str = EndpointId, url: str | None = UrlOption, json_output: bool = JsonFlag) -> None:
    """Delete an address with what it is still to be told."""
    from gateway.admin_client import admin_client

    with admin_client(url) as admin:
        gone = admin.delete(f"/webhooks/{endpoint_id}", actor=actor())
    print_done(gone, f"deleted {gone['id']} of {gone['tenant']}", json_output)
