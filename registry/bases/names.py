"""Whether the model that an adapter says it was trained on is the base that it is published for, judging by names.

Trainers write whatever they loaded the model by: a hub id, a copy of it by another organisation, a variant of it in
four bits, a folder. The shapes of tensors tell most other bases apart, but not another model of the same family.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import Any

from registry.bases.store import BaseInfo

MAX_SMALL_FILE_BYTES = 2**20
HUB_CACHE = re.compile(r"models--[^/]+?--([^/]+)")
STORED_AS = re.compile(
    r"-(?:bnb|unsloth|4bit|8bit|int4|int8|nf4|gptq|awq|fp8|dynamic|bf16|fp16|fp32|float16|bfloat16|hf|gguf|qat|w4a16"
    r"|w8a8|w8a16|marlin|quantized|mlx|safetensors|q[2-8](?:-[01k](?:-[sml])?)?)$"
)
"""Ends of names that say how the weights are stored, and not which model they are."""

SAYS_NOTHING = re.compile(
    r"(?:the|my|a|new|old|local|final|last|best|base|basemodel|model|models|llm|weights|merged|checkpoint|ckpt|output"
    r"|outputs|result|results|run|tmp|temp|data|content|workspace|snapshot|main|latest|pretrained|hf|root|home"
    r"|[0-9]+|[0-9a-f]{7,64})(?:-|$)"
)
"""One word of a folder's name that names no model."""


SIZE = re.compile(r"(?:^|-)[0-9]+(?:-[0-9]+)?[bm](?:-|$)")
"""Parameters in a model's name."""


FAMILY = re.compile(
    r"llama|qwen|qwq|mistral|mixtral|ministral|codestral|devstral|pixtral|gemma|phi|gpt|falcon|smollm|deepseek|olmo"
    r"|granite|(?:^|-)yi(?:-|$)|bloom|(?:^|-)opt(?:-|$)|pythia|stablelm|starcoder|glm|internlm|baichuan|command-[ar]"
    r"|(?:^|-)mpt(?:-|$)|zephyr|vicuna|hermes|solar|kimi|minimax|ernie|hunyuan|nemotron|exaone|(?:^|-)aya(?:-|$)|jamba"
    r"|mamba|rwkv|apertus|lfm2|seed-oss|cohere|dolly|alpaca|dbrx|grok|llava|nemo"
)
"""Words by which models are known in public; a name's other words say little."""
LOCAL = re.compile(r"/|~|\.{1,2}/|[a-z]:(?:/|$)|file:", re.IGNORECASE)
"""How a path on somebody's disk begins, once its separators are slashes."""


class Naming(Enum):
    """What a name says about the base."""

    SAME = "the same model"
    SILENT = "nothing"
    OTHER = "another model"


def judge(declared: str | None, known: Iterable[str]) -> Naming:
    """Compare `base_model_name_or_path` with the names that the base is known by here."""
    if declared is None or not declared.strip():
        return Naming.SILENT
    names = {_squeezed(plain_name(other)) for other in known}
    path = declared.strip().replace("\\", "/").rstrip("/")
    last = plain_name(path)
    if _squeezed(last) in names:
        return Naming.SAME
    if SAYS_NOTHING.sub("", last) and not _names_nothing_public(path, names):
        return Naming.OTHER
    parents = [plain_name(part) for part in path.split("/")[:-1]]
    if any(_squeezed(parent) in names for parent in parents):
        return Naming.SAME
    return Naming.OTHER if any(SIZE.search(part) for part in (*parents, last)) else Naming.SILENT


def _names_nothing_public(path: str, names: Iterable[str]) -> bool:
    """Whether it is a path on a disk in which nothing looks like a model's name, nor like one of these."""
    if not LOCAL.match(path) or HUB_CACHE.search(path):
        return False
    parts = [plain_name(part) for part in path.split("/")]
    like_a_name = any(SIZE.search(part) or FAMILY.search(part) for part in parts)
    return not like_a_name and not any(name in _squeezed(part) for name in names for part in parts)


def plain_name(text: str) -> str:
    """A model's name without organisation, folders, and how its weights are stored; a-z, 0-9 and '-'."""
    path = text.strip().replace("\\", "/").rstrip("/").partition("@")[0]
    cached = HUB_CACHE.search(path)
    last = cached[1] if cached else path.rpartition("/")[2].rpartition("--")[2]
    name = re.sub(r"[^a-z0-9]+", "-", last.lower()).strip("-")
    while (shorter := STORED_AS.sub("", name)) != name:
        name = shorter
    return name.removeprefix("meta-") if name.startswith("meta-llama") else name


def names_of(base: BaseInfo, folders: Iterable[Path]) -> set[str]:
    """What the base is called: its public name, its folders, and what those say of where they are from."""
    names = {base.name}
    for folder in folders:
        names.add(folder.name)
        names |= {
            value
            for file, key in (("provenance.json", "hub_id"), ("config.json", "_name_or_path"))
            if isinstance(value := _small_json(folder / file).get(key), str)
        }
    return names


def _squeezed(name: str) -> str:
    return name.replace("-", "")


def _small_json(path: Path) -> dict[str, Any]:
    """The object in a file of the operator's own; empty when there is none."""
    try:
        document = json.loads(path.read_bytes()) if path.stat().st_size <= MAX_SMALL_FILE_BYTES else {}
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
