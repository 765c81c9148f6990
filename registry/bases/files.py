"""Which files of a model folder make up the base model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.errors import InvalidInput

INDEX_FILE = "model.safetensors.index.json"
SINGLE_FILE = "model.safetensors"
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "tokenizer.model", "vocab.json", "merges.txt",
    "added_tokens.json", "chat_template.jinja", "chat_template.json", "tekken.json",
)  # fmt: skip
TEMPLATE_FOLDER = "additional_chat_templates"
MAX_JSON_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class BaseFiles:
    """A model folder sorted out: its configuration, its weight files and, by name, what text handling it has."""

    folder: Path
    config: Path
    weights: tuple[Path, ...]
    index: Path | None
    text: dict[str, Path]

    def __iter__(self) -> Iterator[Path]:
        yield self.config
        yield from self.weights
        if self.index is not None:
            yield self.index
        yield from self.text.values()

    def stamp(self) -> list[list[str | int]]:
        """Path, bytes, modification and change time in ns, and inode of every file: what changes when content does."""
        stamps: list[list[str | int]] = []
        for path in self:
            status = path.stat()
            name = str(path.relative_to(self.folder))
            stamps.append([name, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino])
        return stamps


def find_files(folder: Path) -> BaseFiles:
    """Sort out `folder`; raises `InvalidInput` when it holds no model in safetensors."""
    folder = folder.expanduser().resolve()
    config = folder / "config.json"
    if not config.is_file():
        raise InvalidInput(f"{config} is missing; give a folder that save_pretrained wrote", param="base")
    index = folder / INDEX_FILE
    text = {name: folder / name for name in TOKENIZER_FILES if (folder / name).is_file()}
    for path in sorted((folder / TEMPLATE_FOLDER).glob("*.jinja")):
        text[f"{TEMPLATE_FOLDER}/{path.name}"] = path
    return BaseFiles(folder, config, _weights(folder, index), index if index.is_file() else None, text)


def read_text(path: Path) -> str:
    """The UTF-8 text in `path`; raises `InvalidInput`."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ValueError(f"more than {MAX_JSON_BYTES} bytes")
        return path.read_bytes().decode("utf-8")
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path}: {error}; download or save the model again", param="base") from error


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`; raises `InvalidInput`."""
    try:
        document = json.loads(read_text(path))
        if not isinstance(document, dict):
            raise ValueError(f"a JSON {type(document).__name__} instead of an object")
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path}: {error}; download or save the model again", param="base") from error
    return document


def _weights(folder: Path, index: Path) -> tuple[Path, ...]:
    single = folder / SINGLE_FILE
    if index.is_file() and single.is_file():
        raise InvalidInput(f"{index} and {SINGLE_FILE} are both there; delete the set that is not wanted", param="base")
    if single.is_file():
        return (single,)
    if index.is_file():
        return _indexed(folder, index)
    found = tuple(sorted(folder.glob("*.safetensors")))
    if not found:
        pickled = next((path.name for path in folder.glob("*.bin")), None)
        cause = f"{pickled} is a pickle, which can run code when read" if pickled else "there are no weights"
        raise InvalidInput(
            f"{single} is missing ({cause}); save the model with save_pretrained, which writes safetensors",
            param="base",
        )
    return found


def _indexed(folder: Path, index: Path) -> tuple[Path, ...]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise InvalidInput(f"{index}: weight_map is {weight_map!r}; download or save the model again", param="base")
    names = list(weight_map.values())
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or not (folder / name).is_file():
            raise InvalidInput(
                f"{index} names {name!r}, which is no file there; download the model again", param="base"
            )
    return tuple(folder / name for name in sorted(set(names)))
