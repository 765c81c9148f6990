"""A tokenizer in GGUF's words: its tokens, their kinds, its merges, and how text is split before that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.errors import TrainerError

LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPLITS = {LLAMA_3: "llama-bpe", LLAMA_3.replace("{1,3}", ""): "qwen2"}
"""Patterns that llama.cpp knows by a name."""


def check_tokenizer(folder: Path) -> Mapping[str, Any]:
    """The byte-level BPE tokenizer in a folder, if it can be written. Raises TrainerError for other kinds and unknown
    ways to split.
    """
    document = _document(folder)
    model = document.get("model", {})
    if model.get("type") != "BPE" or model.get("byte_fallback") or not model.get("merges"):
        raise TrainerError(
            "GGUF is written for byte-level BPE tokenizers with merges only, and the base has another kind; export "
            "--as merged, and convert that folder with llama.cpp"
        )
    split_name(document.get("pre_tokenizer") or {})
    return document


def add_tokenizer(writer: Any, folder: Path, vocab: int) -> None:
    """Write the tokenizer in a folder. Raises TrainerError as `check_tokenizer` does."""
    import gguf

    document = check_tokenizer(folder)
    model = document["model"]
    tokens, kinds = _tokens(document, vocab)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(split_name(document.get("pre_tokenizer") or {}))
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]])
    special = gguf.SpecialVocab(folder, load_merges=False, n_vocab=vocab)
    special.chat_template = None
    special.add_to_gguf(writer, quiet=True)
    template = folder / "chat_template.jinja"
    if template.is_file():
        writer.add_chat_template(template.read_text("utf-8"))


def split_name(splitter: Mapping[str, Any]) -> str:
    """llama.cpp's name for how a tokenizer splits text. Raises TrainerError for a way that it has no name for here."""
    steps = list(splitter.get("pretokenizers", [splitter]))
    kinds = [step.get("type") for step in steps]
    last = steps[-1]
    if kinds == ["ByteLevel"] and last.get("use_regex", True):
        return "gpt-2"
    if kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits") and last.get("use_regex", True):
        return "smollm"
    pattern = steps[0].get("pattern", {}).get("Regex") if kinds == ["Split", "ByteLevel"] else None
    if pattern in SPLITS:
        return SPLITS[pattern]
    raise TrainerError(
        "how the base's tokenizer splits text has no name here, so llama.cpp would split it otherwise; export --as "
        "merged, and convert that folder with llama.cpp"
    )


def _document(folder: Path) -> Mapping[str, Any]:
    try:
        document: Mapping[str, Any] = json.loads((folder / "tokenizer.json").read_bytes())
    except (OSError, ValueError) as error:
        raise TrainerError(f"{folder} has no tokenizer.json that can be read ({error}); export --as merged") from error
    return document


def _tokens(document: Mapping[str, Any], vocab: int) -> tuple[list[str], list[int]]:
    """Of every row of the embedding: rows without a token have a name of their own."""
    from gguf import TokenType

    names = {place: name for name, place in document["model"]["vocab"].items()}
    added = {one["id"]: one for one in document.get("added_tokens", [])}
    tokens, kinds = [], []
    for place in range(vocab):
        if place in added:
            tokens.append(added[place]["content"])
            kinds.append(TokenType.CONTROL if added[place].get("special") else TokenType.USER_DEFINED)
        else:
            tokens.append(names.get(place, f"[PAD{place}]"))
            kinds.append(TokenType.NORMAL if place in names else TokenType.UNUSED)
    return tokens, kinds
