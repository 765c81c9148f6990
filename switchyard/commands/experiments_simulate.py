"""`switchyard experiments simulate`: how long a plan would take on the adapter's own traffic, and what it finds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from registry.names import PRODUCTION, parse_whole_adapter
from switchyard.commands.experiment_plans import plan_of
from switchyard.console import print_json, say
from switchyard.options import JsonFlag
from switchyard.registry_access import open_registry

MOST_S = 3_600.0
"""That a person may wait for a simulation."""


def simulate(
    adapter: str = typer.Argument(help="tenant/adapter."),
    versions: list[str] = typer.Argument(None, help="Versions that would be tried, such as 1.1."),
    plan_file: Path | None = typer.Option(None, "--plan", help="The plan, as `experiments create` takes it."),
    alias: str = typer.Option(PRODUCTION, "--alias", help="The alias whose traffic is meant."),
    effect: float | None = typer.Option(
        None, "--effect", help="By how much a treatment differs on the primary metric, in its own unit. Default: 0."
    ),
    control_mean: float | None = typer.Option(
        None, "--control-mean", help="Of the primary metric, where nothing is known of it: 0.6 is 60 %."
    ),
    units_a_day: float | None = typer.Option(
        None, "--units-a-day", min=0.01, max=1e9, help="Instead of those of the last 7 days."
    ),
    runs: int = typer.Option(200, "--runs", min=10, max=2_000, help="Simulated experiments."),
    json_output: bool = JsonFlag,
) -> None:
    """Say how long a plan would take on the traffic that there was, and how likely it finds what is there."""
    from gateway.experiments.simulating import Question, asked

    ref = parse_whole_adapter(adapter)
    with open_registry() as registry:
        plan = registry.experiments.completed(ref, plan_of(plan_file, versions or []), alias=alias)
        past = registry.experiments.traffic.of(ref, plan.window_ms)
    rate = units_a_day if units_a_day is not None else past.units_a_day
    question = Question(plan, past, rate, effect or 0.0, control_mean, runs)
    found = asked(question, MOST_S)
    if json_output:
        print_json({"units_a_day": rate, "traffic": past, "left_out": question.left_out, "runs": found})
        return
    say(
        f"traffic of the last 7 days: {_many(past.requests, 'request')} of {_many(past.units, plan.counted)}; "
        f"{_many(round(rate), plan.counted)} a day"
        + ("" if past.exact else " (requests are taken for units: nothing split them yet)")
    )
    if question.left_out:
        say(f"not simulated, as nothing is known of them: guardrails on {', '.join(question.left_out)}")
    say(*(f"if it {what}: {_told(one, plan.counted)}" for what, one in found.items()))


def _told(found: Mapping[str, Any], counted: str) -> str:
    shares = (
        f"wins in {100 * found['won']:.0f} %, is rolled back in {100 * found['harmed']:.0f} %, "
        f"undecided in {100 * found['undecided']:.0f} %"
    )
    (middle, most), units = found["days"], found["units"][0]
    days = f"half of them end within {middle:.3g} days ({_many(units, counted)}), nine of ten within {most:.3g}"
    return f"{shares} of {found['runs']} runs; {days}; a treatment is met by {_many(found['treated'][0], counted)}"


def _many(number: int, counted: str) -> str:
    return f"{number:,} {counted}{'' if number == 1 else 's'}"
