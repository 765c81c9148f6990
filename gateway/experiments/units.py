"""What stays together on one arm of a split, and how evenly a split's traffic is spread over such units.

A unit is, in this order: the caller's `X-Switchyard-Unit`, `metadata.conversation_id`, or what the request itself
shows. Of a completion that is its whole prompt. Of a chat it is the first turn that is the conversation's own: the
messages up to its first user message, unless they are a preamble (examples that an application puts before every
question), which is followed further. The end user, if the request names one, is part of both.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.api.request import InferenceRequest
from gateway.handoffs import Call, Unit, UnitSource
from registry.catalog import SplitEntry
from registry.split_skews import SplitSkew

PREAMBLE_AFTER = 3
"""A beginning that so many conversations share, and with which none was seen to begin, is a preamble."""
REMEMBERED = 1_024
"""Conversations, and beginnings of them, that are remembered of each split."""
SPLITS = 128
"""Splits of which conversations are remembered; the one that was least recently asked for is forgotten first."""
COUNTED = 256
"""Units that are counted of each split at once: a unit's count is too low by 1/257 of the traffic at most."""
FORGET_AT = 20_000
"""Requests after which counts are halved, so that they are of the traffic of today."""
DIGEST_BYTES = 16


@dataclass(slots=True)
class _Traffic:
    """What is known of the requests of a split, and of those that continue it with other weights."""

    split_id: int
    conversations: OrderedDict[bytes, str] = field(default_factory=OrderedDict)
    """Digest of all messages of a request → its unit. A later turn begins with the very same messages."""
    passed: OrderedDict[bytes, int] = field(default_factory=OrderedDict)
    """Digest of a beginning that no request had ended with → conversations that went on from it."""
    requests: int = 0
    counts: dict[tuple[str, UnitSource], int] = field(default_factory=dict)


class Units:
    """The units of the requests of one process. Not for threads."""

    def __init__(self) -> None:
        self._splits: OrderedDict[bytes, _Traffic] = OrderedDict()

    def of(self, call: Call, request: InferenceRequest, split: SplitEntry) -> Unit:
        """The unit of a request whose alias is split."""
        traffic = self._traffic(split)
        traffic.requests += 1
        if call.unit_header:
            return Unit(call.unit_header, "header")
        if request.conversation_id:
            return Unit(request.conversation_id, "conversation_id")
        if request.endpoint == "chat":
            unit = Unit(_conversation(traffic, request.user, request.body["messages"]), "first_turn")
        else:
            unit = Unit(_digest_of_prompt(request.user, request.body["prompt"]), "prompt")
        _count(traffic, (unit.value, unit.source))
        return unit

    def _traffic(self, split: SplitEntry) -> _Traffic:
        traffic = self._splits.setdefault(split.salt, _Traffic(split.id))
        self._splits.move_to_end(split.salt)
        if len(self._splits) > SPLITS:
            self._splits.popitem(last=False)
        if traffic.split_id != split.id:
            traffic.split_id, traffic.requests, traffic.counts = split.id, 0, {}
        return traffic

    def skews(self) -> list[SplitSkew]:
        """Of every split: the derived unit with the most requests, as this process has seen it."""
        found = []
        for traffic in self._splits.values():
            (_, source), most = max(traffic.counts.items(), key=lambda item: item[1], default=(("", "prompt"), 0))
            found.append(SplitSkew(traffic.split_id, source, traffic.requests, most))
        return found


def _conversation(traffic: _Traffic, user: str | None, messages: Sequence[Mapping[str, Any]]) -> str:
    """The unit of a chat.

    Requests that go on from a request that was seen here belong to its conversation. Else the unit is the shortest
    beginning that ends with a user message and is no preamble. So the first turn decides, whoever sees it, and only
    what is said before the conversation's own first turn has to be learnt.
    """
    ends = list(_beginnings(user, messages))
    whole = ends[-1][1]
    known = next((traffic.conversations[end] for _, end in reversed(ends) if end in traffic.conversations), None)
    unit = known or _first_of_its_own(traffic, [end for role, end in ends[:-1] if role == "user"], whole)
    _remember(traffic.conversations, whole, unit)
    traffic.passed.pop(whole, None)
    return unit


def _first_of_its_own(traffic: _Traffic, passed: Iterable[bytes], whole: bytes) -> str:
    chosen = whole
    for beginning in reversed(list(passed)):
        times = traffic.passed.get(beginning, 0) + 1
        _remember(traffic.passed, beginning, times)
        if times < PREAMBLE_AFTER:
            chosen = beginning
    return chosen.hex()


def _beginnings(user: str | None, messages: Sequence[Mapping[str, Any]]) -> Iterable[tuple[str, bytes]]:
    """After each message: its role, and a digest of roles and texts up to it."""
    hashed = hashlib.blake2b((user or "").encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES)
    for message in messages:
        role, content = str(message.get("role")), message.get("content")
        if isinstance(content, list):
            content = "".join(_text_of(part) for part in content)
        hashed.update(f"\0{role}\0{content or ''}".encode("utf-8", "surrogatepass"))
        yield role, hashed.digest()


def _text_of(part: Any) -> str:
    text = part.get("text") if isinstance(part, dict) else part
    return text if isinstance(text, str) else orjson.dumps(part).decode()


def _digest_of_prompt(user: str | None, prompt: Any) -> str:
    named = (user or "").encode("utf-8", "surrogatepass") + b"\0"
    return hashlib.blake2b(named + orjson.dumps(prompt), digest_size=DIGEST_BYTES).hexdigest()


def _remember(table: OrderedDict[bytes, Any], key: bytes, value: Any) -> None:
    table[key] = value
    table.move_to_end(key)
    if len(table) > REMEMBERED:
        table.popitem(last=False)


def _count(traffic: _Traffic, unit: tuple[str, UnitSource]) -> None:
    """Misra and Gries, Finding repeated elements (1982): where there is no room, every unit is counted down by one."""
    counts = traffic.counts
    if unit in counts or len(counts) < COUNTED:
        counts[unit] = counts.get(unit, 0) + 1
    else:
        traffic.counts = {one: count - 1 for one, count in counts.items() if count > 1}
    if traffic.requests >= FORGET_AT:
        traffic.requests //= 2
        traffic.counts = {one: count // 2 for one, count in traffic.counts.items() if count > 1}
