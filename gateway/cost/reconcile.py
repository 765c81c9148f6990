"""Holds the ledger against what engines have counted themselves, and names the difference.

Of one boot of one engine, between two readings of its counters, for prompt and completion tokens alike:

    engine = tenants + reread + system + abort_overrun + in_flight + lost + unexplained

* `tenants`: booked with the engine's count, final or up to the last relayed event;
* `reread`: prompts of requests for several answers, which the engine reads once an answer and the API bills once;
* `system`: our own probes;
* `abort_overrun`: what the engine did for attempts that broke off, after the last count that we saw: tokens between the
  last relayed event and the abort, prompts and tokens of answers that were not streamed (vLLM counts aborted prompts in
  `prompt_tokens_total`, and in no figure of a single request). Never more than such attempts can have cost;
* `in_flight`: attempts that ran while a reading was taken, so that it has a part of them;
* `lost`: attempts of a process that died before it recorded their end;
* `unexplained`: what is left; negative when the ledger has more than the engine. Zero, or something is wrong: somebody
  else uses the engine, rows are missing, or a count is not what we believe it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from registry.ledger.engine_readings import Booked, EngineReadings, Reading

MAX_SEQUENCE_TOKENS = 131_072
"""No request has a longer prompt or answer, whatever else is not known of it."""
TOKENS_A_GUESS = 4
"""An estimated prompt was guessed at four bytes a token; it cannot have had more tokens than bytes …"""
TEMPLATE_TOKENS = 256
"""… and what a chat template adds."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Prompt and completion tokens."""

    prompt: int = 0
    completion: int = 0

    @property
    def total(self) -> int:
        """Both."""
        return self.prompt + self.completion

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(self.prompt + other.prompt, self.completion + other.completion)

    def __sub__(self, other: Tokens) -> Tokens:
        return Tokens(self.prompt - other.prompt, self.completion - other.completion)

    def within(self, bound: Tokens) -> Tokens:
        """As much of each as is positive and not over the bound."""
        return Tokens(
            max(0, min(self.prompt, bound.prompt)),
            max(0, min(self.completion, bound.completion)),
        )


@dataclass(frozen=True, slots=True)
class Balance:
    """One boot of one engine, `[since_ms, until_ms)`. The sentence about the sum is in the module's docstring."""

    engine: str
    boot_ms: int
    since_ms: int
    until_ms: int
    attempts: int
    broken_off: int
    """Attempts that `abort_overrun` is about."""
    overlapping: int
    """Attempts that `in_flight` is about."""
    unrecorded: int
    """Attempts that `lost` is about."""
    counted: Tokens
    """By the engine."""
    tenants: Tokens
    reread: Tokens
    system: Tokens
    abort_overrun: Tokens
    abort_bound: Tokens
    """The most that `abort_overrun` may be."""
    in_flight: Tokens
    lost: Tokens
    unexplained: Tokens


def reconcile(readings: EngineReadings, since_ms: int, until_ms: int) -> list[Balance]:
    """A balance for every boot of which two readings were taken in the window."""
    return [balance(first, last, readings.booked(first, last)) for first, last in readings.spans(since_ms, until_ms)]


def balance(first: Reading, last: Reading, booked: Iterable[Booked]) -> Balance:
    """What the engine counted between two readings, and where it went."""
    kinds = list(booked)
    steps = last.steps - first.steps
    inside = [kind for kind in kinds if kind.inside and not kind.lost]
    counted_by_engine = [kind for kind in inside if kind.source in ("engine", "partial")]
    tenants = _sum(Tokens(kind.prompt_tokens, kind.completion_tokens) for kind in counted_by_engine if not kind.system)
    system = _sum(Tokens(kind.prompt_tokens, kind.completion_tokens) for kind in counted_by_engine if kind.system)
    reread = _sum(Tokens(kind.reread_tokens) for kind in inside if kind.source == "engine")
    broken_off = [kind for kind in inside if kind.source in ("partial", "estimated")]
    overlapping = [kind for kind in kinds if not kind.inside and not kind.lost]
    unrecorded = [kind for kind in kinds if kind.lost]
    counted = Tokens(last.prompt_tokens - first.prompt_tokens, last.generation_tokens - first.generation_tokens)
    abort_bound = _sum(_overrun_bound(kind, steps) for kind in broken_off)
    left = counted - tenants - reread - system
    left -= (abort_overrun := left.within(abort_bound))
    left -= (in_flight := left.within(_sum(_whole_bound(kind, steps) for kind in overlapping)))
    left -= (lost := left.within(_sum(_unknown(kind, steps) for kind in unrecorded)))
    return Balance(
        first.engine,
        first.boot_ms,
        first.answered_ms,
        last.asked_ms,
        attempts=_count(kinds),
        broken_off=_count(broken_off),
        overlapping=_count(overlapping),
        unrecorded=_count(unrecorded),
        counted=counted,
        tenants=tenants,
        reread=reread,
        system=system,
        abort_overrun=abort_overrun,
        abort_bound=abort_bound,
        in_flight=in_flight,
        lost=lost,
        unexplained=left,
    )


def _overrun_bound(kind: Booked, steps: int) -> Tokens:
    """The most that attempts without a final count can have cost beyond what is booked of them."""
    completion = kind.answers * min(steps, MAX_SEQUENCE_TOKENS)  # a step makes one token of an answer
    if kind.source == "partial":  # its prompt was counted, at least for the first of its answers
        return Tokens(kind.reread_tokens, completion)
    prompt = TOKENS_A_GUESS * (kind.prompt_tokens + kind.reread_tokens) + TEMPLATE_TOKENS * kind.answers
    return Tokens(prompt, completion)


def _whole_bound(kind: Booked, steps: int) -> Tokens:
    """The most that attempts can have cost of which nothing has been taken into account."""
    if kind.source is None:
        return Tokens()
    booked = Tokens(kind.prompt_tokens + (kind.reread_tokens if kind.source == "engine" else 0), kind.completion_tokens)
    if kind.source == "engine":
        return booked
    return (booked if kind.source == "partial" else Tokens()) + _overrun_bound(kind, steps)


def _unknown(kind: Booked, steps: int) -> Tokens:
    return Tokens(kind.answers * MAX_SEQUENCE_TOKENS, kind.answers * min(steps, MAX_SEQUENCE_TOKENS))


def _sum(tokens: Iterable[Tokens]) -> Tokens:
    return sum(tokens, Tokens())


def _count(kinds: Sequence[Booked]) -> int:
    return sum(kind.attempts for kind in kinds)
