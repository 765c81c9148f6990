"""From the JSON body of an inference request to a checked `Job`, with vLLM's refusals."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, replace
from typing import Any, Literal

import orjson

from loadtest.mock_engine.answers import Conversation, decode, prompt_tokens, render_chat, words_of
from loadtest.mock_engine.constrained import Said, said
from loadtest.mock_engine.options import Options
from loadtest.mock_engine.schemas import refuse_schemas
from loadtest.mock_engine.values import refuse_logprobs, refuse_values
from loadtest.mock_engine.wire import EngineError

Kind = Literal["chat", "text"]
GREEDY = 1e-5
"""Below this temperature vLLM takes the likeliest token."""


@dataclass(frozen=True, slots=True)
class Job:
    """One inference request, ready to be answered."""

    kind: Kind
    id: str
    created: int
    model: str
    """As asked; "" means the base."""
    prompts: tuple[tuple[int, ...], ...]
    echo_words: tuple[tuple[str, ...], ...]
    """Of each prompt, the words that come before its answers; empty when there is no echo. Chat echoes one text."""
    n: int
    max_tokens: int
    answer_tokens: int
    """Tokens of each choice; fewer than `max_tokens` ends with "stop"."""
    stream: bool
    stream_interval: int
    """Tokens of an event after the first, which has one."""
    include_usage: bool
    continuous_usage: bool
    logprobs: int | None
    """Alternatives per generated token; None when not asked."""
    one_to_choose_from: bool
    """`top_k` is 1: all answers to a prompt are the same."""
    prompt_logprobs: int | None
    """Alternatives per token of the prompt; None when not asked."""
    tokens_as_ids: bool
    """Whether log-probabilities name tokens by number."""
    only_token: int | None
    """The one token that `allowed_token_ids` leaves; longer lists are ignored."""
    return_token_ids: bool
    cache_salt: str
    counts_cached: bool
    """Whether usage says how many tokens of the prompt were cached."""
    said: Said | None
    """The answer, where what was asked for decides it."""
    refusal: EngineError | None = None
    """Said when the head of a stream is out."""
    aborted: bool = False
    """The engine gives it up."""

    def given_up_after(self, tokens: int) -> Job:
        """The same, that ends after so many tokens at the latest because the engine gives it up."""
        return replace(self, answer_tokens=min(self.answer_tokens, max(tokens, 1)), aborted=True)

    @property
    def prompt_tokens(self) -> int:
        """Tokens of all prompts."""
        return sum(map(len, self.prompts))

    @property
    def says_nothing(self) -> bool:
        """Whether only the prompt is wanted (`echo` without tokens): vLLM makes one token then and hides it."""
        return self.max_tokens == 0

    def draws_as(self, index: int) -> int:
        """The choice whose luck a choice has."""
        return index - index % self.n if self.one_to_choose_from else index

    def echo_text(self, index: int) -> str:
        """What comes before the answer of a choice."""
        return "".join(self.echo_words[index // self.n]) if self.echo_words else ""

    @property
    def finish_reason(self) -> str:
        """Why generation ends."""
        if self.aborted:
            return "abort"
        if self.said is not None:
            return self.said.ends if self.answer_tokens == len(self.said.words) else "length"
        return "stop" if self.answer_tokens < self.max_tokens else "length"


def parse_object(body: bytes, content_type: str | None) -> dict[str, Any]:
    """The body as a JSON object, or FastAPI's validation error as vLLM words it. Raises EngineError."""
    if (content_type or "").split(";", 1)[0].lower() != "application/json":
        raise invalid("Unsupported Media Type: Only 'application/json' is allowed", None)
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        place = f"body.{error.pos}"
        raise invalid({"type": "json_invalid", "loc": place, "msg": "JSON decode error"}, place) from error
    if not isinstance(value, dict):
        raise invalid({"type": "model_attributes_type", "loc": "body", "msg": "Input should be an object"}, "body")
    return value


def invalid(detail: object, param: str | None) -> EngineError:
    """A validation error: 400 with type `Bad Request` (not 422)."""
    return EngineError(400, "Bad Request", f"1 validation error:\n  {detail}", param)


def missing(field: str) -> EngineError:
    """A required field is absent."""
    return invalid({"type": "missing", "loc": f"body.{field}", "msg": "Field required"}, f"body.{field}")


def require_text(body: dict[str, Any], field: str) -> str:
    """A string field that must be there. Raises EngineError."""
    if field not in body:
        raise missing(field)
    if not isinstance(body[field], str):
        detail = {"type": "string_type", "loc": f"body.{field}", "msg": "Input should be a valid string"}
        raise invalid(detail, f"body.{field}")
    return str(body[field])


def require_tokens(body: dict[str, Any]) -> list[int]:
    """Token ids that must be there. Raises EngineError."""
    if "tokens" not in body:
        raise missing("tokens")
    tokens = body["tokens"]
    if not isinstance(tokens, list) or not all(type(token) is int and token >= 0 for token in tokens):
        detail = {"type": "list_type", "loc": "body.tokens", "msg": "Input should be a valid list"}
        raise invalid(detail, "body.tokens")
    return tokens


def parse_job(kind: Kind, body: dict[str, Any], request_id: str | None, options: Options) -> Job:
    """Check the body and count its tokens. Raises EngineError."""
    if kind == "chat":
        _refuse_tools_without_a_parser(body, options)
    if body.get("thinking_token_budget") is not None and options.reasoning_parser is None:
        text = "thinking_token_budget is set but reasoning_config is not configured. Please set --reasoning-parser"
        raise EngineError(400, "BadRequestError", f"{text} and/or --reasoning-config to use thinking_token_budget.")
    prompts, echo_words = _chat_prompt(body, options) if kind == "chat" else _text_prompts(body, options)
    stream = bool(body.get("stream"))
    stream_options = body.get("stream_options") or {}
    if stream_options and not stream:
        raise refused("Stream options can only be defined when `stream=True`.", "stream_options")
    include_usage = bool(stream_options.get("include_usage"))
    max_tokens = _max_tokens(kind, body, prompts, options)
    refuse_values(body)
    decided = said(body, calls_tools=options.tool_call_parser is not None)
    return Job(
        kind=kind,
        id=("chatcmpl-" if kind == "chat" else "cmpl-") + (request_id or uuid.uuid4().hex[:16]),
        created=int(time.time()),
        model=body.get("model") or "",
        prompts=prompts,
        echo_words=echo_words if body.get("echo") else (),
        n=_choices(body),
        max_tokens=max_tokens,
        answer_tokens=min(max_tokens, len(decided.words)) if decided else _answer_tokens(body, max_tokens, options),
        stream=stream,
        stream_interval=body.get("stream_interval") or 1,
        include_usage=include_usage,
        continuous_usage=include_usage and bool(stream_options.get("continuous_usage_stats")),
        logprobs=_logprobs(kind, body),
        one_to_choose_from=body.get("top_k") == 1,
        prompt_logprobs=_prompt_logprobs(kind, body),
        tokens_as_ids=bool(body.get("return_tokens_as_token_ids")),
        only_token=allowed[0] if len(allowed := body.get("allowed_token_ids") or []) == 1 else None,
        return_token_ids=bool(body.get("return_token_ids")),
        cache_salt=body.get("cache_salt") or "",
        counts_cached=options.enable_prompt_tokens_details,
        said=decided,
        refusal=_late_refusal(body, prompts, options),
    )


def _late_refusal(body: dict[str, Any], prompts: tuple[tuple[int, ...], ...], options: Options) -> EngineError | None:
    """What vLLM checks when it queues a request, which is when the head of a stream is out."""
    strangers = [token for ids in prompts for token in ids if not 0 <= token < options.vocab_size]
    if strangers:
        return EngineError(400, "BadRequestError", f"Token id {strangers[0]} is out of vocabulary")
    try:
        refuse_schemas(body)
        refuse_logprobs(body)
    except EngineError as error:
        return error
    return None


def refused(text: str, param: str, value: object = None) -> EngineError:
    """A value that vLLM itself refuses: its message ends with the parameter (and the value)."""
    suffix = f"(parameter={param})" if value is None else f"(parameter={param}, value={value})"
    return EngineError(400, "BadRequestError", f"{text} {suffix}", param)


def _refuse_tools_without_a_parser(body: dict[str, Any], options: Options) -> None:
    if not body.get("tools") or options.tool_call_parser is not None:
        return
    choice = body.get("tool_choice", "auto")
    if choice == "auto":
        text = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
        raise EngineError(400, "BadRequestError", text)
    if choice != "none":
        called = f'function "{choice["function"]["name"]}"' if isinstance(choice, dict) else f'"{choice}"'
        raise EngineError(400, "BadRequestError", f"tool_choice={called} requires --tool-call-parser to be set")


def _chat_prompt(
    body: dict[str, Any], options: Options
) -> tuple[tuple[tuple[int, ...], ...], tuple[tuple[str, ...], ...]]:
    messages = messages_of(body)
    last = messages[-1].get("content") if messages[-1]["role"] == "assistant" else ""
    tokens = chat_tokens(Conversation.served(body), options)
    if options.renders_apart:
        tokens = (*prompt_tokens("Knowledge cutoff: never", options.tokenizer, options.vocab_size), *tokens)
    return (_truncated(tokens, body),), ((last if isinstance(last, str) else "",),)


def messages_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Those of a chat request, or of a question to /tokenize. Raises EngineError."""
    if "messages" not in body:
        raise missing("messages")
    messages = body["messages"]
    if not isinstance(messages, list) or not all(isinstance(m, dict) and "role" in m for m in messages):
        raise invalid(
            {"type": "list_type", "loc": "body.messages", "msg": "Input should be a valid list"}, "body.messages"
        )
    if not messages:
        text = "Cannot apply chat template to an empty conversation. Provide at least one message."
        raise EngineError(400, "BadRequestError", text)
    return messages


def chat_tokens(conversation: Conversation, options: Options) -> tuple[int, ...]:
    """What the engine's template and tokenizer make of it."""
    text = render_chat(conversation, options.chat_template, knows_tools=options.tool_call_parser is not None)
    return prompt_tokens(text, options.tokenizer, options.vocab_size)


def _truncated(tokens: tuple[int, ...], body: dict[str, Any]) -> tuple[int, ...]:
    """The last of them, where the request wants no more."""
    most = body.get("truncate_prompt_tokens") or 0
    return tokens[-most:] if most > 0 else tokens


def _text_prompts(
    body: dict[str, Any], options: Options
) -> tuple[tuple[tuple[int, ...], ...], tuple[tuple[str, ...], ...]]:
    prompt = body.get("prompt")
    if prompt in (None, ""):
        raise refused("Either prompt or prompt_embeds must be provided and non-empty.", "prompt")
    if prompt == []:
        raise EngineError(400, "BadRequestError", "You must pass at least one prompt")
    assert prompt is not None
    parts = [prompt] if isinstance(prompt, str) or all(type(part) is int for part in prompt) else prompt
    prompts = tuple(
        _truncated(prompt_tokens(p, options.tokenizer, options.vocab_size) if isinstance(p, str) else tuple(p), body)
        for p in parts
    )
    words = (words_of(part) if isinstance(part, str) else tuple(map(decode, part)) for part in parts)
    return prompts, tuple(words)


def _whole(body: dict[str, Any], field: str, default: int) -> int:
    value = body.get(field)
    if value is None:
        return default
    if type(value) is not int:
        detail = {"type": "int_type", "loc": f"body.{field}", "msg": "Input should be a valid integer"}
        raise invalid(detail, f"body.{field}")
    return value


def _choices(body: dict[str, Any]) -> int:
    n = _whole(body, "n", 1)
    if n > 1 and (temperature := body.get("temperature")) is not None and temperature < GREEDY:
        raise EngineError(400, "BadRequestError", f"n must be 1 when using greedy sampling, got {n}.")
    if n < 1:
        raise EngineError(400, "BadRequestError", f"n must be at least 1, got {n}.")
    return n


def _max_tokens(kind: Kind, body: dict[str, Any], prompts: tuple[tuple[int, ...], ...], options: Options) -> int:
    longest, limit = max(map(len, prompts)), options.max_model_len
    if longest > limit:
        text = f"This model's maximum context length is {limit} tokens. However, your prompt contains {longest} input"
        text += " tokens, which exceeds this limit even without any output tokens. Please reduce the length of the"
        raise refused(f"{text} input prompt.", "input_tokens", longest)
    newer = kind == "chat" and body.get("max_completion_tokens") is not None
    default = 16 if kind == "text" else limit - longest
    name = "max_completion_tokens" if newer else "max_tokens"
    wanted = _whole(body, name, default)
    if kind == "text" and wanted == 0 and body.get("echo"):
        return 0
    if wanted > limit:
        text = f"{name}={wanted} cannot be greater than max_model_len={limit}. Please request fewer output tokens."
        raise refused(text, name, wanted)
    room = min(wanted, limit - longest)
    if room < 1:
        raise refused(f"max_tokens must be at least 1, got {room}.", "max_tokens", room)
    return room


def _answer_tokens(body: dict[str, Any], max_tokens: int, options: Options) -> int:
    if body.get("ignore_eos") or max_tokens == 0:
        return max(1, max_tokens)
    return min(max_tokens, max(options.answer_tokens, body.get("min_tokens") or 0))


def _prompt_logprobs(kind: Kind, body: dict[str, Any]) -> int | None:
    asked: int | None = body.get("prompt_logprobs")
    if asked is not None and body.get("stream"):
        raise refused("`prompt_logprobs` are not available when `stream=True`.", "prompt_logprobs")
    if asked is None and body.get("echo"):
        asked = body.get("logprobs") if kind == "text" else body.get("top_logprobs") or 0
    return asked


def _logprobs(kind: Kind, body: dict[str, Any]) -> int | None:
    if kind == "text":
        value: int | None = body.get("logprobs")
        return value
    return (body.get("top_logprobs") or 0) if body.get("logprobs") else None
