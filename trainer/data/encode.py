"""Examples as token ids, exactly as the engine will see them: the prompt alone is tokenised, then the answer.

Chat templates without generation markers (SmolLM2's) cannot say which tokens the assistant wrote, so the answer is cut
out of the rendered text instead: render with and without it, and the rest is the completion, stop token included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from trainer.data.rows import DataError, Example, Fault, Message

Overlong = Literal["refuse", "truncate"]
IGNORED = -100  # the label that torch's cross entropy leaves out


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids of one example; `completion_ids` are the tokens that count for the loss."""

    line: int
    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]

    @property
    def input_ids(self) -> list[int]:
        """Prompt and completion, in order."""
        return [*self.prompt_ids, *self.completion_ids]

    @property
    def labels(self) -> list[int]:
        """As long as `input_ids`; the prompt's places hold -100."""
        return [IGNORED] * len(self.prompt_ids) + list(self.completion_ids)


class RenderError(ValueError):
    """The chat template does not put the answer after the prompt, so its tokens cannot be told apart."""


def encode_all(
    tokenizer: Any,
    examples: Sequence[Example],
    *,
    file: str,
    max_length_tokens: int,
    overlong: Overlong = "refuse",
) -> list[Encoded]:
    """Encode every example; DataError lists all that are too long or would be left without a label token."""
    encoded: list[Encoded] = []
    faults: list[Fault] = []
    for example in examples:
        try:
            row = _encode(tokenizer, example)
        except RenderError as failed:
            faults.append(Fault(example.line, "cannot_render", str(failed)))
            continue
        fault = _length_fault(row, max_length_tokens, overlong)
        if fault is not None:
            faults.append(fault)
        else:
            encoded.append(_cut(row, max_length_tokens))
    if faults:
        raise DataError(file, faults)
    return encoded


def prompt_text(tokenizer: Any, prompt: str | tuple[Message, ...]) -> str:
    """The text that is tokenised as the prompt, the assistant's opening included."""
    if isinstance(prompt, str):
        return prompt
    return _render(tokenizer, prompt, add_generation_prompt=True)


def _encode(tokenizer: Any, example: Example) -> Encoded:
    before = prompt_text(tokenizer, example.prompt)
    if isinstance(example.prompt, str):
        # vLLM's /v1/completions adds the tokenizer's special tokens to a prompt; its chat endpoint does not.
        prompt_ids = tokenizer(before, add_special_tokens=True)["input_ids"]
        answer = example.completion
    else:
        prompt_ids = tokenizer(before, add_special_tokens=False)["input_ids"]
        whole = _render(tokenizer, (*example.prompt, Message("assistant", example.completion)))
        if not whole.startswith(before) or len(whole) == len(before):
            raise RenderError("the chat template does not place the answer right after the prompt")
        answer = whole[len(before) :]
    ids = tokenizer(answer, add_special_tokens=False)["input_ids"]
    return Encoded(example.line, tuple(prompt_ids), tuple(_up_to_stop(ids, tokenizer.eos_token_id)))


def _up_to_stop(ids: list[int], stop: int) -> list[int]:
    """End at the stop token, added where missing: an answer whose end is not trained never ends."""
    return [*ids[: ids.index(stop)], stop] if stop in ids else [*ids, stop]


def _render(tokenizer: Any, messages: tuple[Message, ...], *, add_generation_prompt: bool = False) -> str:
    turns = [{"role": turn.role, "content": turn.content} for turn in messages]
    return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=add_generation_prompt))


def _length_fault(row: Encoded, limit: int, overlong: Overlong) -> Fault | None:
    if len(row.prompt_ids) >= limit:
        return Fault(
            row.line,
            "no_label_tokens",
            f"the prompt alone is {len(row.prompt_ids)} tokens and training.max_length_tokens is {limit}, so nothing "
            "of the answer would be learnt; shorten the prompt or raise max_length_tokens",
        )
    length = len(row.prompt_ids) + len(row.completion_ids)
    if length > limit and overlong == "refuse":
        return Fault(
            row.line,
            "too_long",
            f"{length} tokens and training.max_length_tokens is {limit}; shorten the row, raise max_length_tokens, "
            'or set data.overlong = "truncate"',
        )
    return None


def _cut(row: Encoded, limit: int) -> Encoded:
    return Encoded(row.line, row.prompt_ids, row.completion_ids[: limit - len(row.prompt_ids)])
