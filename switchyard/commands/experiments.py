"""`switchyard experiments`: versions tried on an alias's traffic, by a plan that ramps, rolls back and promotes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from registry.days import when
from registry.names import PRODUCTION, parse_whole_adapter
from switchyard.commands.compare import compare
from switchyard.commands.experiment_plans import plan_of
from switchyard.commands.experiments_move import Which, pause, promote, resume, rollback, start, stop
from switchyard.commands.experiments_seen import replay, status, watch, write_export
from switchyard.commands.experiments_shadow import add_shadows
from switchyard.commands.experiments_simulate import simulate
from switchyard.commands.following import follow_swap, require_done
from switchyard.console import actor, print_json, print_table, say
from switchyard.options import JsonFlag
from switchyard.registry_access import open_registry

if TYPE_CHECKING:
    from registry.experiments.infos import DecisionInfo, ExperimentInfo
    from registry.experiments.plan import Plan
    from registry.service import Registry

experiments = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Try versions on live traffic: ramp, compare, roll back, promote.",
)


def create(
    adapter: str = typer.Argument(help="tenant/adapter."),
    versions: list[str] = typer.Argument(None, help="Versions to try, such as 1.1; `base`: no adapter."),
    plan_file: Path | None = typer.Option(
        None, "--plan", help="A TOML file that says more: ramp, metric, guardrails, audience, budget."
    ),
    alias: str = typer.Option(PRODUCTION, "--alias", help="The alias whose traffic is meant."),
    name: str | None = typer.Option(None, "--name", help="For people. Default: experiment-1 and so on."),
    draft: bool = typer.Option(False, "--draft", help="Write it down; `experiments start` begins it."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Say what it would do, and do nothing."),
    timeout_s: float = typer.Option(120.0, "--timeout", help="Seconds to follow the first step's swap."),
    json_output: bool = JsonFlag,
) -> None:
    """Try versions against what the alias points at; without a plan it is a careful ramp that ends by itself."""
    from registry.experiments.words import plan_said

    ref = parse_whole_adapter(adapter)
    plan = plan_of(plan_file, versions or [])
    with open_registry() as registry:
        if dry_run:
            plan = registry.experiments.preview(ref, plan, alias=alias)
            _print_plan(plan, ref.adapter_name, alias, json_output)
            return
        made = registry.experiments.create(ref, plan, alias=alias, name=name, actor=actor(), draft=draft)
        if not json_output:
            say(f"experiment {made.id} ({made.name})", *plan_said(made.plan, made.adapter, made.alias))
        _see_begun(registry, made, timeout_s, json_output)


def _print_plan(plan: Plan, adapter: str, alias: str, json_output: bool) -> None:
    from registry.experiments.words import plan_said

    if json_output:
        print_json(plan.document)
    else:
        say(*plan_said(plan, adapter, alias), "nothing was done")


def _see_begun(registry: Registry, made: ExperimentInfo, timeout_s: float, json_output: bool) -> None:
    swap = None
    if made.swap_id is not None:
        swap = follow_swap(registry, registry.swaps.get(made.swap_id), timeout_s, json_output)
    if json_output:
        print_json(registry.experiments.get(made.id).document)
    elif swap is None:
        say(f"it is a draft: `switchyard experiments start {made.id}` begins it")
    if swap is not None:
        require_done(swap, f"experiment {made.id} did not begin, and is a draft", timeout_s)


def list_experiments(
    adapter: str | None = typer.Argument(None, help="Only this tenant/adapter's."),
    limit: int = typer.Option(50, "--limit", min=1, help="How many, newest first."),
    json_output: bool = JsonFlag,
) -> None:
    """List experiments, newest first."""
    ref = None if adapter is None else parse_whole_adapter(adapter)
    with open_registry() as registry:
        found = registry.experiments.page(None, limit, ref=ref)
    if json_output:
        print_json([info.document for info in found])
        return
    print_table(
        ("ID", "NAME", "ALIAS", "STATE", "STEP", "TRAFFIC", "STARTED", "ENDED"),
        (
            (
                info.id,
                info.name,
                f"{info.adapter}@{info.alias}",
                info.state,
                _step_of(info),
                _traffic(info.weights),
                when(info.started_at_ms),
                when(info.ended_at_ms),
            )
            for info in found
        ),
        empty="no experiment; `switchyard experiments create acme/triage 1.1` begins one",
    )


def _traffic(weights: Mapping[str, int]) -> str | None:
    return ", ".join(f"{arm} {weight / 100:g} %" for arm, weight in weights.items()) or None


def _step_of(info: ExperimentInfo) -> str | None:
    return None if info.step < 0 else f"{info.step + 1} of {len(info.plan.ramp)}"


def decisions(
    experiment: str = Which,
    export_file: Path | None = typer.Option(
        None, "--export", help="Write it to this file with its units, for `experiments replay --file`."
    ),
    json_output: bool = JsonFlag,
) -> None:
    """Show what was decided, why, and whether the log is as it was written; exit status 1 if it is not."""
    with open_registry() as registry:
        info = registry.experiments.find(experiment)
        if export_file is not None:
            write_export(registry, str(info.id), export_file)
            say(f"the log is in {export_file}", err=True)
        log = registry.experiments.decisions(info.id)
        faults = registry.experiments.faults(info.id)
    if json_output:
        print_json({"decisions": log, "faults": faults})
    else:
        _print_log(log)
        for fault in faults:
            say(f"fault: {fault}")
    if faults:
        raise typer.Exit(1)


def _print_log(log: list[DecisionInfo]) -> None:
    print_table(
        ("NO", "WHEN", "DECISION", "STATE", "TRAFFIC", "SWAP", "BY", "REASON"),
        (
            (
                line.seq,
                when(line.at_ms),
                line.kind,
                line.from_state if line.from_state == line.to_state else f"{line.from_state} → {line.to_state}",
                _traffic(line.weights),
                line.swap_id,
                line.actor,
                line.reason,
            )
            for line in log
        ),
        empty="nothing was decided yet: it is a draft",
    )


COMMANDS: Mapping[str, Callable[..., None]] = {
    "create": create,
    "watch": watch,
    "status": status,
    "decisions": decisions,
    "list": list_experiments,
    "pause": pause,
    "resume": resume,
    "promote": promote,
    "rollback": rollback,
    "stop": stop,
    "start": start,
    "simulate": simulate,
    "replay": replay,
    "compare": compare,
}
"""In the order of their help."""
for _name, _command in COMMANDS.items():
    experiments.command(_name)(_command)
add_shadows(experiments)
