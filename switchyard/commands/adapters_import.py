"""`switchyard adapters import`. Importing this module imports nothing heavy; a proof, if one is measured, does."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from switchyard.commands.versions import print_published
from switchyard.console import confirm, say
from switchyard.options import JsonFlag
from switchyard.progress import ConsoleReporter
from switchyard.registry_access import open_registry

if TYPE_CHECKING:
    from registry.adapters.importing import Import
    from registry.adapters.version_rows import VersionInfo
    from registry.bases.store import BaseInfo
    from registry.service import Registry

LIBRARIES = ("torch", "transformers", "peft")
"""What measuring a proof takes."""


def import_(
    source: str = typer.Argument(
        help="A PEFT folder, such as a trainer's checkpoint, or a hub repository as org/name."
    ),
    to: str = typer.Option(..., "--to", help="tenant/adapter to import as."),
    base: str = typer.Option(..., "--base", help="Public name or digest of the base model it was trained on."),
    revision: str | None = typer.Option(None, "--revision", help="Commit or branch of the hub repository."),
    yes: bool = typer.Option(False, "--yes", help="Go on although the adapter names another base model."),
    no_repair: bool = typer.Option(False, "--no-repair", help="Refuse what would be repaired, and name it."),
    no_prove: bool = typer.Option(False, "--no-prove", help="Do not measure the effect of an import without a proof."),
    json_output: bool = JsonFlag,
) -> None:
    """Import an adapter that somebody else trained: repair it, publish it, and measure what it does."""
    from registry.adapters.importing import find_source, repaired
    from registry.adapters.store import Published
    from registry.names import parse_whole_adapter

    ref = parse_whole_adapter(to)
    with open_registry() as registry:
        base_info = registry.bases.get(base)
        with repaired(find_source(source, revision), base_info, registry, repair=not no_repair) as adapter:
            for repair in adapter.repairs:
                say(f"repaired: {repair.what}", err=json_output)
            accepted = _accept_base_name(adapter, base_info, registry, yes)
            published = registry.adapters.publish(
                tenant=ref.tenant,
                adapter=ref.adapter,
                folder=adapter.folder,
                base=base_info.digest,
                lineage=adapter.lineage | ({"named_base": accepted} if accepted else {}),
            )
        version = published.version
        if version.proof is None and not no_prove:
            version = _measured(version, registry)
    print_published(Published(version, published.created), json_output)


def _accept_base_name(adapter: Import, base: BaseInfo, registry: Registry, yes: bool) -> str | None:
    """The name of another base that the adapter gives, when somebody says that it is right all the same.

    Raises `InvalidInput` when nobody does.
    """
    from registry.bases.names import Naming, judge, names_of
    from registry.errors import InvalidInput
    from registry.storage.safetensors_header import clip

    declared = adapter.named_base
    if declared is None or judge(declared, names_of(base, registry.base_folders(base.digest))) is not Naming.OTHER:
        return None
    found = f"the adapter says that it was trained on {clip(declared)!r}, and the base here is {base.name!r}"
    if not yes and sys.stdin.isatty():
        yes = confirm(f"{found}. Import it all the same?")
    if not yes:
        raise InvalidInput(
            f"{found}; give the base that it was trained on with --base, or --yes if this is the same one",
            param="base",
        )
    say(f"warning: {found}", err=True)
    return clip(declared)


def _measured(version: VersionInfo, registry: Registry) -> VersionInfo:
    """The version with a proof where one can be measured here; else as it is, and why is said. Minutes on a CPU."""
    folder = registry.base_folder(version.base_digest)
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if folder is None or missing:
        lacking = f"{', '.join(missing)} (extra 'train')" if missing else "the base model's folder"
        say(f"its effect is not measured now: {lacking} is not on this machine", err=True)
        return version
    return _try_to_prove(version, folder, registry)


def _try_to_prove(version: VersionInfo, folder: Path, registry: Registry) -> VersionInfo:
    from registry.errors import RegistryError
    from registry.names import AdapterRef
    from trainer.errors import TrainerError
    from trainer.prove import Proving, prove

    ref = AdapterRef(version.tenant, version.adapter, version.version, None)
    try:
        with ConsoleReporter() as reporter:
            reporter.stage(f"no effect proof came with {version.name}: measuring one (--no-prove leaves that out)")
            proven = prove(Proving(ref, folder), registry, reporter.stage)
    except (TrainerError, RegistryError) as error:
        say(f"its effect could not be measured: {error}", err=True)
        return version
    except Exception as error:
        say(f"its effect could not be measured: {type(error).__name__}: {str(error)[:300]}", err=True)
        return version
    proof = proven.proof
    assert proof is not None
    say(f"effect {proof.largest_effect:.2f} nats at most, noise {proof.noise:g}", err=True)
    if proof.indistinguishable:
        say("it cannot be told from its base; try texts of its own task: adapters prove … --texts FILE", err=True)
    return proven
