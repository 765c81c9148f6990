"""Chats without tools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loadtest.fidelity.rules import served
from loadtest.fidelity.shapes.shape import Shape

PATH = "/v1/chat/completions"
FEW = 6
"""Tokens of an answer: enough to see that it is the same, and cheap on a slow engine."""
USER = {"role": "user", "content": "Name a colour."}
SAID = {"role": "assistant", "content": "Red."}
ASKED: list[Any] = [USER]
OTHER_SCRIPTS = 'Ça va? 你好 🙂 \u202eabc\n\t"x" <|im_end|>'
SCHEMA = {
    "type": "object",
    "properties": {"colour": {"type": "string", "enum": ["red", "blue"]}, "warm": {"type": "boolean"}},
    "required": ["colour", "warm"],
    "additionalProperties": False,
}
WORDS_IN_CONTEXT = 0.9
"""Of a context's tokens that a long body has in words; the rest is for its template and its answer."""


def chat(name: str, messages: Any = None, **fields: Any) -> dict[str, Any]:
    """The arguments of a greedy, short chat's shape."""
    body = {"messages": ASKED if messages is None else messages, "temperature": 0, "max_tokens": FEW} | fields
    return {"name": f"chat: {name}", "path": PATH, "body": {k: v for k, v in body.items() if v is not None}}


def long_text(context: int) -> str:
    """A text of nearly as many tokens as a context has."""
    return " late" * int(context * WORDS_IN_CONTEXT)


def shapes(context: int) -> Sequence[Shape]:
    """All of them."""
    return [*_messages(context), *_sampling(), *_hints(), *_streams(), *_formats()]


def _messages(context: int) -> list[Shape]:
    parts = [{"type": "text", "text": "Name a colour."}, {"type": "text", "text": "One word."}]
    return [
        Shape(**chat("one question")),
        Shape(**chat("a system message", [{"role": "system", "content": "Be brief."}, USER])),
        Shape(**chat("a developer message", [{"role": "developer", "content": "Be brief."}, USER])),
        Shape(**chat("three turns", [USER, SAID, {"role": "user", "content": "Another one."}])),
        Shape(**chat("text in parts", [{"role": "user", "content": parts}])),
        Shape(**chat("a system message in parts", [{"role": "system", "content": parts[1:]}, USER])),
        Shape(**chat("names of speakers", [USER | {"name": "ann"}, SAID | {"name": "bot"}, USER])),
        Shape(**chat("accents, emoji and other scripts", [{"role": "user", "content": OTHER_SCRIPTS}])),
        Shape(**chat("an answer of the SDK sent back", [USER, SAID | {"refusal": None, "annotations": []}, USER])),
        Shape(**chat("an assistant's message to be continued", [USER, SAID], continue_final_message=True,
                     add_generation_prompt=False)),
        Shape(**chat("an echo of the last message", [USER, SAID], echo=True)),
        Shape(**chat("a body as long as the context takes", [{"role": "user", "content": long_text(context)}])),
        Shape(**chat("a long body cut to its last tokens", [{"role": "user", "content": long_text(context)}],
                     truncate_prompt_tokens=32)),
    ]  # fmt: skip


def _sampling() -> list[Shape]:
    return [
        Shape(**chat("no bound but the newer one", max_tokens=None, max_completion_tokens=FEW)),
        Shape(**chat("both bounds, equal", max_completion_tokens=FEW)),
        Shape(**chat("a seed at temperature 1", temperature=1, seed=7)),
        Shape(**chat("a nucleus with a seed", temperature=0.8, top_p=0.5, seed=11)),
        Shape(**chat("vLLM's samplers with a seed", temperature=0.8, top_k=5, min_p=0.05, seed=3)),
        Shape(**chat("a penalty of repetition", repetition_penalty=1.1)),
        Shape(**chat("penalties", frequency_penalty=0.5, presence_penalty=-0.5)),
        Shape(**chat("one stop string", stop=".")),
        Shape(**chat("stop strings, kept", stop=["e", "o"], include_stop_str_in_output=True)),
        Shape(**chat("stop tokens", stop_token_ids=[2, 30])),
        Shape(**chat("a bias", logit_bias={"253": 5, "17": -100})),
        Shape(**chat("a few tokens to choose from", allowed_token_ids=[253, 260, 28], max_tokens=3)),
        Shape(**chat("bad words", bad_words=["colour", "red"])),
        Shape(**chat("at least three tokens", min_tokens=3, max_tokens=4)),
        Shape(**chat("no end of its own", ignore_eos=True)),
        Shape(**chat("three answers with seeds", n=3, temperature=1, seed=5)),
        Shape(
            **chat("two greedy answers", n=2),
            differs=served("several greedy answers are all the same one: the gateway serves what vLLM 0.32 refuses"),
        ),
        Shape(**chat("log-probabilities", logprobs=True)),
        Shape(**chat("log-probabilities of five tokens a place", logprobs=True, top_logprobs=5)),
        Shape(**chat("no log-probabilities", logprobs=False)),
        Shape(**chat("token ids", return_token_ids=True)),
        Shape(**chat("tokens named by their ids", logprobs=True, top_logprobs=1, return_tokens_as_token_ids=True)),
        Shape(**chat("log-probabilities of the prompt", prompt_logprobs=1), needs=frozenset({"prompt_logprobs"})),
    ]  # fmt: skip


def _hints() -> list[Shape]:
    return [
        Shape(**chat("who asks", user="u-1", safety_identifier="s-1")),
        Shape(**chat("metadata, and to be stored", metadata={"team": "support"}, store=True)),
        Shape(**chat("a service tier", service_tier="auto")),
        Shape(**chat("a key of the prompt's cache", prompt_cache_key="k", prompt_cache_retention="24h")),
        Shape(**chat("a prediction", prediction={"type": "content", "content": "Blue is a colour."})),
        Shape(**chat("modalities and verbosity", modalities=["text"], verbosity="low")),
        Shape(**chat("nulls of a typed client", stop=None, tools=None, user=None)),
    ]


def _streams() -> list[Shape]:
    last, every = {"include_usage": True}, {"include_usage": True, "continuous_usage_stats": True}
    return [
        Shape(**chat("a stream", stream=True)),
        Shape(**chat("a stream with its usage", stream=True, stream_options=last)),
        Shape(**chat("a stream without its usage", stream=True, stream_options={"include_usage": False})),
        Shape(**chat("a stream with its usage in every event", stream=True, stream_options=every)),
        Shape(**chat("a stream of three answers", stream=True, n=3, temperature=1, seed=5, stream_options=last)),
        Shape(**chat("a stream of log-probabilities", stream=True, logprobs=True, top_logprobs=2)),
        Shape(**chat("a stream of token ids", stream=True, return_token_ids=True, stream_options=last)),
        Shape(**chat("a stream that a stop string ends", stream=True, stop=["e"], stream_options=last)),
        Shape(**chat("a stream with an echo", [USER, SAID], stream=True, echo=True)),
    ]  # fmt: skip


def _formats() -> list[Shape]:
    by_name = {"type": "json_schema", "json_schema": {"name": "colour", "schema": SCHEMA, "strict": True}}
    return [
        Shape(**chat("plain text", response_format={"type": "text"})),
        Shape(**chat("any JSON", response_format={"type": "json_object"}, max_tokens=12)),
        Shape(**chat("JSON of a schema", response_format=by_name, max_tokens=24)),
        Shape(**chat("a stream of JSON of a schema", response_format=by_name, max_tokens=24, stream=True)),
        Shape(**chat("one of a few words", structured_outputs={"choice": ["green", "violet"]})),
        Shape(**chat("what a pattern says", structured_outputs={"regex": "[a-z]{3,6}"})),
        Shape(**chat("vLLM's schema", structured_outputs={"json": SCHEMA}, max_tokens=24)),
    ]
