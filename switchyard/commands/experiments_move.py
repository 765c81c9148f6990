"""`switchyard experiments start`, `pause`, `resume`, `stop`, `promote` and `rollback`: what people decide by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from switchyard.commands.following import follow_swap, require_done
from switchyard.console import actor, print_json, say
from switchyard.options import JsonFlag
from switchyard.registry_access import open_registry

if TYPE_CHECKING:
    from registry.experiments.infos import Kind

Which = typer.Argument(metavar="EXPERIMENT", help="Its id, tenant/adapter, or tenant/adapter:NAME.")
ReasonOption = typer.Option("", "--reason", help="Kept in its log.")
TimeoutOption = typer.Option(120.0, "--timeout", help="Seconds to follow the swap before giving up watching.")
OverrideOption = typer.Option(
    None, "--override", help="Why it may pass the alias's gate without a certificate; kept in the list of actions."
)


def start(
    experiment: str = Which, reason: str = ReasonOption, timeout_s: float = TimeoutOption, json_output: bool = JsonFlag
) -> None:
    """Begin a draft: its first step gets traffic."""
    _decide(experiment, "start", reason, timeout_s, json_output)


def pause(experiment: str = Which, reason: str = ReasonOption, json_output: bool = JsonFlag) -> None:
    """Keep every unit on its arm, and decide nothing until somebody resumes, promotes or ends it."""
    _decide(experiment, "pause", reason, 0, json_output)


def resume(experiment: str = Which, reason: str = ReasonOption, json_output: bool = JsonFlag) -> None:
    """Go on deciding by the plan."""
    _decide(experiment, "resume", reason, 0, json_output)


def stop(
    experiment: str = Which,
    keep: bool = typer.Option(False, "--keep", help="Leave its split to people, as `adapters split` makes one."),
    reason: str = ReasonOption,
    timeout_s: float = TimeoutOption,
    json_output: bool = JsonFlag,
) -> None:
    """End it: all traffic to the control."""
    _decide(experiment, "stop", reason, timeout_s, json_output, keep=keep)


def promote(
    experiment: str = Which,
    arm: str | None = typer.Option(None, "--version", help="The treatment, where there are several."),
    override: str | None = OverrideOption,
    reason: str = ReasonOption,
    timeout_s: float = TimeoutOption,
    json_output: bool = JsonFlag,
) -> None:
    """End it with a winner: the alias moves to the treatment, and no request is dropped."""
    more = {"arm": arm, "override": override}
    _decide(experiment, "promote", reason, timeout_s, json_output, **more)


def rollback(
    experiment: str = Which, reason: str = ReasonOption, timeout_s: float = TimeoutOption, json_output: bool = JsonFlag
) -> None:
    """End it because of harm: all traffic to the control."""
    _decide(experiment, "rollback", reason, timeout_s, json_output)


def _decide(experiment: str, kind: Kind, reason: str, timeout_s: float, json_output: bool, **more: Any) -> None:
    from registry.experiments.infos import BY_HAND, Decision

    with open_registry() as registry:
        info = registry.experiments.find(experiment)
        made = registry.experiments.decide(info.id, Decision(kind, reason or BY_HAND[kind], actor=actor(), **more))
        swap = None
        if made.swap_id is not None:
            swap = follow_swap(registry, registry.swaps.get(made.swap_id), timeout_s, json_output)
        info = registry.experiments.get(info.id)
    if json_output:
        print_json(info.document)
    else:
        say(f"experiment {info.id} ({info.name}) of {info.adapter}@{info.alias} is {info.state.replace('_', ' ')}")
    if swap is not None:
        require_done(swap, f"the {kind} of experiment {info.id} was not carried out", timeout_s)
