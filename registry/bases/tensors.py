"""The tensors of a base model: one digest each, and the shapes that adapters must fit."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from registry.errors import InvalidInput
from registry.storage.safetensors_header import MalformedSafetensors, TensorEntry, read_header

CHUNK_BYTES = 4 * 2**20
DERIVED = (".rotary_emb.inv_freq", ".attn.masked_bias")
"""Buffers that old library versions saved and every version computes."""

OUTPUT = "lm_head.weight"
EMBEDDING = "embed_tokens.weight"


@dataclass(frozen=True, slots=True)
class BaseTensors:
    """`digests`: name → (dtype, shape, hex sha256 of the bytes). The others are `BaseSpec`'s."""

    digests: Mapping[str, tuple[str, tuple[int, ...], str]]
    linears: Mapping[str, tuple[int, int]]
    embeddings: Mapping[str, tuple[int, int]]


def read_base_tensors(files: Iterable[Path]) -> BaseTensors:
    """Hash every tensor of the files, in as many threads as there are cores (sha256 lets the others run).

    An `lm_head.weight` with the bytes of the token embedding is left out: a tied model may be saved with it or
    without. Raises `InvalidInput` for a malformed file or a tensor that two files hold.
    """
    located: dict[str, tuple[Path, TensorEntry]] = {}
    for path in files:
        for entry in _header(path):
            if entry.name in located:
                raise InvalidInput(
                    f"{path}: {entry.name} is in {located[entry.name][0].name} too; delete the set that is not wanted",
                    param="base",
                )
            if not entry.name.endswith(DERIVED):
                located[entry.name] = (path, entry)
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        hashes = pool.map(lambda place: _sha256(*place), located.values())
        digests = {
            name: (entry.dtype, entry.shape, digest)
            for (name, (_, entry)), digest in zip(located.items(), hashes, strict=True)
        }
    shared = {fields for name, fields in digests.items() if name.endswith(EMBEDDING)}
    digests = {name: fields for name, fields in digests.items() if not (name.endswith(OUTPUT) and fields in shared)}
    return BaseTensors(digests, *_shapes(digests))


def _header(path: Path) -> tuple[TensorEntry, ...]:
    try:
        with path.open("rb") as stream:
            return read_header(stream, path.stat().st_size, path.name)
    except MalformedSafetensors as malformed:
        raise InvalidInput(f"{path} is damaged: {malformed.finding}; download it again", param="base") from malformed
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error}", param="base") from error


def _sha256(path: Path, entry: TensorEntry) -> str:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as stream:
        stream.seek(entry.offset)
        left = entry.size
        while left:
            piece = stream.read(min(left, CHUNK_BYTES))
            if not piece:
                raise InvalidInput(f"{path} became shorter while it was read; run this again", param="base")
            digest.update(piece)
            left -= len(piece)
    return digest.hexdigest()


def _shapes(
    digests: Mapping[str, tuple[str, tuple[int, ...], str]],
) -> tuple[dict[str, tuple[int, int]], dict[str, tuple[int, int]]]:
    """Linear layers and token embeddings: every matrix called `weight` is one or the other.

    Matrices with `embed` in their name that are no token embedding (positions, token types) are neither: vLLM
    adapts none of them.
    """
    linears: dict[str, tuple[int, int]] = {}
    embeddings: dict[str, tuple[int, int]] = {}
    for name, (_, shape, _) in sorted(digests.items()):
        module, _, kind = name.rpartition(".")
        if kind != "weight" or len(shape) != 2:
            continue
        last = module.rpartition(".")[2]
        if last == "embed_tokens":
            embeddings[module] = (shape[0], shape[1])
        elif "embed" not in last and last not in ("wte", "wpe"):
            linears[module] = (shape[0], shape[1])
    return linears, embeddings
