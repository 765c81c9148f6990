"""`switchyard adapters prove`: what a version does to its base."""

from __future__ import annotations

from pathlib import Path

import typer

from switchyard.console import print_json_line, say
from switchyard.options import LastLineJsonFlag as JsonFlag
from switchyard.progress import reporting
from switchyard.registry_access import open_registry


def prove(
    name: str = typer.Argument(help="The version to prove, tenant/adapter@1.0."),
    base_folder: Path | None = typer.Option(
        None, "--base", exists=True, file_okay=False, help="Folder of its base model. Default: a prepared one."
    ),
    texts: Path | None = typer.Option(
        None,
        "--texts",
        exists=True,
        dir_okay=False,
        help="JSONL rows of the adapter's own task: chat, prompt and completion, or text. Default: general texts.",
    ),
    json_output: bool = JsonFlag,
) -> None:
    """Measure what a version does to its base, so that engines can be held to it."""
    from registry.errors import InvalidInput
    from registry.names import parse_ref
    from trainer.prove import Proving
    from trainer.prove import prove as measure

    ref = parse_ref(name)
    if ref.version is None:
        raise InvalidInput(f"{name!r} names no version; write {ref.adapter_name}@1.0", param="version")
    with reporting() as reporter, open_registry() as registry:
        version = measure(Proving(ref, base_folder, texts), registry, reporter.stage)
    proof = version.proof
    assert proof is not None
    if json_output:
        document = {
            "version": version.name,
            "proof": proof.digest,
            "largest_effect_nats": round(proof.largest_effect, 4),
            "noise_nats": proof.noise,
            "indistinguishable": proof.indistinguishable,
        }
        print_json_line(document)
        return
    say(f"{version.name}: effect {proof.largest_effect:.2f} nats at most, noise {proof.noise:g}")
    if proof.indistinguishable:
        say("It cannot be told from its base on these texts; give texts of its own task with --texts.")
