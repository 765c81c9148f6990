"""The two files of an adapter that are inspected, and how they are opened."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from registry.adapters.inspect.findings import Findings
from registry.adapters.version_files import CONFIG_FILE, WEIGHTS_FILE
from registry.bases.model import BaseSpec

MAX_CONFIG_BYTES = 2**20
HEADER_ALLOWANCE_BYTES = 16 * 2**20
WIDEST_ITEM_BYTES = 4


def check_folder(folder: Path, base: BaseSpec, max_rank: int, findings: Findings) -> dict[str, Path]:
    """Note what is wrong with the two files; those to read further, by name. Nothing else in the folder matters."""
    limits = {CONFIG_FILE: MAX_CONFIG_BYTES, WEIGHTS_FILE: largest_weights(base, max_rank)}
    return {name: folder / name for name, limit in limits.items() if _is_sound(folder / name, limit, findings)}


def _is_sound(path: Path, limit: int, findings: Findings) -> bool:
    """Whether the file may be read: no link, no device, and no larger than it can need."""
    name = path.name
    try:
        status = path.lstat()
    except FileNotFoundError:
        findings.add("file_missing", name, "no such file", "a PEFT folder, as save_pretrained writes it")
        return False
    except (OSError, ValueError) as error:
        findings.add("file_unreadable", name, getattr(error, "strerror", None) or error, "a readable file")
        return False
    if not stat.S_ISREG(status.st_mode):
        findings.add("not_a_regular_file", name, kind_of_file(status.st_mode), "a regular file")
    elif status.st_size > limit:
        findings.add("file_too_large", name, f"{status.st_size} bytes", f"at most {limit} bytes")
    else:
        return True
    return False


def kind_of_file(mode: int) -> str:
    """What an entry is that is no regular file."""
    kinds = {
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(mode), "a device")


def largest_weights(base: BaseSpec, max_rank: int) -> int:
    """Bytes that adapting every module of the base at the highest rank in float32 takes, and a header."""
    shapes = [*base.linears.values(), *base.embeddings.values()]
    return WIDEST_ITEM_BYTES * max_rank * sum(out + into for out, into in shapes) + HEADER_ALLOWANCE_BYTES


@contextmanager
def open_regular(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """The file and its size in bytes; `OSError` when it has become a link or a pipe since the folder was checked."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{path.name} is no regular file")
        yield stream, status.st_size
