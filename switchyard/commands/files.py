"""`switchyard files`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from registry.days import when
from registry.words import size
from switchyard.console import actor, print_done, print_json, print_table, say
from switchyard.options import JsonFlag
from switchyard.registry_access import open_registry

if TYPE_CHECKING:
    from registry.tenant_files.infos import FileInfo

files = typer.Typer(
    add_completion=False, no_args_is_help=True, help="List, show, add and delete tenants' files; change their key."
)
TenantOption = typer.Option(..., help="Whose it is.")
READ_BYTES = 1 << 20
PAGE = 1_000


@files.command("list")
def list_files(
    tenant: str | None = typer.Option(None, help="The files of this tenant, the newest first; else how many each has."),
    limit: int = typer.Option(100, min=1, max=1_000, help="Files to show, of a tenant."),
    json_output: bool = JsonFlag,
) -> None:
    """List a tenant's files, or count those of all tenants."""
    with open_registry() as registry:
        if tenant is None:
            kept = registry.files.kept()
            if json_output:
                print_json(kept)
                return
            rows = ((one.tenant, one.files, size(one.bytes), when(one.oldest_ms)) for one in kept)
            print_table(("TENANT", "FILES", "SIZE", "OLDEST"), rows, empty="there are no files")
            return
        registry.tenants.get(tenant)
        found = registry.files.page(tenant, None, limit).files
    if json_output:
        print_json(found)
        return
    print_table(
        ("ID", "NAME", "PURPOSE", "SIZE", "MADE", "EXPIRES"),
        ((one.id, one.filename, one.purpose, size(one.bytes), when(one.created_at_ms), _expiry(one)) for one in found),
        empty=f"{tenant} has no files",
    )


@files.command("show")
def show_file(file_id: str, tenant: str = TenantOption, json_output: bool = JsonFlag) -> None:
    """Show what is known of a file, and which jobs need it."""
    with open_registry() as registry:
        info = registry.files.get(tenant, file_id)
        jobs = registry.training.unfinished_with(tenant, file_id)
    if json_output:
        print_json({"file": info, "needed_by": jobs})
        return
    say(
        f"{info.id} of {info.tenant}: {info.filename}",
        f"purpose  {info.purpose}",
        f"size     {size(info.bytes)}",
        f"digest   {info.digest}",
        f"made     {when(info.created_at_ms)}",
        f"expires  {_expiry(info)}",
        f"needed   {', '.join(jobs) or 'by no job'}",
    )


@files.command("add")
def add_file(
    path: Path = typer.Argument(..., exists=True, dir_okay=False, readable=True, help="What is stored."),
    tenant: str = TenantOption,
    purpose: str = typer.Option("fine-tune", help="fine-tune, user_data or evals."),
    json_output: bool = JsonFlag,
) -> None:
    """Store a file of this machine for a tenant, of any length: what tenants may upload is not asked."""
    with open_registry() as registry:
        info = registry.files.create(tenant, path.name, purpose, _read(path))
    print_done(info, f"{info.id}: {size(info.bytes)} of {info.filename}", json_output)


@files.command("delete")
def delete_files(
    file_ids: list[str] = typer.Argument(None, help="Which; none with --all."),
    tenant: str = TenantOption,
    all_of_them: bool = typer.Option(False, "--all", help="All of the tenant's, but those that jobs need."),
    json_output: bool = JsonFlag,
) -> None:
    """Delete files of a tenant and their bytes, for good. One that a job needs is refused until that has ended."""
    from registry.errors import InvalidInput
    from registry.tenant_files.infos import FileInUse

    if bool(file_ids) == all_of_them:
        raise InvalidInput("file_ids is to name files, or --all is to be there; give one of the two", param="file_ids")
    deleted, needed = [], []
    with open_registry() as registry:
        registry.tenants.get(tenant)
        while all_of_them:
            page = registry.files.page(tenant, file_ids[-1] if file_ids else None, PAGE, "asc")
            file_ids = [*(file_ids or ()), *(one.id for one in page.files)]
            all_of_them = page.has_more
        for file_id in file_ids:
            try:
                registry.files.delete(tenant, file_id, operator=actor())
                deleted.append(file_id)
            except FileInUse as error:
                needed.append(error.message)
    print_done(
        {"tenant": tenant, "deleted": deleted, "needed": needed},
        "\n".join([f"deleted {len(deleted)} of {tenant}", *needed]),
        json_output,
    )
    if needed:
        raise typer.Exit(1)


@files.command("reseal")
def reseal_files(json_output: bool = JsonFlag) -> None:
    """Encrypt anew, with the first key of SWITCHYARD_STORE_KEY, what was written with another one or without any."""
    with open_registry() as registry:
        changed = registry.files.resealing.reseal()
    print_done({"resealed": changed}, f"{changed} pieces and names were written anew", json_output)


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while some := file.read(READ_BYTES):
            yield some


def _expiry(info: FileInfo) -> str:
    return "never" if info.expires_at_ms is None else when(info.expires_at_ms)
