"""`switchyard adapters`: publish, list, show, history; the other commands of the group have files of their own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from registry.days import when
from registry.names import parse_ref, parse_whole_adapter
from registry.words import size
from switchyard.commands.adapters_diff import diff
from switchyard.commands.adapters_export import export
from switchyard.commands.adapters_import import import_
from switchyard.commands.adapters_metrics import metrics
from switchyard.commands.adapters_move import promote, rollback, split
from switchyard.commands.adapters_prove import prove
from switchyard.commands.adapters_why import why
from switchyard.commands.versions import effect_of, print_published, state_of, traffic_of, version_fields
from switchyard.console import print_json, print_table, say
from switchyard.options import JsonFlag
from switchyard.registry_access import open_registry

if TYPE_CHECKING:
    from registry.service import Registry

adapters = typer.Typer(add_completion=False, no_args_is_help=True, help="Publish, list and promote adapter versions.")

Adapter = typer.Argument(help="tenant/adapter, tenant/adapter@1.0 or tenant/adapter@alias.")


@adapters.command()
def publish(
    name: str = typer.Argument(help="tenant/adapter."),
    folder: Path = typer.Argument(help="PEFT folder with adapter_config.json and adapter_model.safetensors."),
    base: str = typer.Option(..., "--base", help="Public name or digest of the base model it was trained on."),
    json_output: bool = JsonFlag,
) -> None:
    """Inspect a sound PEFT folder and make it the adapter's next version; `import` repairs what others' lack."""
    ref = parse_whole_adapter(name)
    with open_registry() as registry:
        published = registry.adapters.publish(
            tenant=ref.tenant, adapter=ref.adapter, folder=folder, base=base, lineage={"source": "publish"}
        )
    print_published(published, json_output)


@adapters.command("list")
def list_adapters(
    tenant: str | None = typer.Argument(None, help="Only this tenant's."), json_output: bool = JsonFlag
) -> None:
    """List versions, with the aliases that point at them."""
    with open_registry() as registry:
        versions = registry.adapters.all(tenant)
        gates = registry.gates.standings()
        bases = _base_names(registry)
    if json_output:
        print_json([{**version_fields(version), "gate": gates.get(version.id)} for version in versions])
        return
    print_table(
        ("VERSION", "ALIASES", "RANK", "SIZE", "BASE", "PUBLISHED", "GATE", "STATE"),
        (
            (
                version.name,
                traffic_of(version),
                version.facts["rank"],
                size(version.facts["size_bytes"]),
                bases.get(version.base_digest, version.base_digest[7:19]),
                when(version.created_at_ms),
                gates.get(version.id),
                state_of(version),
            )
            for version in versions
        ),
        empty="no adapters yet; publish one with `switchyard adapters publish` or train one with `switchyard train`",
    )


@adapters.command()
def show(name: str = Adapter, json_output: bool = JsonFlag) -> None:
    """Show one version: digests, facts, lineage, aliases."""
    with open_registry() as registry:
        version = registry.adapters.get(parse_ref(name))
        gate = registry.gates.standings([version.id]).get(version.id)
        bases = _base_names(registry)
        ways_back = registry.swaps.ways_back(parse_ref(name))
    back = {alias: way for alias, way in ways_back.items() if alias in version.aliases}
    if json_output:
        print_json({**version_fields(version), "gate": gate, "ways_back": back})
        return
    fields = {
        "version": version.name,
        "aliases": traffic_of(version),
        "state": f"quarantined: {version.quarantined}" if version.quarantined else state_of(version),
        "manifest": version.manifest_digest,
        "base": ", ".join(filter(None, (bases.get(version.base_digest), version.base_digest))),
        "published": when(version.created_at_ms),
        "effect": effect_of(version),
        "gate": gate,
        **{f"rollback of {alias}": f"to {way.back_to}" if way.back_to else way.why_not for alias, way in back.items()},
        **{f"facts.{key}": value for key, value in version.facts.items()},
        **{f"lineage.{key}": value for key, value in version.lineage.items() if key != "recipe"},
    }
    print_table(("FIELD", "VALUE"), fields.items())


def _base_names(registry: Registry) -> dict[str, str]:
    """Digest → public name."""
    return {one.digest: one.name for one in registry.bases.all()}


@adapters.command()
def history(name: str = Adapter, json_output: bool = JsonFlag) -> None:
    """Show every move of the adapter's aliases, and its splits."""
    with open_registry() as registry:
        ref = parse_ref(name)
        moves = registry.adapters.history(ref)
        splits = registry.splits.history(ref)
    if json_output:
        print_json({"moves": moves, "splits": splits})
        return
    print_table(
        ("AT", "ALIAS", "FROM", "TO", "BY", "REASON"),
        ((when(move.at_ms), move.alias, move.from_version, move.to_version, move.actor, move.reason) for move in moves),
        empty="no alias of this adapter was ever moved",
    )
    for one in splits:
        arms = " ".join(f"{version}={weight / 100:g}%" for version, weight in one.arms)
        say(f"split {one.id} of @{one.alias}: {arms}, {when(one.started_at_ms)} to {when(one.ended_at_ms)}")


adapters.command()(promote)
adapters.command()(rollback)
adapters.command()(split)
adapters.command("import")(import_)
adapters.command()(prove)
adapters.command()(diff)
adapters.command()(export)
adapters.command()(why)
adapters.add_typer(metrics, name="metrics")
