"""Special tokens that rows quote, found by the base's `tokenizer.json` alone: in a moment, without the model or torch.

What this cannot tell (a base that is not at hand yet, or has no such file, characters that no token stands for) is
found when the rows are encoded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from trainer.data.faults import Fault
from trainer.data.read import Check
from trainer.data.rows import Example
from trainer.data.specials import Quoted, SpecialTokens, texts_of


class FileTokenizer:
    """What `SpecialTokens` asks of a tokenizer."""

    def __init__(self, folder: Path) -> None:
        """Raises what the library and JSON raise."""
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_truncation()
        settings = json.loads((folder / "tokenizer_config.json").read_bytes())
        named = {key: self._id(settings[key]) for key in settings if key.endswith("_token")}
        self.eos_token_id = named.get("eos_token")
        self.unk_token_id = named.get("unk_token")
        self.all_special_ids = [token for token in named.values() if token is not None]
        self.added_tokens_decoder = self._tokenizer.get_added_tokens_decoder()

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        """Token ids of a text."""
        return {"input_ids": self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids}

    def convert_ids_to_tokens(self, token: int) -> str | None:
        """A token's text."""
        found: str | None = self._tokenizer.id_to_token(token)
        return found

    def special_texts(self) -> list[str]:
        """Of all special tokens."""
        added = [token.content for token in self.added_tokens_decoder.values() if token.special]
        return [*added, *filter(None, map(self.convert_ids_to_tokens, self.all_special_ids))]

    def _id(self, token: Any) -> int | None:
        content = token.get("content") if isinstance(token, dict) else token
        found: int | None = self._tokenizer.token_to_id(content) if isinstance(content, str) else None
        return found


def quotes_of(base_folder: Path | None, in_prompts: Quoted) -> Check:
    """Special tokens of that base in an example's texts; nothing where the base's folder cannot tell."""
    try:
        tokenizer = FileTokenizer(base_folder) if base_folder else None
    except Exception:  # the library's own have no nearer ancestor; the trainer says later what is wrong with the base
        tokenizer = None
    texts = tokenizer.special_texts() if tokenizer else []
    if not texts:
        return lambda _: ()
    special = SpecialTokens(tokenizer, in_prompts)
    any_of_them = re.compile("|".join(map(re.escape, texts)))

    def quotes(example: Example) -> Iterable[Fault]:
        return special.faults(example) if any(map(any_of_them.search, texts_of(example))) else ()

    return quotes
