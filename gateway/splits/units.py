"""What stays together on one arm of a split, and how evenly a split's traffic is spread over such units.

A unit is, in this order: the caller's `X-Switchyard-Unit`, what the first turn of a stored conversation had,
`metadata.conversation_id`, or what the request itself
shows. Of a completion that is its whole prompt. Of a chat it is the first turn that is the conversation's own: the
messages up to its first user message, unless they are a preamble (examples that an application puts before every
question), which is followed further. The end user, if the request names one, is part of both. An experiment may choose
otherwise: the end user, if the request names one, each request for itself, or all that come in one window of time.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson

from gateway.handoffs import Call, InferenceRequest, Unit
from registry.catalog.snapshot import SplitEntry
from registry.experiments.windows import name_of
from registry.splits.skews import SplitSkew

LEAST_PASSED = 8
"""Conversations that went on from a beginning before it may be taken for a preamble."""
DOUBT = 0.1
"""Of beginnings with which conversations do begin, so many may be taken for preambles, until one begins so here."""
REMEMBERED = 1_024
"""Conversations, and beginnings of them, that are remembered of each split."""
SPLITS = 128
"""Splits of which conversations are remembered; the one that was least recently asked for is forgotten first."""
COUNTED = 256
"""Units that are counted of each split at once: a unit's count is too low by 1/257 of the traffic at most."""
FORGET_AT = 20_000
"""Requests after which counts are halved, so that they are of the traffic of today."""
DIGEST_BYTES = 16
A = TypeVar("A")


@dataclass(slots=True)
class _Beginning:
    """The first messages of requests, up to a user message."""

    whole: int = 0
    """Requests that ended there."""
    passed: int = 0
    """Conversations that were first seen behind it."""


@dataclass(slots=True)
class _Traffic:
    """What is known of the requests of a split, and of those that continue it with other weights."""

    split_id: int
    conversations: OrderedDict[bytes, str] = field(default_factory=OrderedDict)
    """Digest of all messages of a request → its unit. A later turn begins with the very same messages."""
    beginnings: OrderedDict[bytes, _Beginning] = field(default_factory=OrderedDict)
    """By their digests."""
    requests: int = 0
    counts: dict[Unit, int] = field(default_factory=dict)

    def beginning(self, digest: bytes) -> _Beginning:
        """What is known of one, from now on if it is new."""
        found = self.beginnings.get(digest)
        if found is None:
            found = _Beginning()
        _remember(self.beginnings, digest, found)
        return found


class Units:
    """The units of the requests of one process. Not for threads."""

    def __init__(self) -> None:
        self._too_many = LEAST_PASSED
        self._splits: OrderedDict[bytes, _Traffic] = OrderedDict()

    def shared_by(self, workers: int) -> None:
        """So many processes share the traffic: a conversation that begins at one may be seen later by another."""
        in_a_row = math.log(DOUBT) / math.log(1 - 1 / workers) if workers > 1 else 0
        self._too_many = max(LEAST_PASSED, math.ceil(in_a_row))

    def of(self, call: Call, request: InferenceRequest, split: SplitEntry) -> Unit:
        """The unit of a request whose alias is split."""
        traffic = self._traffic(split)
        traffic.requests += 1
        policy = split.policy
        kind = "conversation" if policy is None else policy.unit
        if kind == "request":
            return Unit(call.request_id, "request")
        if policy is not None and kind == "window":
            return Unit(name_of(call.request_id, policy.window_ms), "window")
        if kind == "end_user" and request.user:
            return Unit(request.user, "end_user")
        if call.unit_header:
            return Unit(call.unit_header, "header")
        if request.keeping is not None and request.keeping.unit is not None:
            return Unit(request.keeping.unit, "stored")
        if request.conversation_id:
            return Unit(request.conversation_id, "conversation_id")
        if "messages" in request.body:
            unit = Unit(self._conversation(traffic, request), "first_turn")
        else:
            prompt = request.body[request.dialect.prompt_field(request.body)]
            unit = Unit(_digest_of_prompt(request.user, prompt), "prompt")
        _count(traffic, unit)
        return unit

    def _traffic(self, split: SplitEntry) -> _Traffic:
        traffic = self._splits.get(split.salt)
        if traffic is None:
            traffic = self._splits[split.salt] = _Traffic(split.id)
            if len(self._splits) > SPLITS:
                self._splits.popitem(last=False)
        else:
            self._splits.move_to_end(split.salt)
        if traffic.split_id != split.id:
            traffic.split_id, traffic.requests, traffic.counts = split.id, 0, {}
        return traffic

    def _conversation(self, traffic: _Traffic, request: InferenceRequest) -> str:
        """The unit of a chat.

        A request that goes on from one that was seen here is of its conversation. Else the unit is the shortest
        beginning that ends with a user message and is no preamble. So the first turn decides, whoever sees it, and
        only what is said before the conversation's own first turn has to be learnt.
        """
        *earlier, (last_role, whole) = _beginnings(request.user, request.body["messages"])
        unit = self._of_earlier(traffic, earlier) if earlier else None
        if last_role == "user":
            traffic.beginning(whole).whole += 1
        unit = unit or whole.hex()
        _remember(traffic.conversations, whole, unit)
        return unit

    def _of_earlier(self, traffic: _Traffic, earlier: Sequence[tuple[str, bytes]]) -> str | None:
        """The unit that a chat has by what is before its last message; `None` if nothing of that is its own."""
        users = [number for number, (role, _) in enumerate(earlier) if role == "user"]
        seen = max((number for number, (_, end) in enumerate(earlier) if end in traffic.conversations), default=-1)
        if users and seen < users[-1]:  # the turn before this one was not seen here
            for number in users:
                if number >= seen:
                    traffic.beginning(earlier[number][1]).passed += 1
        if seen >= 0 and not self._is_preamble(traffic, earlier[seen][1]):
            return traffic.conversations[earlier[seen][1]]
        own = (earlier[number][1] for number in users if not self._is_preamble(traffic, earlier[number][1]))
        found = next(own, None)
        return None if found is None else found.hex()

    def _is_preamble(self, traffic: _Traffic, beginning: bytes) -> bool:
        """Conversations that begin elsewhere are first seen here behind their beginning, with the odds of the workers:
        so many in a row, and so many more for every one that does begin here, are no coincidence.
        """
        found = traffic.beginnings.get(beginning)
        return found is not None and found.passed >= self._too_many * (found.whole + 1)

    def skews(self) -> list[SplitSkew]:
        """Of every split: the derived unit with the most requests, as this process has seen it."""
        found = []
        for traffic in self._splits.values():
            nobody = Unit("", "prompt"), 0
            (_, source), most = max(traffic.counts.items(), key=lambda item: item[1], default=nobody)
            found.append(SplitSkew(traffic.split_id, source, traffic.requests, most))
        return found


def _beginnings(user: str | None, messages: Sequence[Mapping[str, Any]]) -> list[tuple[str, bytes]]:
    """After each message: its role, and a digest of roles and texts up to it."""
    hashed = hashlib.blake2b((user or "").encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES)
    ends = []
    for message in messages:
        role, content = str(message.get("role")), message.get("content")
        if isinstance(content, list):
            content = "".join(_text_of(part) for part in content)
        hashed.update(f"\0{role}\0{content or ''}".encode("utf-8", "surrogatepass"))
        ends.append((role, hashed.digest()))
    return ends


def _text_of(part: Any) -> str:
    text = part.get("text") if isinstance(part, dict) else part
    return text if isinstance(text, str) else orjson.dumps(part).decode()


def _digest_of_prompt(user: str | None, prompt: Any) -> str:
    named = (user or "").encode("utf-8", "surrogatepass") + b"\0"
    return hashlib.blake2b(named + orjson.dumps(prompt), digest_size=DIGEST_BYTES).hexdigest()


def _remember(table: OrderedDict[bytes, A], key: bytes, value: A) -> None:
    """Put it at the end; of what was not used longest, the table forgets what is too many."""
    table[key] = value
    table.move_to_end(key)
    if len(table) > REMEMBERED:
        table.popitem(last=False)


def _count(traffic: _Traffic, unit: Unit) -> None:
    """Misra and Gries, Finding repeated elements (1982): where there is no room, every unit is counted down by one."""
    counts = traffic.counts
    if unit in counts or len(counts) < COUNTED:
        counts[unit] = counts.get(unit, 0) + 1
    else:
        traffic.counts = {one: count - 1 for one, count in counts.items() if count > 1}
    if traffic.requests >= FORGET_AT:
        traffic.requests //= 2
        traffic.counts = {one: count // 2 for one, count in traffic.counts.items() if count > 1}
