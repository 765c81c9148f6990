"""`switchyard adapters promote`, `rollback` and `split`: what moves traffic, followed to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from registry.errors import InvalidInput
from registry.names import PRODUCTION, parse_ref, parse_whole_adapter
from switchyard.commands.following import follow_swap, require_done
from switchyard.console import actor, print_json, say
from switchyard.options import JsonFlag
from switchyard.registry_access import open_registry

if TYPE_CHECKING:
    from registry.service import Registry
    from registry.swaps.infos import SwapInfo

AliasOption = typer.Option(PRODUCTION, "--alias", help="The alias to move.")
ReasonOption = typer.Option("", "--reason", help="Kept in the alias's history.")
OverrideOption = typer.Option(
    None, "--override", help="Why it may pass the alias's gate without a certificate; kept in the list of actions."
)
TimeoutOption = typer.Option(120.0, "--timeout", help="Seconds to follow the swap before giving up watching.")


def promote(
    name: str = typer.Argument(help="The version to make current, tenant/adapter@1.1."),
    alias: str = AliasOption,
    reason: str = ReasonOption,
    timeout_s: float = TimeoutOption,
    allow_indistinguishable: bool = typer.Option(
        False, "--allow-indistinguishable", help="Even if its proven effect is lost in the noise."
    ),
    override: str | None = OverrideOption,
    json_output: bool = JsonFlag,
) -> None:
    """Make a version current: load and probe it on the engines first, then move the alias; no request is dropped."""
    ref = parse_ref(name)
    with open_registry() as registry:
        swap = registry.swaps.request(
            ref,
            alias=alias,
            actor=actor(),
            reason=reason,
            allow_indistinguishable=allow_indistinguishable,
            override=override,
        )
        _follow_move(registry, swap, timeout_s, json_output)


def rollback(
    name: str = typer.Argument(help="tenant/adapter."),
    alias: str = AliasOption,
    reason: str = ReasonOption,
    timeout_s: float = TimeoutOption,
    json_output: bool = JsonFlag,
) -> None:
    """Take the alias's newest change back: end its split, or point it at the version before its last move."""
    ref = parse_whole_adapter(name)
    with open_registry() as registry:
        swap = registry.swaps.request_rollback(ref, alias=alias, actor=actor(), reason=reason)
        _follow_move(registry, swap, timeout_s, json_output)


def split(
    name: str = typer.Argument(help="tenant/adapter."),
    weights: list[str] = typer.Argument(None, help="VERSION=PERCENT of the traffic, such as 1.0=90 1.1=10."),
    alias: str = typer.Option(PRODUCTION, "--alias", help="The alias whose traffic is split."),
    end: bool = typer.Option(False, "--end", help="End the split: all traffic to the version that the alias names."),
    reason: str = typer.Option("", "--reason", help="Kept with the swap."),
    override: str | None = OverrideOption,
    timeout_s: float = TimeoutOption,
    json_output: bool = JsonFlag,
) -> None:
    """Split an alias's traffic between versions, all of them loaded first; each conversation stays on its version."""
    ref = parse_whole_adapter(name)
    with open_registry() as registry:
        if end:
            swap = registry.swaps.request_ramp_end(ref, alias=alias, actor=actor(), reason=reason)
        else:
            weighed = _parse_weights(weights or [])
            swap = registry.swaps.request_ramp(
                ref, weighed, alias=alias, actor=actor(), reason=reason, override=override
            )
        swap = follow_swap(registry, swap, timeout_s, json_output)
        changed = swap.detail.get("ended_split" if end else "split")
        info = next((split for split in registry.splits.history(ref) if split.id == changed), None)
    if json_output:
        print_json({"split": info, "swap": swap})
    elif info is not None:
        arms = ", ".join(f"{version} {weight / 100:g} %" for version, weight in info.arms)
        say(f"split {info.id} of {info.adapter}@{info.alias} {'ended' if end else 'began'}: {arms}")
    require_done(swap, f"the traffic of {swap.adapter}@{swap.alias} goes where it went before", timeout_s)


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


def _follow_move(registry: Registry, swap: SwapInfo, timeout_s: float, json_output: bool) -> None:
    """See a promote or rollback through; exit status 1 when it failed or did not finish in time."""
    swap = follow_swap(registry, swap, timeout_s, json_output)
    if json_output:
        print_json(swap)
    elif swap.detail.get("ended_split"):
        say(f"split {swap.detail['ended_split']} of the alias ended: all of its traffic goes to this version")
    failed = f"{swap.to_version} was not promoted" if swap.kind == "move" else "the split was not ended"
    require_done(swap, failed, timeout_s)
