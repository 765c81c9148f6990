"""`switchyard train`, `base` and `adapters prove`. Importing this module imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from registry.console import print_json_line, print_table, say, when
from trainer.errors import TrainerError

train = typer.Typer(add_completion=False, help="Train an adapter from a recipe, prove it and publish it.")
base = typer.Typer(add_completion=False, no_args_is_help=True, help="Prepare and register base models.")

JsonFlag = typer.Option(False, "--json", help="Make the last line of stdout one JSON document.")


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
    json_output: bool = JsonFlag,
) -> None:
    """Train an adapter from a recipe, prove that it does something, and publish it as the next version."""
    from trainer.pipeline import Plan, run
    from trainer.progress import ConsoleReporter
    from trainer.report import print_outcome

    if out is not None and trained is not None:
        raise typer.BadParameter(
            "an adapter that is taken up stays in its folder; leave --out away", param_hint="--out"
        )
    with _one_message(), ConsoleReporter() as reporter:
        outcome = run(Plan(recipe, base_model, out, not no_publish, trained), reporter)
    if json_output:
        print_json_line(outcome.document())
    else:
        print_outcome(outcome)


@base.command()
def prepare(
    source: str | None = typer.Argument(None, help="A folder or a hub id org/name. Default: SmolLM2-135M-Instruct."),
    json_output: bool = JsonFlag,
) -> None:
    """Make a base model ready as a folder: built from the packaged file, downloaded, or checked; fingerprint it."""
    from registry.settings import RegistrySettings
    from trainer.base import prepare_base
    from trainer.fingerprint import ensure_fingerprint
    from trainer.progress import ConsoleReporter

    with _one_message(), ConsoleReporter() as reporter:
        folder = prepare_base(source, RegistrySettings().state_dir / "base", reporter.stage)
        ensure_fingerprint(folder, reporter.stage)
    print_json_line({"folder": str(folder)}) if json_output else say(folder)


@base.command()
def register(
    name: str = typer.Argument(help="Public name, as clients write it in `model`."),
    folder: Path = typer.Argument(help="Folder in Hugging Face layout, such as `base prepare` prints."),
    json_output: bool = JsonFlag,
) -> None:
    """Enter a base model into the registry under a public name."""
    from registry.service import Registry

    with Registry.open() as registry:
        info = registry.bases.register(name, folder)
    if json_output:
        print_json_line({"name": info.name, "digest": info.digest})
    else:
        say(f"{info.name}  {info.digest}")


@base.command()
def fingerprint(
    name: str = typer.Argument(help="Public name of the registered base model."),
    folder: Path = typer.Argument(help="Folder of that same model."),
    json_output: bool = JsonFlag,
) -> None:
    """Measure a registered base model anew, so that engines can be checked against it."""
    from registry.errors import InvalidInput
    from registry.service import Registry
    from trainer.fingerprint import fingerprint_folder
    from trainer.progress import ConsoleReporter

    with _one_message(), ConsoleReporter() as reporter, Registry.open() as registry:
        known = registry.bases.get(name)
        found = registry.bases.find(folder)
        if found.digest != known.digest:
            raise InvalidInput(f"{folder} holds {found.name!r}, not {name!r}; give that model's folder", param="folder")
        reporter.stage(f"measuring {name}")
        fingerprint_folder(folder)
        measured = registry.bases.register(known.name, folder).fingerprint
    assert measured is not None
    count = len(measured.questions())
    if json_output:
        print_json_line({"name": known.name, "digest": known.digest, "questions": count})
    else:
        say(f"{known.name}  {count} log-probabilities")


@base.command("tool-parser")
def tool_parser(
    folder: Path = typer.Argument(exists=True, file_okay=False, help="Folder of the base model."),
    flags: bool = typer.Option(False, "--flags", help="Print the engine's flags, and nothing when there are none."),
    json_output: bool = JsonFlag,
) -> None:
    """Say which of vLLM's parsers reads the calls of tools that the model's chat template asks for."""
    from registry.bases.tool_parser import tool_flags, tool_parser_of

    parser = tool_parser_of(folder)
    if json_output:
        print_json_line({"tool_parser": parser, "flags": list(tool_flags(parser))})
    elif not flags:
        say(
            parser or "none: the chat template does not show tools to the model, or in a way that no known parser reads"
        )
    elif parser is not None:
        say(" ".join(tool_flags(parser)))


@base.command("list")
def list_bases(json_output: bool = JsonFlag) -> None:
    """List the registered base models."""
    from registry.service import Registry

    with Registry.open() as registry:
        known = registry.bases.all()
    if json_output:
        rows = [
            {"name": info.name, "digest": info.digest, "fingerprint": info.fingerprint is not None} for info in known
        ]
        print_json_line(rows)
        return
    print_table(
        ("NAME", "DIGEST", "FINGERPRINT", "REGISTERED"),
        ((info.name, info.digest, "yes" if info.fingerprint else None, when(info.created_at_ms)) for info in known),
        empty="no base model yet; `switchyard base prepare`, then `switchyard base register NAME FOLDER`",
    )


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
    from registry.service import Registry
    from trainer.progress import ConsoleReporter
    from trainer.prove import Proving
    from trainer.prove import prove as measure

    ref = parse_ref(name)
    if ref.version is None:
        raise InvalidInput(f"{name!r} names no version; write {ref.adapter_name}@1.0", param="version")
    with _one_message(), ConsoleReporter() as reporter, Registry.open() as registry:
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


@contextmanager
def _one_message() -> Iterator[None]:
    """An expected error is one message on stderr and exit status 1; the registry's are the main program's to print."""
    try:
        yield
    except TrainerError as error:
        say(*f"error: {error}".split("\n"), err=True)
        raise typer.Exit(1) from error
