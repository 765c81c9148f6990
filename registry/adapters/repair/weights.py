"""A safetensors file anew, with other names or fewer tensors, every value byte for byte as it was."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from registry.storage.safetensors_header import TensorEntry

CHUNK_BYTES = 4 * 2**20
ALIGNMENT = 8


def write_weights(tensors: Mapping[str, TensorEntry], path: Path) -> None:
    """Replace the file at `path` by one of these tensors, by their new names, with the data that it has."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, entry in tensors.items():
        offsets = [offset, offset + entry.size]
        header[name] = {"dtype": entry.dtype, "shape": list(entry.shape), "data_offsets": offsets}
        offset += entry.size
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % ALIGNMENT)
    beside = path.with_name(f".{path.name}")
    with path.open("rb", buffering=0) as source, beside.open("wb") as target:
        target.write(len(encoded).to_bytes(8, "little") + encoded)
        for entry in tensors.values():
            source.seek(entry.offset)
            left = entry.size
            while left:
                piece = source.read(min(left, CHUNK_BYTES))
                if not piece:
                    raise OSError(f"{path} became shorter while it was read")
                target.write(piece)
                left -= len(piece)
    os.replace(beside, path)
