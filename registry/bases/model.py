"""Which base model is this? Identity by what it computes, and the shapes that an adapter of it must have.

The digest covers tensors (name, dtype, shape, bytes), the tokenizer, the chat template and the settings that change
how the tensors are used. It does not cover files: another sharding, metadata, key order or library version gives the
same digest, so saving a model again does not orphan its adapters.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from registry.bases.files import BaseFiles, find_files, read_json
from registry.bases.normal_form import canonical_settings, canonical_tokenizer, chat_templates, text_config
from registry.bases.tensors import BaseTensors, read_base_tensors
from registry.errors import InvalidInput

SPEC_FORMAT = 1
"""Part of every cache entry; raise it when the digest's recipe changes."""


@dataclass(frozen=True, slots=True)
class BaseSpec:
    """What the registry knows of a base model.

    `digest` is `sha256:<hex>`. `linears` maps the path of each linear layer, as in the checkpoint and without
    `.weight` (`model.layers.0.mlp.up_proj`), to (out, in) features; `embeddings` maps each token embedding to
    (vocabulary, width). Lengths are in tokens, `max_position` is None where the configuration gives none.
    """

    digest: str
    architecture: str
    num_layers: int
    vocab_size: int
    hidden_size: int
    max_position: int | None
    chat_template: bool
    tied_embeddings: bool
    linears: Mapping[str, tuple[int, int]]
    embeddings: Mapping[str, tuple[int, int]]

    def to_json(self) -> dict[str, Any]:
        """A document for `json.dumps`; `from_json` reads it back."""
        document = asdict(self)
        document["linears"] = {module: list(shape) for module, shape in self.linears.items()}
        document["embeddings"] = {module: list(shape) for module, shape in self.embeddings.items()}
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> BaseSpec:
        """The spec that `to_json` wrote; `KeyError` or `TypeError` when it is another document."""
        shapes = {
            key: {module: (int(shape[0]), int(shape[1])) for module, shape in document[key].items()}
            for key in ("linears", "embeddings")
        }
        return cls(**{**document, **shapes})


def describe_base(folder: Path, cache: Path | None = None) -> BaseSpec:
    """Digest and shapes of the model in `folder` (Hugging Face layout, safetensors).

    Reads every weight once, some megabytes at a time. With `cache`, a JSON file, a folder whose files have kept path,
    size, times and inode is not read again. Raises `InvalidInput` that names the file and the remedy.
    """
    files = find_files(folder)
    try:
        stamp = files.stamp()
        known = _load_cache(cache)
        cached = _cached_spec(known.get(str(files.folder)), stamp)
        if cached is not None:
            return cached
        spec = _describe(files)
        unchanged = files.stamp() == stamp
    except OSError as error:
        raise InvalidInput(
            f"{files.folder} cannot be read: {error}; check its files' permissions", param="base"
        ) from error
    if not unchanged:
        raise InvalidInput(
            f"{files.folder} changed while it was read; run this again when nothing writes there", param="base"
        )
    if cache is not None:
        known[str(files.folder)] = {"stamp": [SPEC_FORMAT, *stamp], "spec": spec.to_json()}
        _save_cache(cache, known)
    return spec


def known_folders(cache: Path, digest: str) -> list[Path]:
    """The folders that held the model of this digest when `describe_base` read them with this cache."""
    entries = _load_cache(cache).items()
    return [Path(name) for name, entry in entries if isinstance(entry, dict) and _digest_in(entry) == digest]


def _digest_in(entry: dict[str, Any]) -> object:
    spec = entry.get("spec")
    return spec.get("digest") if isinstance(spec, dict) else None


def _describe(files: BaseFiles) -> BaseSpec:
    document = read_json(files.config)
    config = text_config(document)
    tensors = read_base_tensors(files.weights)
    templates = chat_templates(files)
    identity = {
        "tensors": [[name, *fields] for name, fields in sorted(tensors.digests.items())],
        "tokenizer": canonical_tokenizer(files),
        "chat_templates": templates,
        "settings": canonical_settings(document, config),
    }
    return BaseSpec(
        digest="sha256:" + hashlib.sha256(_canonical(identity)).hexdigest(),
        architecture=_architecture(document, files),
        num_layers=_count(config, files, "num_hidden_layers", "n_layer"),
        vocab_size=_count(config, files, "vocab_size"),
        hidden_size=_count(config, files, "hidden_size", "n_embd"),
        max_position=_count(config, files, "max_position_embeddings") if "max_position_embeddings" in config else None,
        chat_template=bool(templates),
        tied_embeddings=_is_tied(document, config, tensors),
        linears=tensors.linears,
        embeddings=tensors.embeddings,
    )


def _canonical(document: Mapping[str, Any]) -> bytes:
    """One byte form per meaning: sorted keys, no spaces, ASCII."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _architecture(document: Mapping[str, Any], files: BaseFiles) -> str:
    names = document.get("architectures")
    if not (isinstance(names, list) and len(names) == 1 and isinstance(names[0], str)):
        raise InvalidInput(
            f"{files.config}: architectures is {names!r}; save a causal language model with save_pretrained",
            param="base",
        )
    return names[0]


def _count(config: Mapping[str, Any], files: BaseFiles, *names: str) -> int:
    value = next((config[name] for name in names if name in config), None)
    if type(value) is not int or value <= 0:
        raise InvalidInput(f"{files.config}: {names[0]} is {value!r}; it must be a positive whole number", param="base")
    return value


def _is_tied(document: Mapping[str, Any], config: Mapping[str, Any], tensors: BaseTensors) -> bool:
    """Whether input and output embedding are one matrix: by the settings, or because no other is there."""
    declared = config.get("tie_word_embeddings", document.get("tie_word_embeddings"))
    return declared is True or not any(module.rpartition(".")[2] == "lm_head" for module in tensors.linears)


def _load_cache(cache: Path | None) -> dict[str, Any]:
    """The cache, or an empty one: it can always be computed again."""
    try:
        known = json.loads(cache.read_bytes()) if cache is not None else {}
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _cached_spec(entry: Any, stamp: list[list[str | int]]) -> BaseSpec | None:
    """The spec of a cache entry with this stamp; None when there is none or it was damaged."""
    if not isinstance(entry, dict) or entry.get("stamp") != [SPEC_FORMAT, *stamp]:
        return None
    try:
        return BaseSpec.from_json(entry["spec"])
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return None


def _save_cache(cache: Path, known: Mapping[str, Any]) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=cache.parent, prefix=f".{cache.name}-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump(known, stream)
        os.replace(name, cache)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
