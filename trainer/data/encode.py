"""Examples as token ids, exactly as the engine will see them: the prompt alone is tokenised, then the answer.

Chat templates without generation markers (SmolLM2's) cannot say which tokens the assistant wrote, so the answer is cut
out of the rendered text instead: render with and without it, and the rest is the completion, stop token included.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from registry.errors import first_line
from trainer.data.faults import DataError, Fault
from trainer.data.findings import Finding, finding
from trainer.data.lines import shown
from trainer.data.rows import Example, Message
from trainer.data.specials import Quoted, SpecialTokens

Overlong = Literal["refuse", "truncate"]
IGNORED = -100  # the label that torch's cross entropy leaves out


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids of one example; `completion_ids` are the tokens that count for the loss, `cut` if some are left out."""

    line: int
    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    cut: bool = False

    @property
    def input_ids(self) -> list[int]:
        """Prompt and completion, in order."""
        return [*self.prompt_ids, *self.completion_ids]

    @property
    def labels(self) -> list[int]:
        """As long as `input_ids`; the prompt's places hold -100."""
        return [IGNORED] * len(self.prompt_ids) + list(self.completion_ids)


@dataclass(frozen=True, slots=True)
class Rules:
    """How long an encoded row may be, in tokens, what is done with a longer one, and what a prompt may quote."""

    max_length_tokens: int
    overlong: Overlong = "refuse"
    special_tokens_in_prompts: Quoted = "refuse"


class RowError(ValueError):
    """A row cannot become tokens; `code` is a fault's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def encode_all(tokenizer: Any, examples: Sequence[Example], *, file: str, rules: Rules) -> list[Encoded]:
    """Encode every example; DataError lists every fault: what is too long, cannot be rendered, or is not all text.

    Of answers that are cut none is trained to end; a set in which all are is refused.
    """
    if tokenizer.eos_token_id is None:
        text = (
            "the base's tokenizer names no stop token (eos_token), so that answers would never end; take another base"
        )
        raise DataError((file, [Fault(1, "no_stop_token", text)]))
    special = SpecialTokens(tokenizer, rules.special_tokens_in_prompts)
    most_characters = rules.max_length_tokens * max(map(len, tokenizer.get_vocab()))
    encoded: list[Encoded] = []
    faults: dict[Fault, None] = {}  # the turns of one conversation are in several examples
    for example in examples:
        try:
            row = encode(tokenizer, example, most_characters=most_characters)
            faults |= dict.fromkeys([*special.faults(example), *_length_faults(row, rules)])
        except RowError as failed:
            faults[Fault(example.line, failed.code, str(failed))] = None
        else:
            encoded.append(_cut(row, rules.max_length_tokens))
    if not faults and encoded and all(row.cut for row in encoded):
        text = (
            f"every row is longer than training.max_length_tokens ({rules.max_length_tokens}), so every answer would "
            "be cut, stop token and all; raise it or shorten the rows"
        )
        faults[Fault(encoded[0].line, "all_truncated", text)] = None
    if faults:
        raise DataError((file, faults))
    return encoded


def truncation(rows: Sequence[Encoded], limit: int) -> Iterator[Finding]:
    """How many answers are cut at `limit` tokens, and so are not trained to end."""
    cut = [row.line for row in rows if row.cut]
    if cut:
        text = f"{len(cut)} of {len(rows)} answers are cut at training.max_length_tokens = {limit}: their ends, stop "
        yield finding("warn", "truncated", text + "tokens and all, are not learnt", cut)


TOO_MUCH = (
    "more than training.max_length_tokens can be, so nothing of the answer would be learnt; "
    "shorten the prompt or raise max_length_tokens"
)


def encode(tokenizer: Any, example: Example, *, most_characters: int) -> Encoded:
    """One example as tokens; of more than `most_characters`, the beginning of its answer. Raises RowError."""
    try:
        before, answer = _rendered(tokenizer, example)
    except RowError:
        raise
    except (
        Exception
    ) as error:  # a template's own refusal, or whatever it raises about a conversation it was not made for
        reason = f"{first_line(error):.200}"
        raise RowError("cannot_render", f"the base's chat template refuses the row: {reason}") from error
    if len(before) > most_characters:
        raise RowError("no_label_tokens", f"the prompt alone has {len(before)} characters, {TOO_MUCH}")
    try:
        # vLLM's /v1/completions adds the tokenizer's special tokens to a prompt; its chat endpoint does not.
        prompt_ids = tokenizer(before, add_special_tokens=isinstance(example.prompt, str))["input_ids"]
        ids = tokenizer(answer[:most_characters], add_special_tokens=False)["input_ids"]
    except Exception as error:  # tokenizers raise what they like
        raise RowError("cannot_tokenise", f"the base's tokenizer refuses the row: {first_line(error):.200}") from error
    if not prompt_ids:
        raise RowError("no_prompt_tokens", "the base's tokenizer makes no token of the prompt; write another one")
    return Encoded(example.line, tuple(prompt_ids), tuple(_up_to_stop(ids, tokenizer.eos_token_id)))


def prompt_text(tokenizer: Any, prompt: str | tuple[Message, ...], tools: str = "") -> str:
    """The text that is tokenised as the prompt, the assistant's opening included; `tools` is an example's."""
    if isinstance(prompt, str):
        return prompt
    return _render(tokenizer, prompt, tools, add_generation_prompt=True)


def _rendered(tokenizer: Any, example: Example) -> tuple[str, str]:
    before = prompt_text(tokenizer, example.prompt, example.tools)
    if isinstance(example.prompt, str):
        return before, example.completion
    whole = _render(tokenizer, (*example.prompt, example.answer), example.tools)
    if not whole.startswith(before) or len(whole) == len(before):
        raise RowError("cannot_render", "the chat template does not place the answer right after the prompt")
    answer = whole[len(before) :]
    _require_tools(example, before, answer)
    return before, answer


def _require_tools(example: Example, before: str, answer: str) -> None:
    """Templates that know no tools leave them out silently."""
    turns = example.prompt if not isinstance(example.prompt, str) else ()
    told = [tool["function"]["name"] for tool in json.loads(example.tools or "[]")]
    told += [call.name for turn in turns for call in turn.tool_calls]
    left_out = [name for name in told if name not in before]
    left_out += [call.name for call in example.tool_calls if call.name not in answer]
    if left_out:
        raise RowError(
            "tools_not_rendered",
            f"the base's chat template leaves {shown(left_out[0])} out; take a base whose template knows tools",
        )


def _up_to_stop(ids: list[int], stop: int) -> list[int]:
    """End at the stop token, added where missing: an answer whose end is not trained never ends."""
    return [*ids[: ids.index(stop)], stop] if stop in ids else [*ids, stop]


def _render(
    tokenizer: Any, messages: tuple[Message, ...], tools: str = "", *, add_generation_prompt: bool = False
) -> str:
    offered = {"tools": json.loads(tools)} if tools else {}
    turns = [as_rendered(turn) for turn in messages]
    return str(
        tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=add_generation_prompt, **offered)
    )


def as_rendered(turn: Message) -> dict[str, Any]:
    """A turn as vLLM hands it to the chat template: arguments of calls are objects there, not texts."""
    written: dict[str, Any] = {"role": turn.role, "content": turn.content}
    if turn.tool_calls:
        written["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.loads(call.arguments)},
            }
            for call in turn.tool_calls
        ]
    named = {"tool_call_id": turn.tool_call_id, "name": turn.name}
    return written | {key: value for key, value in named.items() if value is not None}


def _length_faults(row: Encoded, rules: Rules) -> Iterator[Fault]:
    limit, length = rules.max_length_tokens, len(row.prompt_ids) + len(row.completion_ids)
    if len(row.prompt_ids) >= limit:
        yield Fault(
            row.line,
            "no_label_tokens",
            f"the prompt alone is {len(row.prompt_ids)} tokens and training.max_length_tokens is {limit}, so nothing "
            "of the answer would be learnt; shorten the prompt or raise max_length_tokens",
        )
    elif length > limit and rules.overlong == "refuse":
        yield Fault(
            row.line,
            "too_long",
            f"{length} tokens and training.max_length_tokens is {limit}; shorten the row, raise max_length_tokens, "
            'or set data.overlong = "truncate"',
        )


def _cut(row: Encoded, limit: int) -> Encoded:
    room = limit - len(row.prompt_ids)
    return Encoded(row.line, row.prompt_ids, row.completion_ids[:room], cut=len(row.completion_ids) > room)
