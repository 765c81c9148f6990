"""Text of a row that the tokenizer would not read as text: `<|im_end|>`, `</s>`, `<fim_prefix>`, whatever it knows.

vLLM renders a chat with the template and tokenises the whole with special tokens parsed, and reads a plain prompt the
same way: what a user writes becomes control tokens, and its answers are decoded without any. So an answer that quotes
one can be learnt, and never be said; a prompt that quotes one is rendered alike in training and in serving, but as
control tokens. Tokens that a tokenizer was given and that it does not call special (`<think>`) are text on both sides.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Literal

from trainer.data.faults import Fault
from trainer.data.lines import shown
from trainer.data.rows import Example, Message

Quoted = Literal["refuse", "as_served"]
CACHED_TEXTS = 4_096  # system prompts and first turns come again and again


CANNOT = (
    "which would be learnt as a control token, and engines leave those out of answers; "
    "remove it (the stop token is added by the trainer) or reword it"
)


class SpecialTokens:
    """The special tokens of one tokenizer, and which texts hold them."""

    def __init__(self, tokenizer: Any, in_prompts: Quoted) -> None:
        known = getattr(tokenizer, "added_tokens_decoder", {})
        added = {token_id for token_id, token in known.items() if token.special}
        self._tokenizer = tokenizer
        self._special = frozenset({*tokenizer.all_special_ids, tokenizer.eos_token_id, *added} - {None})
        self._unknown = getattr(tokenizer, "unk_token_id", None)
        self._in_prompts = in_prompts
        self._quoted = lru_cache(CACHED_TEXTS)(self._look)

    def faults(self, example: Example) -> Iterator[Fault]:
        """What in this example is no text to the tokenizer, by field."""
        answer, prompts = _fields(example)
        if self._in_prompts == "refuse":
            for field, text in prompts:
                tokens = [token for token in self._quoted(text) if self._name(token) in text]
                if tokens:
                    yield Fault(
                        example.line,
                        "special_token_in_prompt",
                        f"{field} quotes {self._names(tokens)}, which the engine reads as control tokens, not as text; "
                        'reword it, or set data.special_tokens_in_prompts = "as_served"',
                    )
        field, text = answer
        tokens = list(self._quoted(text))
        if self._unknown in tokens and self._name(self._unknown) not in text:
            tokens.remove(self._unknown)
            unknown = "has characters that the base's tokenizer does not know, so they cannot be said; replace them"
            yield Fault(example.line, "unknown_characters", f"{field} {unknown}")
        if tokens:
            yield Fault(example.line, "special_token_in_answer", f"{field} quotes {self._names(tokens)}, {CANNOT}")

    def _look(self, text: str) -> tuple[int, ...]:
        ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return tuple(dict.fromkeys(token for token in ids if token in self._special))

    def _name(self, token: int) -> str:
        return str(self._tokenizer.convert_ids_to_tokens(token))

    def _names(self, tokens: list[int]) -> str:
        return ", ".join(shown(self._name(token)) for token in tokens[:3])


def texts_of(example: Example) -> Iterator[str]:
    """The answer and the prompt's texts."""
    answer, prompts = _fields(example)
    yield from (text for _, text in (answer, *prompts))


def _fields(example: Example) -> tuple[tuple[str, str], list[tuple[str, str]]]:
    """The answer and the prompt's texts, each with the name of its field."""
    if isinstance(example.prompt, str):
        return ("'completion'", example.completion), [("'prompt'", example.prompt)]
    prompts = [(_field(index, turn), turn.text) for index, turn in enumerate(example.prompt)]
    offered = [("'tools'", example.tools)] if example.tools else []
    return (_field(len(prompts), example.answer), example.answer.text), [*prompts, *offered]


def _field(index: int, turn: Message) -> str:
    return f"messages[{index}].{'tool_calls' if turn.tool_calls else 'content'}"
