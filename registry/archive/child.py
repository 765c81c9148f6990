"""The process that asks archives: one question on stdin, an answer on stdout, one line of JSON each.

A question is `{"storage": [URL, options], "files": [[name, digest], …], "schema", "halves", "queries": [SQL, …]}`, its
answer `{"found": [rows of each query]}` or `{"fault": sentence}`. It fetches the files from the object storage; DuckDB
has no network. It reads no settings: their library would be most of its start.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from registry.archive.parquet import opened
from registry.children.mouth import Mouth
from registry.errors import CorruptBlob, NotFound, RegistryError
from registry.storage.blobs import BlobStore


def answered(question: Mapping[str, Any]) -> dict[str, Any]:
    """What it comes to."""
    blobs = BlobStore(*question["storage"])
    with tempfile.TemporaryDirectory(prefix="usage-archives-") as folder:
        paths = [
            fetched(blobs, name, digest, Path(folder, f"{number}.parquet"))
            for number, (name, digest) in enumerate(question["files"])
        ]
        with opened(paths, question["schema"], halves=question["halves"]) as files:
            return {"found": [files.ask(query) for query in question["queries"]]}


def fetched(blobs: BlobStore, name: str, digest: str, target: Path) -> Path:
    """The file's copy, `target`, as it was when it was verified. Raises `NotFound`, `CorruptBlob`, `StorageFailed`."""
    try:
        blobs.read_file(name, target)
    except NotFound:
        raise NotFound(f"{name} is not in the object storage; put it back from a backup") from None
    with target.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if f"sha256:{found}" != digest:
        raise CorruptBlob(f"{name} is damaged: it is not as it was when it was verified; put it back from a backup")
    return target


def main() -> None:
    """Answer the one question."""
    mouth = Mouth()
    question = orjson.loads(sys.stdin.buffer.readline())
    try:
        answer = answered(question)
    except RegistryError as error:
        answer = {"fault": error.message}
    mouth.say(orjson.dumps(answer) + b"\n")


if __name__ == "__main__":
    main()
