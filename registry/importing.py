"""Adapters from elsewhere: a PEFT folder, or a repository on the hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.adapters import CONFIG_FILE, WEIGHTS_FILE
from registry.errors import InvalidInput, NotFound


@dataclass(frozen=True, slots=True)
class Fetched:
    """A local PEFT folder and where it came from."""

    folder: Path
    lineage: dict[str, Any]


def fetch(source: str, revision: str | None) -> Fetched:
    """Make `source` a local folder; a hub repository is downloaded, only its config and safetensors files.

    Raises `InvalidInput` when `source` is neither a folder nor a repository id, `NotFound` when the hub has none.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return Fetched(folder, {"source": "import", "folder": folder.name})
    if source.count("/") != 1 or source.startswith((".", "/", "~")):
        raise InvalidInput(
            f"source is {source!r}; it is no folder here, and a hub repository is org/name", param="source"
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        path = Path(snapshot_download(source, revision=revision, allow_patterns=[CONFIG_FILE, WEIGHTS_FILE]))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise NotFound(
            f"could not fetch {source!r} from the hub: {str(error).splitlines()[0]}", param="source"
        ) from error
    return Fetched(_without_links(path), {"source": "import", "repository": source, "commit": path.name})


def _without_links(snapshot: Path) -> Path:
    """The hub's cache lays files out as links; `inspect` refuses links, so give it a folder of files."""
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="switchyard-import-"))
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if (snapshot / name).exists():
            shutil.copyfile(snapshot / name, folder / name)
    return folder
