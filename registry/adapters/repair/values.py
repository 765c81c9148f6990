"""The values of tensors, of the adapter's file and of the base's folder, a piece at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np

from registry.bases.files import find_files
from registry.errors import RegistryError
from registry.storage.safetensors_header import TensorEntry, read_header

CHUNK_ITEMS = 2**20
ITEM_BYTES = {"F16": 2, "BF16": 2, "F32": 4}
TIED = {"lm_head.weight": "embed_tokens.weight"}
"""A tied base keeps one of the two."""

FindBase = Callable[[], Path | None]
Values = np.ndarray[Any, np.dtype[np.float32]]


class TensorValues:
    """Reads the weights file at `path`, and the base where `find_base` finds it; a context manager, for the open files.

    The base is looked for when it is first asked about: few adapters need that, and it may take reading all of it.
    """

    def __init__(self, path: Path, find_base: FindBase) -> None:
        self._file: BinaryIO = path.open("rb", buffering=0)
        self._find_base = find_base
        self._open: dict[Path, BinaryIO] = {}

    def __enter__(self) -> TensorValues:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in (self._file, *self._open.values()):
            file.close()

    def is_zero(self, entry: TensorEntry) -> bool:
        """Whether every value is 0; False for dtypes that no adapter is served in."""
        return entry.dtype in ITEM_BYTES and all(not piece.any() for piece in _pieces(self._file, entry))

    def base_has(self, name: str) -> bool | None:
        """Whether the base has a tensor `name`; None without its folder."""
        return None if self._base is None else self._find(name) is not None

    def is_base(self, entry: TensorEntry, name: str) -> bool | None:
        """Whether the values are those of the base's tensor `name`, whatever the dtypes; None without its folder."""
        if self._base is None:
            return None
        found = self._find(name)
        if found is None:
            return False
        path, own = found
        if own.shape != entry.shape or not {own.dtype, entry.dtype} <= ITEM_BYTES.keys():
            return False
        if path not in self._open:
            self._open[path] = path.open("rb", buffering=0)
        pairs = zip(_pieces(self._file, entry), _pieces(self._open[path], own), strict=True)
        return all(np.array_equal(mine, base) for mine, base in pairs)

    @cached_property
    def _base(self) -> dict[str, tuple[Path, TensorEntry]] | None:
        folder = self._find_base()
        return None if folder is None else _locate(folder)

    def _find(self, name: str) -> tuple[Path, TensorEntry] | None:
        assert self._base is not None
        if name in self._base:
            return self._base[name]
        for untied, tied in TIED.items():
            if name == untied:
                found = [place for known, place in self._base.items() if known.endswith(f".{tied}") or known == tied]
                return found[0] if len(found) == 1 else None
        return None


def _locate(folder: Path) -> dict[str, tuple[Path, TensorEntry]]:
    """Where each tensor of the base lies."""
    located: dict[str, tuple[Path, TensorEntry]] = {}
    for path in find_files(folder).weights:
        with path.open("rb") as stream:
            for entry in read_header(stream, path.stat().st_size, path.name):
                located[entry.name] = (path, entry)
    return located


def _pieces(file: BinaryIO, entry: TensorEntry) -> Iterator[Values]:
    """The values as float32, which holds each of the three dtypes exactly."""
    width = ITEM_BYTES[entry.dtype]
    left, position = entry.size // width, entry.offset
    while left:
        count = min(left, CHUNK_ITEMS)
        file.seek(position)
        data = _read_exactly(file, count * width)
        yield _as_float32(data, entry.dtype)
        left, position = left - count, position + count * width


def _read_exactly(file: BinaryIO, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = file.read(size - len(data))
        if not piece:
            raise RegistryError("a weights file became shorter while it was read; run this again")
        data += piece
    return bytes(data)


def _as_float32(data: bytes, dtype: str) -> Values:
    if dtype == "BF16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    return np.frombuffer(data, {"F16": "<f2", "F32": "<f4"}[dtype]).astype("<f4")
