"""`switchyard adapters export`: a version as files that other programs read."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import typer

from switchyard.console import print_json_line, say
from switchyard.options import LastLineJsonFlag as JsonFlag
from switchyard.progress import reporting
from switchyard.registry_access import open_registry


def export(
    name: str = typer.Argument(help="The version to export: tenant/adapter@1.0 or tenant/adapter@alias."),
    form: Literal["peft", "merged", "gguf"] = typer.Option(
        ..., "--as", help="peft: the adapter alone; merged: one model with its base; gguf: that in one file."
    ),
    out: Path = typer.Option(..., "--out", help="Folder that is not there yet, or empty."),
    base_folder: Path | None = typer.Option(
        None, "--base", exists=True, file_okay=False, help="Folder of its base model. Default: a prepared one."
    ),
    weights: Literal["bfloat16", "float32", "f16", "bf16", "f32", "q8_0"] | None = typer.Option(
        None, "--type", help="Of the weights. merged: bfloat16 or float32; gguf: f16, bf16, f32 or q8_0."
    ),
    repository: str | None = typer.Option(
        None, "--push", help="Then commit the files to this repository, org/name, of the hub at HF_ENDPOINT."
    ),
    json_output: bool = JsonFlag,
) -> None:
    """Write a version as a PEFT folder, a merged model or a GGUF file, checked against the adapter on its base."""
    from registry.names import parse_ref
    from trainer.export.exporting import Asked
    from trainer.export.exporting import export as write
    from trainer.export.hub import check_repository, push

    ref = parse_ref(name)
    with reporting() as reporter:
        if repository is not None:
            check_repository(repository)
        with open_registry() as registry:
            done = write(Asked(ref, form, out, base_folder, weights), registry, reporter.stage)
        pushed = None
        if repository is not None:
            reporter.stage(f"pushing to {repository}")
            pushed = push(out, repository, f"{done.version.name} as {form}")
    if json_output:
        print_json_line(
            {
                "version": done.version.name,
                "folder": str(done.folder),
                "files": done.files,
                "check": done.check,
                "pushed": pushed,
            }
        )
        return
    say(f"{done.version.name} is in {done.folder}: {', '.join(done.files)}")
    if done.check is not None:
        say(
            f"read back: {done.check.texts} texts, log-probabilities differ by {done.check.mean_difference_nats:g} "
            f"nats in the mean, {done.check.largest_difference_nats:g} at most"
        )
    if pushed is not None:
        say(f"pushed: {pushed.url}")
