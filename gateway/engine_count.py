"""The count of tokens of one attempt, as its engine tells it: taken in only as far as it can be true."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from gateway.breaches import EngineLied

MOST_TOKENS = 1 << 40
"""No attempt has so many; the ledger's sums have room for a million such ones."""


@dataclass(slots=True)
class EngineCount:
    """What the engine has told of one attempt so far, which only `forward` writes; `None` until it has.

    A count never shrinks, is told for good once, and is no more than what the request can use: everything else is an
    `EngineLied`, and what was told before stands.
    """

    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    source: Literal["engine", "partial"] | None = None
    sent: bool = False
    """Whether the engine may have worked on it."""
    began_s: float | None = None
    """`time.perf_counter()` when the first bytes of a streamed answer came."""
    most_prompt: int = MOST_TOKENS
    """Tokens that all prompts of the request can have."""
    most_completion: int = MOST_TOKENS
    """Tokens that all its answers can have."""
    _running: tuple[dict[int, int], dict[int, int]] | None = None
    """Counts within a stream: written by choice, and read by prompt; `None` while there is one of each."""

    def running(self, count: dict[str, Any], choice: int = 0, prompt: int = 0) -> None:
        """A count within a stream: of one of the prompts, and of one choice so far. Raises `EngineLied`."""
        self.so_far(*_read_and_written(count), choice, prompt)

    def so_far(self, read: int, written: int, choice: int = 0, prompt: int = 0) -> None:
        """The same, of tokens that were counted for sure, none negative. Raises `EngineLied`."""
        if self.source == "engine":
            raise EngineLied("usage_twice", "the engine counts on behind its last count")
        if self._running is None and choice == 0 and prompt == 0:  # as in most streams, which have no others
            all_read, all_written, before = read, written, self.completion_tokens or 0
        else:
            if self._running is None:
                self._running = {0: self.completion_tokens or 0}, {0: self.prompt_tokens or 0}
            by_choice, by_prompt = self._running
            before, by_choice[choice], by_prompt[prompt] = by_choice.get(choice, 0), written, read
            all_read, all_written = sum(by_prompt.values()), sum(by_choice.values())
        if written < before or all_read < (self.prompt_tokens or 0):
            raise EngineLied("usage_shrinks", "the engine's count of tokens has become smaller")
        if all_read > self.most_prompt or all_written > self.most_completion:
            raise self._too_high(all_read, all_written)
        self.source = "partial"
        self.prompt_tokens, self.completion_tokens = all_read, all_written

    def final(self, count: dict[str, Any]) -> None:
        """The count of the whole answer. Raises `EngineLied`: money is made of it."""
        read, written = _read_and_written(count, 0)
        details = count.get("prompt_tokens_details") or {}
        cached = (details.get("cached_tokens") or 0) if isinstance(details, dict) else None
        if type(cached) is not int or cached < 0:
            raise EngineLied("usage_malformed", "the engine's count of cached tokens is none")
        if self.source == "engine":
            raise EngineLied("usage_twice", "the engine has counted twice")
        if read < (self.prompt_tokens or 0) or written < (self.completion_tokens or 0):
            raise EngineLied("usage_shrinks", "the engine's last count of tokens is smaller than one before")
        if read > self.most_prompt or written > self.most_completion:
            raise self._too_high(read, written)
        self.prompt_tokens = read
        self.completion_tokens = written
        self.cached_tokens = min(cached, read)
        self.source = "engine"

    def require_final(self) -> None:
        """Raises `EngineLied` where an answer has come to its end without its count."""
        if self.source != "engine":
            raise EngineLied("usage_missing", "the engine's answer has no count of tokens that can be recognised")

    def _too_high(self, read: int, written: int) -> EngineLied:
        return EngineLied(
            "usage_too_high",
            f"the engine counts {read} and {written} tokens of prompt and answer, of a request that can have "
            f"{self.most_prompt} and {self.most_completion}",
        )


def _read_and_written(count: Any, otherwise: int | None = None) -> tuple[int, int]:
    known = count if isinstance(count, dict) else {}
    read, written = known.get("prompt_tokens"), known.get("completion_tokens", otherwise)
    if type(read) is not int or type(written) is not int or read < 0 or written < 0:
        raise EngineLied("usage_malformed", "the engine's count of tokens cannot be understood")
    return read, written
