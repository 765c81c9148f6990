"""`switchyard tenants`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from registry.days import when
from switchyard.console import StepBar, actor, ask, print_done, print_json, print_table, say
from switchyard.options import JsonFlag
from switchyard.registry_access import open_registry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registry.deletion.store import Deletion
    from registry.service import Registry
    from registry.tenants.store import TenantInfo, TenantSettings

DEFAULT = "default"
tenants = typer.Typer(add_completion=False, no_args_is_help=True, help="Create tenants and map external model names.")


@tenants.command("create")
def create_tenant(
    name: str,
    allow_unknown_fields: bool = typer.Option(
        False, "--allow-unknown-fields", help="Pass request fields the gateway does not know on to the engine."
    ),
    json_output: bool = JsonFlag,
) -> None:
    """Add a tenant."""
    with open_registry() as registry:
        info = registry.tenants.create(name, allow_unknown_fields=allow_unknown_fields, actor=actor())
    print_json(info) if json_output else say(f"created tenant {name}; give it a key: switchyard keys create {name}")


@tenants.command("list")
def list_tenants(json_output: bool = JsonFlag) -> None:
    """List tenants and their external model names."""
    with open_registry() as registry:
        infos = registry.tenants.all()
    if json_output:
        print_json(infos)
        return
    print_table(
        ("TENANT", "UNKNOWN FIELDS", "RESPONSES KEPT", "EXTERNAL MODELS", "CREATED"),
        (
            (
                info.name,
                "pass" if info.allow_unknown_fields else "refused",
                None if info.response_days is None else f"{info.response_days} days",
                ", ".join(f"{external} → {target}" for external, target in info.models.items()) or None,
                when(info.created_at_ms),
            )
            for info in infos
        ),
        empty="no tenants yet; create one with `switchyard tenants create NAME`",
    )


@tenants.command("set")
def set_tenant(
    name: str,
    allow_unknown_fields: bool | None = typer.Option(
        None, "--allow-unknown-fields/--refuse-unknown-fields", help="What happens to request fields not known here."
    ),
    response_days: str | None = typer.Option(
        None,
        help="How many days its responses and conversations are kept; 0: never stored; default: as the gateway's "
        "setting.",
    ),
    max_stored_records: str | None = typer.Option(
        None,
        help="Most responses, conversations and items of conversations that are kept for it; default: as the "
        "gateway's setting.",
    ),
    max_stored_bytes: str | None = typer.Option(None, help="Likewise, their bytes in the database."),
    shadow_consent: bool | None = typer.Option(
        None,
        "--shadow-consent/--no-shadow-consent",
        help="Whether its requests may be copied to a candidate version; when not any more, the texts of what was "
        "copied are deleted.",
    ),
    pair_days: str | None = typer.Option(
        None,
        help="How many days the texts of copied requests are kept; 0: only figures are; default: as the gateway's "
        "setting.",
    ),
    weight: int | None = typer.Option(
        None,
        help="Its share of engines that are full, 1 to 1000: a tenant with 2 gets twice what one with 1 does, while "
        "both have requests that wait.",
    ),
    json_output: bool = JsonFlag,
) -> None:
    """Change those of a tenant's settings that are named."""
    settings: TenantSettings = {}
    if allow_unknown_fields is not None:
        settings["allow_unknown_fields"] = allow_unknown_fields
    if response_days is not None:
        settings["response_days"] = _number(response_days)
    if max_stored_records is not None:
        settings["max_stored_records"] = _number(max_stored_records)
    if max_stored_bytes is not None:
        settings["max_stored_bytes"] = _number(max_stored_bytes)
    if shadow_consent is not None:
        settings["shadow_consent"] = shadow_consent
    if pair_days is not None:
        settings["pair_days"] = _number(pair_days)
    if weight is not None:
        settings["weight"] = weight
    if not settings:
        raise typer.BadParameter(
            "name a setting: --allow-unknown-fields, --refuse-unknown-fields, --response-days, --max-stored-records, "
            "--max-stored-bytes, --shadow-consent, --no-shadow-consent, --pair-days or --weight"
        )
    with open_registry() as registry:
        info = registry.tenants.change(name, settings, actor=actor())
        registry.wait_until_served()
    print_done(info, _settings_of(info), json_output)


def _settings_of(info: TenantInfo) -> str:
    unknown = "pass" if info.allow_unknown_fields else "are refused"
    sentence = f"tenant {info.name}: unknown request fields {unknown}, responses are kept {_kept(info.response_days)}"
    for most, what in ((info.max_stored_records, "records"), (info.max_stored_bytes, "bytes")):
        sentence += f", at most {most} {what}" if most is not None else ""
    sentence += f"; its requests {'may' if info.shadow_consent else 'may not'} be copied to candidates"
    if info.shadow_consent:
        sentence += f", whose texts are kept {_kept(info.pair_days)}"
    return f"{sentence}; its weight at full engines is {info.weight}"


def _number(given: str) -> int | None:
    """`None` for `default`."""
    if given == DEFAULT:
        return None
    if not (given.isascii() and given.isdigit()):
        raise typer.BadParameter(f"{given!r} is no whole number; expected 0 or more, or {DEFAULT}")
    return int(given)


def _kept(days: int | None) -> str:
    if days is None:
        return "as long as the gateway's setting says"
    return f"{days} days" if days else "never"


@tenants.command("delete")
def delete_tenant(
    name: str,
    yes: bool = typer.Option(False, "--yes", help="Do not ask for the name to be typed."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Say what would go, and do nothing."),
    json_output: bool = JsonFlag,
) -> None:
    """Delete a tenant with all that is its own; usage, prices, certificates and decisions stay in the books.

    Its keys end at once, and nobody gets its name again. A command that is stopped half-way goes on when it is given
    again; so does a running gateway.
    """
    with open_registry() as registry:
        found = registry.deletions.look(name)
        if dry_run:
            print_done(found, _would_go(found), json_output)
            return
        if not yes and found.deleted_at_ms is None:
            say(_would_go(found), err=True)
            typed = ask(f"This cannot be undone. Type {name} to delete the tenant:")
            if typed != name:
                raise typer.BadParameter(f"{typed!r} was typed, and not {name!r}; nothing was deleted")
        registry.deletions.order(name, actor=actor())
        registry.wait_until_served()
        left = registry.deletions.look(name)
        removed = _emptied(registry, name, sum(left.left.values()))
    document = {"tenant": name, "deleted_at_ms": left.deleted_at_ms, "removed": removed}
    print_done(document, f"deleted tenant {name}{_and(removed)}; the books stay", json_output)


def _would_go(found: Deletion) -> str:
    keys = f"{found.keys_in_force} key{'' if found.keys_in_force == 1 else 's'}"
    if found.deleted_at_ms is None:
        return f"tenant {found.tenant} would be deleted, with {keys}{_and(found.left)}; the books stay"
    return (
        f"tenant {found.tenant} is deleted since {when(found.deleted_at_ms)}{_and(found.left) or ', nothing is left'}"
    )


def _and(counts: Mapping[str, int]) -> str:
    return "".join(f", {count} {what}" for what, count in counts.items())


def _emptied(registry: Registry, name: str, total: int) -> dict[str, int]:
    bar, removed, done = StepBar(), dict[str, int](), 0
    try:
        for step in registry.deletions.empty(name):
            if step.what:
                removed[step.what] = removed.get(step.what, 0) + step.count
                done += step.count
            if bar.shows:
                bar.update(min(done, total), total, step.what)
    finally:
        bar.end()
    return removed


@tenants.command("map")
def map_model(
    tenant: str,
    external: str = typer.Argument(help="The name that the tenant's code sends, such as gpt-4o-mini-2024-07-18."),
    target: str = typer.Argument(help="An adapter of the tenant (optionally @version or @alias) or a base model."),
    json_output: bool = JsonFlag,
) -> None:
    """Let an external model name stand for an adapter, so that client code changes only `base_url`."""
    with open_registry() as registry:
        registry.model_names.map(tenant, external, target, actor=actor())
        registry.wait_until_served()
    document = {"tenant": tenant, "external": external, "target": target}
    print_done(document, f"{tenant}: {external} → {target}", json_output)


@tenants.command("unmap")
def unmap_model(tenant: str, external: str, json_output: bool = JsonFlag) -> None:
    """Forget an external model name."""
    with open_registry() as registry:
        registry.model_names.unmap(tenant, external, actor=actor())
        registry.wait_until_served()
    document = {"tenant": tenant, "external": external, "target": None}
    print_done(document, f"{tenant}: {external} is no longer mapped", json_output)
