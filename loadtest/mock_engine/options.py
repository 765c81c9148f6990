"""What the mock is started with, and the faults that can be switched on while it runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from loadtest.mock_engine.lies import LIES

Garbage = Literal["", "bytes", "json"]


@dataclass(frozen=True, slots=True)
class Options:
    """The start options. Names follow vLLM's flags where vLLM has one."""

    host: str = "127.0.0.1"
    port: int = 0
    """0 takes a free port."""
    version: str = "0.32.0"
    """The vLLM that /version names. Below 0.33 the traps of the CPU engine of that age are on: see `contaminates`."""
    served_model_name: tuple[str, ...] = ("base",)
    """The first name is the one that answers and metrics carry."""
    model: str = "mock-model"
    """Root of the base card. When it is a folder with config.json, adapters' shapes are checked against it,
    and its fingerprint.json, if there is one, holds what the base answers to the questions in it."""
    runner: str = "generate"
    """`pooling` is a vLLM with `--runner pooling`: it has vectors and scores, and generates nothing."""
    embedding_size: int = 32
    """Numbers of a vector."""
    max_loras: int = 4
    """Distinct adapters that can run at the same time."""
    max_cpu_loras: int = 16
    """Adapters kept in memory; the least recently used one is dropped, loaded or not."""
    max_lora_rank: int = 16
    max_model_len: int = 1024
    """Tokens, prompt and answer together."""
    max_num_seqs: int = 256
    """Requests that run at the same time; the others wait."""
    block_size: int = 32
    """Tokens per prefix-cache block; `cached_tokens` comes in these units."""
    vocab_size: int = 49_152
    tokenizer: str = "words"
    """What makes tokens of texts: "words", or "composed bytes" for one token of each byte of the text's composed form
    (NFC), as tokenizers that compose do at worst. Some characters have more bytes then.
    """
    chat_template: str = "chatml"
    """What turns messages into a text: "chatml", "plain" for an engine that was started with another template, or
    "none" for a base that has none: chats get vLLM's 400."""
    renders_apart: bool = False
    """Chats are not served as /tokenize renders them, as with models whose prompts vLLM makes by code of their own."""
    answer_tokens: int = 16
    """Tokens of an answer that is neither cut by `max_tokens` nor stretched by `min_tokens` or `ignore_eos`."""
    ttft_ms: float = 0.0
    token_ms: float = 0.0
    load_stall_ms: float = 0.0
    startup_s: float = 0.0
    """Seconds before the port listens, as a real engine spends on loading the model."""
    death_s: float = 2.0
    """Seconds between the engine's death (503 on /health) and the end of the process."""
    noop_adapters: bool = False
    """As the fault of this name, from the start on."""
    fail_tokenize: int = 0
    """As the fault of this name, from the start on."""
    fail_loads: int = 0
    """As the fault of this name, from the start on."""
    half_load: bool = False
    """As the fault of this name, from the start on."""
    refuse_requests: int = 0
    """As the fault of this name, from the start on."""
    api_key: str | None = None
    tool_call_parser: str | None = None
    """None is a vLLM without --enable-auto-tool-choice and --tool-call-parser: it refuses tools unless none may be
    called. With one, tools that must be called are, and those whose names the last message of a user has."""
    reasoning_parser: str | None = None
    """None is a vLLM without --reasoning-parser: it refuses `thinking_token_budget`. Answers have no thoughts either
    way."""
    enable_prompt_tokens_details: bool = True
    """False is a vLLM without the flag of this name: its usage does not say how many tokens were cached."""
    enable_request_id_headers: bool = True
    """False is a vLLM without the flag of this name: its answers have no x-request-id."""
    runtime_lora: bool = True
    """False is a vLLM without VLLM_ALLOW_RUNTIME_LORA_UPDATING: the load routes are absent."""

    @property
    def contaminates(self) -> bool:
        """Whether base-model tokens in a batch with adapters get the last slot's adapter (vLLM <= 0.32 on CPU)."""
        major, minor = re.findall(r"\d+", self.version)[:2]
        return (int(major), int(minor)) < (0, 33)


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong, or slowly, from now on. `POST /mock/faults` changes the fields that its JSON object names."""

    ttft_ms: float = 0.0
    """Milliseconds before the first token."""
    token_ms: float = 0.0
    """Milliseconds between two tokens."""
    load_ms: float = 0.0
    """Milliseconds that a load of an adapter takes; other requests go on."""
    load_stall_ms: float = 0.0
    """Milliseconds that each read of an adapter (a load, or an activation after an eviction) stops the whole engine:
    no token and no other load comes meanwhile, as in vLLM, whose core reads between two steps."""
    half_load: bool = False
    """A load answers 200, but its name does not appear in /v1/models and is unknown to requests."""
    fail_next: tuple[int, ...] = ()
    """HTTP statuses that the next inference requests get instead of an answer, one each."""
    fail_next_load: tuple[int, ...] = ()
    """The same for the next loads of an adapter. The adapter is not loaded."""
    die_after_chunks: int | None = None
    """Break the socket after this many stream events (0: before the headers). Unstreamed answers break half way."""
    error_after_chunks: int | None = None
    """After this many stream events send vLLM's error event, then [DONE]. Unstreamed requests get a 500."""
    abort_after_tokens: int | None = None
    """Answers end after so many tokens with the finish_reason "abort", as vLLM's do when it gives its requests up."""
    hang: bool = False
    """The core stands still: no token, also of streams that run, and no load comes until this is off again, when all
    go on. /health says 200, and /metrics, /v1/models and unloads answer: they do not need the core."""
    reset_connections: bool = False
    """Reset the connection of every request outside /mock/ before answering. (Stop the engine to have it refuse.)"""
    garbage: Garbage = ""
    """Answer inference with bytes that are not HTTP ("bytes") or with a 200 that is not JSON ("json")."""
    lies: str = ""
    """How chats and completions with an X-Request-Id are answered as no engine does (`loadtest.mock_engine.lies`)."""
    noop_adapters: bool = False
    """Adapters load and answer, but change nothing: text and numbers are the base's."""
    noop_folder: str = ""
    """The same only for adapters whose folder's path contains this."""
    refuse_folder: str = ""
    """Completions of adapters whose folder's path contains this get a 400; "*" stands for all, and for the base."""
    refuse_requests: int = 0
    """Chats and completions with an X-Request-Id get this HTTP status, as if something between us and the engine did
    not like them. Probes have no such header, and are answered; so are loads."""
    refuse_requests_with: str = ""
    """Of those only the ones whose body has this text in it."""
    fail_share: float = 0.0
    """Of chats and completions with an X-Request-Id, such a part gets a 500, evenly spread. Probes are answered."""
    fail_share_with: str = ""
    """Of those only the ones whose body has this text in it, such as an adapter's name."""
    hold_with: str = ""
    """Chats and completions with an X-Request-Id whose body has this text in it wait until it is another one; then they
    get a 500. Probes are answered."""
    fail_tokenize: int = 0
    """/tokenize gets this HTTP status, until it is 0 again."""
    tokenize_ms: float = 0.0
    """Milliseconds that /tokenize takes; all else goes on, as in vLLM, whose tokenizer has threads of its own."""
    fail_loads: int = 0
    """Every load of an adapter gets this HTTP status, until it is 0 again. The adapter is not loaded."""
    unhealthy: bool = False
    """/health and /ping say 503, the rest works."""

    def changed(self, patch: Mapping[str, Any]) -> Faults:
        """A copy with the fields of `patch` set. Raises ValueError for a name or a type that does not exist."""
        known = {field.name: getattr(Faults(), field.name) for field in fields(self)}
        unknown = sorted(set(patch) - set(known))
        if unknown:
            raise ValueError(f"unknown faults {unknown}; known: {sorted(known)}, and the actions crash, forget_adapter")
        checked: dict[str, Any] = {name: _checked(name, known[name], value) for name, value in patch.items()}
        return replace(self, **checked)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready fields."""
        return asdict(self)


def _checked(name: str, default: object, value: object) -> object:
    if isinstance(default, tuple):
        if isinstance(value, list | tuple) and all(type(status) is int and 400 <= status <= 599 for status in value):
            return tuple(value)
        raise ValueError(f"{name}={value!r}: give a list of HTTP statuses from 400 to 599")
    if name == "garbage" and value not in ("", "bytes", "json"):
        raise ValueError(f"{name}={value!r}: give '', 'bytes' or 'json'")
    if name == "lies" and value not in LIES:
        raise ValueError(f"{name}={value!r}: give one of {LIES}")
    if default is None:
        wanted: tuple[type, ...] = (int, type(None))
    elif isinstance(default, float):
        wanted = (int, float)
    else:
        wanted = (type(default),)
    if type(value) not in wanted:
        raise ValueError(f"{name}={value!r}: give {' or '.join(kind.__name__ for kind in wanted)}")
    return value
