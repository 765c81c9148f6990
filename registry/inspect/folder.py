"""Which files the adapter's folder may hold, and how they are opened."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from registry.base_model import BaseSpec
from registry.inspect.findings import Findings

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib")
MAX_CONFIG_BYTES = 2**20
MAX_OTHER_BYTES = 64 * 2**20
MAX_ENTRIES = 200
HEADER_ALLOWANCE_BYTES = 16 * 2**20
WIDEST_ITEM_BYTES = 4


def check_folder(folder: Path, base: BaseSpec, max_rank: int, findings: Findings) -> dict[str, Path]:
    """Note what is wrong with the folder's entries; the two files to read further, by name, when they are sound."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except (OSError, ValueError) as error:
        findings.add(
            "folder_unreadable",
            ".",
            getattr(error, "strerror", None) or error,
            "a folder with adapter_config.json and adapter_model.safetensors",
        )
        return {}
    if len(entries) > MAX_ENTRIES:
        findings.add("too_many_files", ".", f"{len(entries)} entries", f"at most {MAX_ENTRIES}")
    limits = {CONFIG_FILE: MAX_CONFIG_BYTES, WEIGHTS_FILE: _largest_weights(base, max_rank)}
    sound = {entry.name: Path(entry.path) for entry in entries[:MAX_ENTRIES] if _is_sound(entry, limits, findings)}
    present = {entry.name for entry in entries}
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if name not in present:
            findings.add("file_missing", name, "no such file", "a PEFT folder, as save_pretrained writes it")
    return {name: path for name, path in sound.items() if name in limits}


def _is_sound(entry: os.DirEntry[str], limits: dict[str, int], findings: Findings) -> bool:
    """Whether the entry may stay; links, devices and pickles may not, and no file may be larger than it can need."""
    name = entry.name
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError as error:
        findings.add("file_unreadable", name, error.strerror or error, "a readable file")
        return False
    limit = limits.get(name, MAX_OTHER_BYTES)
    if not stat.S_ISREG(status.st_mode):
        findings.add("not_a_regular_file", name, _kind(status.st_mode), "regular files only; copy what is needed")
    elif name.lower().endswith(PICKLE_SUFFIXES):
        findings.add("pickle_file", name, "a pickle, which can run code when read", "safetensors only; delete the file")
    elif name.lower().endswith(".safetensors") and name != WEIGHTS_FILE:
        findings.add("extra_weights", name, "weights that vLLM does not read", f"{WEIGHTS_FILE} alone")
    elif status.st_size > limit:
        findings.add("file_too_large", name, f"{status.st_size} bytes", f"at most {limit} bytes")
    else:
        return True
    return False


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(mode), "a device")


def _largest_weights(base: BaseSpec, max_rank: int) -> int:
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
