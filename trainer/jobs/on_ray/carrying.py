"""Files in pieces: what is sent is read and written where it lies, and no more of it is in memory than some pieces."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

PIECE_BYTES = 8 << 20


def files_below(folder: Path, leave_out: frozenset[str] = frozenset()) -> Iterator[tuple[str, Path]]:
    """Every file with its name relative to the folder; of what lies directly in it, some names may be left out."""
    for found in sorted(folder.iterdir()):
        if found.name in leave_out:
            continue
        for file in sorted(found.rglob("*")) if found.is_dir() else [found]:
            if file.is_file():
                yield file.relative_to(folder).as_posix(), file


def read_piece(file: Path, offset: int) -> bytes:
    """What begins there, at most `PIECE_BYTES`. Raises OSError."""
    with file.open("rb") as opened:
        return os.pread(opened.fileno(), PIECE_BYTES, offset)


def write_piece(file: Path, offset: int, data: bytes) -> None:
    """Put a piece into its place; pieces may come in any order. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    opened = os.open(file, os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        at = memoryview(data)
        while at:
            written = os.pwrite(opened, at, offset)
            at, offset = at[written:], offset + written
    finally:
        os.close(opened)


def below(folder: Path, name: str) -> Path:
    """The file of that name in a folder. Raises ValueError for a name that leads out of it."""
    parts = PurePosixPath(name).parts
    if not parts or PurePosixPath(name).is_absolute() or ".." in parts:
        raise ValueError(f"{name!r} is no name of a file in a folder")
    return folder.joinpath(*parts)
