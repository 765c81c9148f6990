"""`switchyard base`: prepare and register base models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from registry.bases.token_bound import UNKNOWN, TokenBound
from registry.days import when
from switchyard.console import print_json_line, print_table, say
from switchyard.options import LastLineJsonFlag as JsonFlag
from switchyard.progress import reporting
from switchyard.registry_access import open_registry

if TYPE_CHECKING:
    from registry.bases.fingerprint import Fingerprint
    from registry.bases.store import BaseInfo
    from registry.service import Registry

base = typer.Typer(add_completion=False, no_args_is_help=True, help="Prepare and register base models.")


@base.command()
def prepare(
    source: str | None = typer.Argument(None, help="A folder or a hub id org/name. Default: SmolLM2-135M-Instruct."),
    json_output: bool = JsonFlag,
) -> None:
    """Make a base model ready as a folder: built from the packaged file, downloaded, or checked; fingerprint it."""
    from registry.settings import RegistrySettings
    from trainer.base import prepare_base
    from trainer.fingerprint import ensure_fingerprint

    with reporting() as reporter:
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
    with open_registry() as registry:
        info = registry.bases.register(name, folder)
    if json_output:
        print_json_line({"name": info.name, "digest": info.digest})
    else:
        say(f"{info.name}  {info.digest}")


@base.command()
def fingerprint(
    name: str = typer.Argument(help="Public name of the registered base model."),
    folder: Path | None = typer.Argument(None, help="Folder of that same model, to be measured on this machine."),
    engine: str | None = typer.Option(None, help="URL of an engine that serves it, where nothing here can compute it."),
    if_missing: bool = typer.Option(False, "--if-missing", help="Leave a base alone that has one."),
    json_output: bool = JsonFlag,
) -> None:
    """Measure a registered base model anew, so that engines can be checked against it.

    What an engine says is good for comparing others, and its own next start, with it; not for whether it is right.
    """
    from registry.errors import InvalidInput

    if (folder is None) == (engine is None):
        raise InvalidInput(
            "give the model's folder, or --engine with the URL of an engine that serves it", param="folder"
        )
    with reporting() as reporter, open_registry() as registry:
        known = registry.bases.get(name)
        if known.fingerprint is None or not if_missing:
            reporter.stage(f"measuring {name}")
            known = (
                _measured_here(registry, known, folder) if folder else _measured_there(registry, known, engine or "")
            )
    assert known.fingerprint is not None
    count = len(known.fingerprint.questions())
    if json_output:
        document = {"name": known.name, "digest": known.digest, "questions": count, "engine": known.fingerprint.engine}
        print_json_line(document)
    else:
        say(f"{known.name}  {count} log-probabilities{_of_engine(known.fingerprint)}")


def _measured_here(registry: Registry, known: BaseInfo, folder: Path) -> BaseInfo:
    from registry.errors import InvalidInput
    from trainer.fingerprint import fingerprint_folder

    found = registry.bases.find(folder)
    if found.digest != known.digest:
        raise InvalidInput(
            f"{folder} holds {found.name!r}, not {known.name!r}; give that model's folder", param="folder"
        )
    fingerprint_folder(folder)
    return registry.bases.register(known.name, folder)


def _measured_there(registry: Registry, known: BaseInfo, url: str) -> BaseInfo:
    from gateway.engines.faults import EngineFault
    from gateway.engines.isolation import CannotTest
    from gateway.fleet.sources import require_engine_url
    from gateway.measuring import measured_on
    from gateway.settings import GatewaySettings
    from registry.errors import InvalidInput

    require_engine_url(url, param="engine")
    try:
        return registry.bases.measured(known.name, measured_on(url, known, GatewaySettings()))
    except (CannotTest, EngineFault) as error:
        raise InvalidInput(f"the engine at {url} cannot be asked: {error}", param="engine") from error


def _of_engine(fingerprint: Fingerprint) -> str:
    return f", as {fingerprint.engine} answers" if fingerprint.engine else ""


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
    with open_registry() as registry:
        known = registry.bases.all()
    if json_output:
        rows = [
            {
                "name": info.name,
                "digest": info.digest,
                "fingerprint": info.fingerprint is not None,
                "tokens": None if info.tokens is None else info.tokens.to_json(),
                "fingerprint_engine": info.fingerprint.engine if info.fingerprint else None,
            }
            for info in known
        ]
        print_json_line(rows)
        return
    print_table(
        ("NAME", "DIGEST", "FINGERPRINT", "TOKENS A BYTE", "REGISTERED"),
        (
            (info.name, info.digest, _known_by(info.fingerprint), _most(info.tokens), when(info.created_at_ms))
            for info in known
        ),
        empty="no base model yet; `switchyard base prepare`, then `switchyard base register NAME FOLDER`",
    )


def _most(tokens: TokenBound | None) -> str:
    """What holds count for a byte of a text."""
    bound = UNKNOWN if tokens is None else tokens
    return f"{bound.per_byte:g}" + (" (unknown tokenizer)" if bound.known_from == "unknown" else "")


def _known_by(fingerprint: Fingerprint | None) -> str | None:
    if fingerprint is None:
        return None
    return "yes" if fingerprint.engine is None else f"of {fingerprint.engine}"
