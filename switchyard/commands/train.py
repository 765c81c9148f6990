"""`switchyard train`: train an adapter from a recipe, prove it and publish it."""

from __future__ import annotations

from pathlib import Path

import typer

from switchyard.console import print_json_line
from switchyard.options import LastLineJsonFlag as JsonFlag
from switchyard.progress import reporting

train = typer.Typer(add_completion=False, help="Train an adapter from a recipe, prove it and publish it.")


@train.command()
def train_command(
    recipe: Path = typer.Argument(help="RECIPE.toml."),
    base_model: str | None = typer.Option(
        None, "--base", help="Base model: a folder or a hub id org/name. Default: the packaged SmolLM2-135M-Instruct."
    ),
    out: Path | None = typer.Option(None, "--out", help="Folder for the adapter. Default: in the state folder."),
    no_publish: bool = typer.Option(False, "--no-publish", help="Only write the folder; leave the registry alone."),
    trained: Path | None = typer.Option(
        None, "--trained", help="Folder of an adapter that this recipe has trained: evaluate, prove and publish it."
    ),
    engine: str | None = typer.Option(
        None,
        "--engine",
        help="Address of a vLLM that serves the base: it must render prompts as the training does.",
    ),
    plot: Path | None = typer.Option(
        None, "--plot", help="Draw the losses on training and held-out rows into this file, .svg or .png."
    ),
    json_output: bool = JsonFlag,
) -> None:
    """Train an adapter from a recipe, prove that it does something, and publish it as the next version."""
    from switchyard.commands.train_curve import plotting
    from switchyard.commands.train_report import print_outcome
    from trainer.pipeline import Plan, run

    if out is not None and trained is not None:
        raise typer.BadParameter(
            "an adapter that is taken up stays in its folder; leave --out away", param_hint="--out"
        )
    with reporting() as reporter, plotting(reporter, plot, f"training of {recipe}") as watch:
        outcome = run(Plan(recipe, base_model, out, not no_publish, trained, engine), watch)
    if json_output:
        print_json_line(outcome.document())
    else:
        print_outcome(outcome)
