"""What the mock says: words and numbers that depend on nothing but (adapter's content, prompt, choice).

Two adapters never say the same to a prompt, and one adapter always does. So a stranger who knows only HTTP can tell
whose weights answered: ask every version, and the base, alone for a fixed prompt, and keep the text as its *signature*.
Any later answer to that prompt must be the signature of the version that was asked for; if it is another's, it says
whose. Neither name, engine, boot, sampling parameters, streaming nor other requests have a part in it, and `max_tokens`
only cuts it (k tokens are the first k words of any longer answer). A word is one of 256: with 4 tokens the chance that
any two of 10,000 versions share a signature is 1 in 100, with 8 tokens nil. Chat and completions have their own ones.
"""

from __future__ import annotations

import hashlib
import json
import re
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from unicodedata import normalize

from loadtest.mock_engine.adapters import Weights
from loadtest.mock_engine.wire import EngineError
from loadtest.mock_engine.worker import AdapterTable

WORDS = tuple(
    (a + b)
    for a in ("ba", "ce", "di", "fo", "gu", "ha", "je", "ki", "lo", "mu", "na", "pe", "ri", "so", "tu", "ve")
    for b in ("l", "m", "n", "r", "s", "t", "x", "z", "ld", "mp", "nd", "rk", "st", "th", "ng", "ck")
)
"""256 words: one byte of a digest is one word."""
FIRST_WORD_ID = 1_000
BASE_DIGEST = b"base"
PIECE = re.compile(r"\s*\S+|\s+$")


@dataclass(frozen=True, slots=True)
class Choice:
    """One generated sequence."""

    index: int
    token_ids: tuple[int, ...]
    words: tuple[str, ...]
    finish_reason: str


def tokenize(text: str, vocab_size: int) -> tuple[int, ...]:
    """One token per word, by hash: stable, and no tokenizer needed. Not vLLM's ids."""
    return tuple(
        int.from_bytes(hashlib.blake2b(piece.encode(), digest_size=4).digest(), "little") % vocab_size
        for piece in words_of(text)
    )


def prompt_tokens(text: str, tokenizer: str, vocab_size: int) -> tuple[int, ...]:
    """What an engine with this tokenizer (`Options.tokenizer`) reads of a text."""
    if tokenizer == "words":
        return tokenize(text, vocab_size)
    return tuple(byte % vocab_size for byte in normalize("NFC", text).encode())


def words_of(text: str) -> tuple[str, ...]:
    """The texts of its tokens; together they are the text."""
    return tuple(PIECE.findall(text))


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a chat template gets, by the names that vLLM gives it."""

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None
    variables: Mapping[str, Any]
    generates: bool
    continues: bool

    @classmethod
    def served(cls, body: dict[str, Any]) -> Conversation:
        """Of a chat request."""
        effort = body.get("reasoning_effort")
        variables = {"documents": body.get("documents"), "reasoning_effort": effort}
        given = dict(body.get("chat_template_kwargs") or {})
        if effort is not None and "enable_thinking" not in given:
            given["enable_thinking"] = effort != "none"
        given |= {name: value for name, value in variables.items() if value is not None}
        messages = [
            {"reasoning": message["reasoning_content"], **message} if "reasoning_content" in message else message
            for message in body["messages"]
        ]
        return cls._of({**body, "messages": messages, "chat_template_kwargs": given})

    @classmethod
    def counted(cls, body: dict[str, Any]) -> Conversation:
        """Of a question to /tokenize, which knows fewer fields: of the others it gets what is in its variables, and
        no thoughts under their older name.
        """
        return cls._of(body)

    @classmethod
    def _of(cls, body: dict[str, Any]) -> Conversation:
        return cls(
            body["messages"],
            body.get("tools"),
            body.get("chat_template_kwargs") or {},
            body.get("add_generation_prompt", True),
            body.get("continue_final_message", False),
        )


def render_chat(conversation: Conversation, template: str = "chatml", *, knows_tools: bool = False) -> str:
    """The conversation as a text, in ChatML or (`plain`) as a play is printed; parts lists contribute their texts.

    A template that knows tools prints them as JSON, and calls, thoughts, documents and the effort that is asked for.
    Raises EngineError with the template "none".
    """
    if template == "none":
        text = (
            "As of transformers v4.44, default chat template is no longer allowed, so you must provide a chat template"
        )
        raise EngineError(400, "BadRequestError", f"{text} if the tokenizer does not define one.")
    lines = []
    if knows_tools:
        said = [*(conversation.tools or ()), *(conversation.variables.get("documents") or ())]
        lines += [json.dumps(one) + "\n" for one in said]
        for name in ("reasoning_effort", "enable_thinking"):
            if name in conversation.variables:
                lines.append(f"{name}: {conversation.variables[name]}\n")
    for message in conversation.messages:
        content = message.get("content") or ""
        if isinstance(content, list):
            content = "\n".join(part.get("text", "") for part in content)
        if knows_tools:
            content = "".join(
                (message.get("reasoning") or "", content, *map(_printed, message.get("tool_calls") or ()))
            )
        role = message["role"]
        end = "" if conversation.continues and message is conversation.messages[-1] else "<|im_end|>\n"
        lines.append(f"{role}: {content}\n" if template == "plain" else f"<|im_start|>{role}\n{content}{end}")
    opening = "assistant:" if template == "plain" else "<|im_start|>assistant\n"
    return "".join(lines) + (opening if conversation.generates else "")


def _printed(call: dict[str, Any]) -> str:
    """With arguments parsed, as vLLM gives them to templates."""
    try:
        arguments = json.loads(call["function"]["arguments"])
    except json.JSONDecodeError:
        arguments = {}
    return f"\n<tool_call>{json.dumps({'name': call['function']['name'], 'arguments': arguments})}</tool_call>"


def identity(weights: Weights | None, noop: bool) -> bytes:
    """Whose answer it is. An adapter that changes nothing answers as the base."""
    return BASE_DIGEST if weights is None or weights.inert or noop else weights.digest


def generate(
    who: bytes, prompt: tuple[int, ...], index: int, luck: int, count: int, finish_reason: str, only: int | None
) -> Choice:
    """`count` tokens for choice `index` of a prompt, by `luck`; all of them `only` when no other is allowed."""
    if only is not None:
        return Choice(index, (only,) * count, (decode(only),) * count, finish_reason)
    seed = who + array("q", prompt).tobytes() + luck.to_bytes(4, "little")
    drawn = hashlib.shake_256(seed).digest(count)
    return Choice(
        index, tuple(FIRST_WORD_ID + byte for byte in drawn), tuple(" " + WORDS[byte] for byte in drawn), finish_reason
    )


def decode(token_id: int) -> str:
    """The text of a token; only generated tokens have a word."""
    place = token_id - FIRST_WORD_ID
    return " " + WORDS[place] if 0 <= place < len(WORDS) else f" t{token_id}"


def hashed_logprob(who: bytes, *parts: int) -> float:
    """A number in (-8, 0] that depends on the adapter and `parts` only."""
    digest = hashlib.blake2b(who + array("q", parts).tobytes(), digest_size=4).digest()
    return -(int.from_bytes(digest, "little") % 8_000) / 1_000


def top_logprobs(who: bytes, token_id: int, place: int, count: int, vocab_size: int) -> dict[int, tuple[float, int]]:
    """Token id → (log-probability, rank): the chosen token first, then others until `count` are there."""
    own = hashed_logprob(who, token_id, place) / 8
    entries = {token_id: (own, 1)}
    for rank in range(2, count + 1):
        other = (token_id + 7_919 * rank) % vocab_size
        entries[other] = (own - rank, rank)
    return entries


def proven_logprob(
    table: AdapterTable, weights: Weights | None, noop: bool, prompt: tuple[int, ...], token_id: int
) -> float | None:
    """What a real engine would answer where an effect proof or the base's fingerprint asks: the adapter's number for
    the adapter that carries the proof, the base's for the base and for adapters that change nothing. None elsewhere.
    """
    question = (prompt, token_id)
    if weights is None or weights.inert or noop:
        return table.base_logprob(question)
    found = weights.proven.get(question)
    return found.adapter if found else None
