"""Adapters from elsewhere: a PEFT folder, or a repository on the hub."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def fetch(source: str, revision: str | None) -> Iterator[Fetched]:
    """`source` as a local folder inside the block; of a hub repository only its config and safetensors files.

    Raises `InvalidInput` when `source` is neither a folder nor a repository id, `NotFound` when the hub has none.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        yield Fetched(folder, {"source": "import", "folder": folder.resolve().name})
        return
    if source.count("/") != 1 or source.startswith((".", "/", "~")):
        raise InvalidInput(
            f"source is {source!r}; it is no folder here, and a hub repository is org/name", param="source"
        )
    snapshot = _download(source, revision)
    with tempfile.TemporaryDirectory(prefix="switchyard-import-") as copies:
        # The hub's cache lays files out as links, and `inspect` refuses links.
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            if (snapshot / name).exists():
                shutil.copyfile(snapshot / name, Path(copies) / name)
        yield Fetched(Path(copies), {"source": "import", "repository": source, "commit": snapshot.name})


def _download(repository: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=[CONFIG_FILE, WEIGHTS_FILE]))
    except HFValidationError as error:
        raise InvalidInput(f"source is {repository!r}: {error}", param="source") from error
    except (HfHubHTTPError, OSError) as error:  # being offline is an OSError
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise NotFound(f"could not fetch {repository!r} from the hub: {reason}", param="source") from error
