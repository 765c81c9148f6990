"""Adapters from elsewhere: a PEFT folder, or a repository on the hub."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.adapters.version_files import CONFIG_FILE, WEIGHTS_FILE
from registry.bases.store import BaseInfo
from registry.errors import InvalidInput, NotFound, RegistryError, first_line

if TYPE_CHECKING:
    from registry.adapters.repair import Repair
    from registry.service import Registry


@dataclass(frozen=True, slots=True)
class Source:
    """A folder with an adapter in it somewhere, and where it came from."""

    folder: Path
    lineage: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Import:
    """A private copy of the adapter's files, repaired, and what is known of their past."""

    folder: Path
    lineage: dict[str, Any]
    repairs: tuple[Repair, ...]
    named_base: str | None
    """The model that the adapter says it was trained on."""


def find_source(source: str, revision: str | None) -> Source:
    """A local folder as it is, or a snapshot of a hub repository with only the adapter's own files.

    Raises `InvalidInput` when `source` is neither a folder nor a repository id, `NotFound` when the hub has none.
    """
    folder = Path(os.path.expanduser(source))  # leaves what is nobody's home as it is
    if source and os.path.isdir(folder):  # of any text; `Path.is_dir` raises for a name that is too long
        return Source(folder, {"source": "import", "folder": folder.resolve().name})
    if source and os.path.exists(folder):
        remedy = f"give the folder that it lies in, {str(folder.parent)!r}, or unpack it first"
        raise InvalidInput(f"source is {source!r}, a file; {remedy}", param="source")
    if source.count("/") != 1 or source.startswith((".", "/", "~")):
        raise InvalidInput(
            f"source is {source!r}; it is no folder here, and a hub repository is org/name", param="source"
        )
    snapshot = _download(source, revision)
    return Source(snapshot, {"source": "import", "repository": source, "commit": snapshot.name})


@contextmanager
def repaired(source: Source, base: BaseInfo, registry: Registry, *, repair: bool = True) -> Iterator[Import]:
    """The source's adapter, copied, and repaired where that is exact; the lineage tells each repair.

    Raises `AdapterRefused`: a file is missing or broken, a repair would be a guess, or one is needed without `repair`.
    """
    from registry.adapters.repair import repair_adapter  # brings numpy
    from registry.adapters.taking import taken

    with taken(source.folder, base.spec, registry.settings.max_lora_rank, whole_layers=True) as copy:
        try:
            outcome = repair_adapter(copy, base.spec, lambda: registry.base_folder(base.digest), allowed=repair)
        except OSError as error:
            raise RegistryError(f"the adapter could not be repaired: {error}; it is copied to {copy.parent}") from error
        lineage = dict(source.lineage)
        if outcome.repairs:
            lineage["repairs"] = [asdict(done) for done in outcome.repairs]
            lineage["original_files"] = outcome.original
        yield Import(copy, lineage, outcome.repairs, outcome.named_base)


def _download(repository: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=[CONFIG_FILE, WEIGHTS_FILE]))
    except HFValidationError as error:
        raise InvalidInput(f"source is {repository!r}: {error}", param="source") from error
    except (HfHubHTTPError, OSError) as error:  # being offline is an OSError
        raise NotFound(f"could not fetch {repository!r} from the hub: {first_line(error)}", param="source") from error
