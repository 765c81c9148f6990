"""`switchyard adapters`, `switchyard tenants`, `switchyard keys`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from registry.adapters.shown import effect_of, print_published, state_of, version_fields
from registry.console import JsonFlag, actor, print_done, print_json, print_table, say, when
from registry.errors import InvalidInput, RegistryError
from registry.names import PRODUCTION, parse_ref, parse_whole_adapter

if TYPE_CHECKING:
    from registry.adapters.version_rows import VersionInfo
    from registry.service import Registry
    from registry.swaps.store import SwapInfo

adapters = typer.Typer(add_completion=False, no_args_is_help=True, help="Publish, list and promote adapter versions.")
tenants = typer.Typer(add_completion=False, no_args_is_help=True, help="Create tenants and map external model names.")
keys = typer.Typer(add_completion=False, no_args_is_help=True, help="Create, list and revoke API keys.")

Adapter = typer.Argument(help="tenant/adapter, tenant/adapter@1.0 or tenant/adapter@alias.")
AliasOption = typer.Option(PRODUCTION, "--alias", help="The alias to move.")
ReasonOption = typer.Option("", "--reason", help="Kept in the alias's history.")
TimeoutOption = typer.Option(120.0, "--timeout", help="Seconds to follow the swap before giving up watching.")


@contextmanager
def _open_registry() -> Iterator[Registry]:
    """The registry of the settings in force; its SQL library is imported only now, so that `--help` is quick."""
    from registry.service import Registry

    with Registry.open() as registry:
        yield registry


@adapters.command()
def publish(
    name: str = typer.Argument(help="tenant/adapter."),
    folder: Path = typer.Argument(help="PEFT folder with adapter_config.json and adapter_model.safetensors."),
    base: str = typer.Option(..., "--base", help="Public name or digest of the base model it was trained on."),
    json_output: bool = JsonFlag,
) -> None:
    """Inspect a sound PEFT folder and make it the adapter's next version; `import` repairs what others' lack."""
    ref = parse_whole_adapter(name)
    with _open_registry() as registry:
        published = registry.adapters.publish(
            tenant=ref.tenant, adapter=ref.adapter, folder=folder, base=base, lineage={"source": "publish"}
        )
    print_published(published, json_output)


@adapters.command("list")
def list_adapters(
    tenant: str | None = typer.Argument(None, help="Only this tenant's."), json_output: bool = JsonFlag
) -> None:
    """List versions, with the aliases that point at them."""
    with _open_registry() as registry:
        versions = registry.adapters.all(tenant)
    if json_output:
        print_json([version_fields(version) for version in versions])
        return
    print_table(
        ("VERSION", "ALIASES", "RANK", "SIZE", "BASE", "PUBLISHED", "STATE"),
        (
            (
                version.name,
                _traffic_of(version),
                version.facts["rank"],
                f"{version.facts['size_bytes'] / 1e6:.1f} MB",
                version.base_digest[7:19],
                when(version.created_at_ms),
                state_of(version),
            )
            for version in versions
        ),
        empty="no adapters yet; publish one with `switchyard adapters publish` or train one with `switchyard train`",
    )


@adapters.command()
def show(name: str = Adapter, json_output: bool = JsonFlag) -> None:
    """Show one version: digests, facts, lineage, aliases."""
    with _open_registry() as registry:
        version = registry.adapters.get(parse_ref(name))
    if json_output:
        print_json(version_fields(version))
        return
    fields = {
        "version": version.name,
        "aliases": _traffic_of(version),
        "state": f"quarantined: {version.quarantined}" if version.quarantined else state_of(version),
        "manifest": version.manifest_digest,
        "base": version.base_digest,
        "published": when(version.created_at_ms),
        "effect": effect_of(version),
        **{f"facts.{key}": value for key, value in version.facts.items()},
        **{f"lineage.{key}": value for key, value in version.lineage.items() if key != "recipe"},
    }
    print_table(("FIELD", "VALUE"), fields.items())


@adapters.command()
def promote(
    name: str = typer.Argument(help="The version to make current, tenant/adapter@1.1."),
    alias: str = AliasOption,
    reason: str = ReasonOption,
    timeout_s: float = TimeoutOption,
    allow_indistinguishable: bool = typer.Option(
        False, "--allow-indistinguishable", help="Even if its proven effect is lost in the noise."
    ),
    json_output: bool = JsonFlag,
) -> None:
    """Make a version current: load and probe it on the engines first, then move the alias; no request is dropped."""
    ref = parse_ref(name)
    with _open_registry() as registry:
        swap = registry.swaps.request(
            ref, alias=alias, actor=actor(), reason=reason, allow_indistinguishable=allow_indistinguishable
        )
        _follow_move(registry, swap, timeout_s, json_output)


@adapters.command()
def rollback(
    name: str = typer.Argument(help="tenant/adapter."),
    alias: str = AliasOption,
    reason: str = ReasonOption,
    timeout_s: float = TimeoutOption,
    json_output: bool = JsonFlag,
) -> None:
    """Take the alias's newest change back: end its split, or point it at the version before its last move."""
    ref = parse_whole_adapter(name)
    with _open_registry() as registry:
        swap = registry.swaps.request_rollback(ref, alias=alias, actor=actor(), reason=reason)
        _follow_move(registry, swap, timeout_s, json_output)


@adapters.command()
def history(name: str = Adapter, json_output: bool = JsonFlag) -> None:
    """Show every move of the adapter's aliases, and its splits."""
    with _open_registry() as registry:
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
    for split in splits:
        arms = " ".join(f"{version}={weight / 100:g}%" for version, weight in split.arms)
        say(f"split {split.id} of @{split.alias}: {arms}, {when(split.started_at_ms)} to {when(split.ended_at_ms)}")


@adapters.command()
def split(
    name: str = typer.Argument(help="tenant/adapter."),
    weights: list[str] = typer.Argument(None, help="VERSION=PERCENT of the traffic, such as 1.0=90 1.1=10."),
    alias: str = typer.Option(PRODUCTION, "--alias", help="The alias whose traffic is split."),
    end: bool = typer.Option(False, "--end", help="End the split: all traffic to the version that the alias names."),
    reason: str = typer.Option("", "--reason", help="Kept with the swap."),
    timeout_s: float = TimeoutOption,
    json_output: bool = JsonFlag,
) -> None:
    """Split an alias's traffic between versions, all of them loaded first; each conversation stays on its version."""
    ref = parse_whole_adapter(name)
    with _open_registry() as registry:
        if end:
            swap = registry.swaps.request_ramp_end(ref, alias=alias, actor=actor(), reason=reason)
        else:
            weighed = _parse_weights(weights or [])
            swap = registry.swaps.request_ramp(ref, weighed, alias=alias, actor=actor(), reason=reason)
        swap = _follow(registry, swap, timeout_s, json_output)
        changed = swap.detail.get("ended_split" if end else "split")
        info = next((split for split in registry.splits.history(ref) if split.id == changed), None)
    if json_output:
        print_json({"split": info, "swap": swap})
    elif info is not None:
        arms = ", ".join(f"{version} {weight / 100:g} %" for version, weight in info.arms)
        say(f"split {info.id} of {info.adapter}@{info.alias} {'ended' if end else 'began'}: {arms}")
    _require_done(swap, f"the traffic of {swap.adapter}@{swap.alias} goes where it went before", timeout_s)


@tenants.command("create")
def create_tenant(
    name: str,
    allow_unknown_fields: bool = typer.Option(
        False, "--allow-unknown-fields", help="Pass request fields the gateway does not know on to the engine."
    ),
    json_output: bool = JsonFlag,
) -> None:
    """Add a tenant."""
    with _open_registry() as registry:
        info = registry.tenants.create(name, allow_unknown_fields=allow_unknown_fields, actor=actor())
    print_json(info) if json_output else say(f"created tenant {name}; give it a key: switchyard keys create {name}")


@tenants.command("list")
def list_tenants(json_output: bool = JsonFlag) -> None:
    """List tenants and their external model names."""
    with _open_registry() as registry:
        infos = registry.tenants.all()
    if json_output:
        print_json(infos)
        return
    print_table(
        ("TENANT", "UNKNOWN FIELDS", "EXTERNAL MODELS", "CREATED"),
        (
            (
                info.name,
                "pass" if info.allow_unknown_fields else "refused",
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
    allow_unknown_fields: bool = typer.Option(
        ..., "--allow-unknown-fields/--refuse-unknown-fields", help="What happens to request fields not known here."
    ),
    json_output: bool = JsonFlag,
) -> None:
    """Change a tenant's settings."""
    with _open_registry() as registry:
        info = registry.tenants.set_allow_unknown_fields(name, allow_unknown_fields, actor=actor())
        registry.wait_until_served()
    sentence = f"tenant {name}: unknown request fields {'pass' if allow_unknown_fields else 'are refused'}"
    print_done(info, sentence, json_output)


@tenants.command("map")
def map_model(
    tenant: str,
    external: str = typer.Argument(help="The name that the tenant's code sends, such as gpt-4o-mini-2024-07-18."),
    target: str = typer.Argument(help="An adapter of the tenant (optionally @version or @alias) or a base model."),
    json_output: bool = JsonFlag,
) -> None:
    """Let an external model name stand for an adapter, so that client code changes only `base_url`."""
    with _open_registry() as registry:
        registry.model_names.map(tenant, external, target, actor=actor())
        registry.wait_until_served()
    document = {"tenant": tenant, "external": external, "target": target}
    print_done(document, f"{tenant}: {external} → {target}", json_output)


@tenants.command("unmap")
def unmap_model(tenant: str, external: str, json_output: bool = JsonFlag) -> None:
    """Forget an external model name."""
    with _open_registry() as registry:
        registry.model_names.unmap(tenant, external, actor=actor())
        registry.wait_until_served()
    document = {"tenant": tenant, "external": external, "target": None}
    print_done(document, f"{tenant}: {external} is no longer mapped", json_output)


@keys.command("create")
def create_key(
    tenant: str,
    label: str = typer.Option("", "--label", help="For people to tell keys apart."),
    scope: list[str] = typer.Option(
        ["inference"], "--scope", help="inference (the tenant's adapters), base (base models by name); repeatable."
    ),
    json_output: bool = JsonFlag,
) -> None:
    """Make a key and print it, once: it is stored only as a hash."""
    with _open_registry() as registry:
        key = registry.tenants.create_key(tenant, label=label, scopes=tuple(scope), actor=actor())
        registry.wait_until_served()
    if json_output:
        print_json(key)
        return
    say(key.secret, "", f"id {key.id}, scopes {', '.join(key.scopes)}. Keep it: it cannot be shown again.")


@keys.command("list")
def list_keys(tenant: str | None = typer.Argument(None), json_output: bool = JsonFlag) -> None:
    """List keys, without their secrets."""
    with _open_registry() as registry:
        infos = registry.tenants.list_keys(tenant)
    if json_output:
        print_json(infos)
        return
    print_table(
        ("ID", "TENANT", "KEY", "LABEL", "SCOPES", "CREATED", "REVOKED"),
        (
            (
                info.id,
                info.tenant,
                info.shown,
                info.label or None,
                ", ".join(info.scopes),
                when(info.created_at_ms),
                when(info.revoked_at_ms),
            )
            for info in infos
        ),
        empty="no keys yet; create one with `switchyard keys create TENANT`",
    )


@keys.command("revoke")
def revoke_key(key_id: str, json_output: bool = JsonFlag) -> None:
    """End a key; gateways refuse it within a second."""
    with _open_registry() as registry:
        registry.tenants.revoke_key(key_id, actor=actor())
        registry.wait_until_served()
    print_done({"id": key_id, "revoked": True}, f"revoked {key_id}", json_output)


def _parse_weights(texts: list[str]) -> dict[str, int]:
    weights = {}
    for text in texts:
        version, _, percent = text.partition("=")
        if version in weights:
            raise InvalidInput(f"{version} is given twice; name every version once", param="weights")
        try:
            weights[version] = round(float(percent.removesuffix("%")) * 100)
        except (ValueError, OverflowError):
            raise InvalidInput(
                f"weight is {text!r}; expected VERSION=PERCENT such as 1.1=10", param="weights"
            ) from None
    return weights


def _traffic_of(version: VersionInfo) -> str | None:
    """`canary, production 10 %`: the aliases that point here, and those of which a split sends a share."""
    names = sorted({*version.aliases, *version.shares})
    return ", ".join(f"{name} {version.shares[name]:g} %" if name in version.shares else name for name in names) or None


def _follow(registry: Registry, swap: SwapInfo, timeout_s: float, json_output: bool) -> SwapInfo:
    """The swap at its end, or as far as it came in time; each of its states is printed for people as it comes."""
    from registry.swaps.following import follow

    def tell(swap: SwapInfo) -> None:
        say(f"{swap.adapter}@{swap.alias} → {swap.goal}: {swap.state}")

    swap = follow(registry, swap, timeout_s, (lambda swap: None) if json_output else tell)
    if not json_output and "note" in swap.detail:
        say(swap.detail["note"])
    return swap


def _follow_move(registry: Registry, swap: SwapInfo, timeout_s: float, json_output: bool) -> None:
    """See a promote or rollback through; exit status 1 when it failed or did not finish in time."""
    swap = _follow(registry, swap, timeout_s, json_output)
    if json_output:
        print_json(swap)
    elif swap.detail.get("ended_split"):
        say(f"split {swap.detail['ended_split']} of the alias ended: all of its traffic goes to this version")
    failed = f"{swap.to_version} was not promoted" if swap.kind == "move" else "the split was not ended"
    _require_done(swap, failed, timeout_s)


def _require_done(swap: SwapInfo, failure: str, timeout_s: float) -> None:
    from registry.swaps.store import DONE, FAILED

    if swap.state == FAILED:
        raise RegistryError(f"{failure}: {swap.detail.get('error', 'unknown reason')}")
    if swap.state != DONE:
        raise RegistryError(
            f"swap {swap.id} is still {swap.state!r} after {timeout_s:g} s; the gateway goes on with it"
        )
