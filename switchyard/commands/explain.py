"""`switchyard explain`: what a model name resolves to, and why."""

from __future__ import annotations

import typer

from switchyard.console import print_json, print_table
from switchyard.options import JsonFlag
from switchyard.registry_access import open_registry


def explain(
    model: str = typer.Argument(help="The name that a client sends as `model`."),
    key: str = typer.Option(..., "--key", help="The client's API key.", envvar="SWITCHYARD_API_KEY"),
    unit: str | None = typer.Option(None, "--unit", help="A conversation or user id, to see its arm of a split."),
    json_output: bool = JsonFlag,
) -> None:
    """Show step by step what a model name resolves to for a key, and why."""
    from gateway.explain import explain as explain_steps

    with open_registry() as registry:
        steps = explain_steps(model, key, unit, registry.catalog(), registry.skews.alarming)
    if json_output:
        print_json(steps)
    else:
        print_table(("STEP", "FOUND"), ((step.step, step.found) for step in steps))
    if not steps[-1].ok:
        raise typer.Exit(1)
