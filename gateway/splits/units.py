"""What stays together on one arm of a split, and how evenly a split's traffic is spread over such units.

A unit is, in this order: the caller's `X-Switchyard-Unit`, what the first turn of a stored conversation had,
`metadata.conversation_id`, or what the request itself
shows. Of a completion that is its whole prompt. Of a chat it is the first turn that is the conversation's own: the
messages up to its first user message, unless they are a preamble (examples that an application puts before every
question), which is followed further. The end user, if the request names one, is part of both. An experiment may choose
otherwise: the end user, if the request names one, each request for itself, or all that come in one window of time.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import Any, Generic, TypeVar

import orjson

from gateway.handoffs import Call, InferenceRequest, Opening, Unit, UnitSource
from registry.catalog.snapshot import SplitEntry
from registry.experiments.windows import name_of
from registry.short_digest import SHORT_BYTES
from registry.short_digest import sha256 as sha256_of_short
from registry.splits.skew import SplitSkew

LEAST_PASSED = 8
"""Conversations that went on from a beginning before it may be taken for a preamble."""
DOUBT = 0.1
"""Of beginnings with which conversations do begin, so many may be taken for preambles, until one begins so here."""
REMEMBERED = 1_024
"""Conversations, and beginnings of them, that are remembered of each split at least; twice as many at most."""
SPLITS = 128
"""Splits of which conversations are remembered; the one that was least recently asked for is forgotten first."""
SETTLED = 128
"""Requests that are counted in one go, or fewer: one after the other takes a third of the time that it takes between
other things.
"""
APART = ("request", "window")
"""What a policy takes for units that nobody has to look out for: none is too much of the traffic by itself."""
COUNTED = 256
"""Units that are counted of each split at once: a unit's count is too low by 1/257 of the traffic at most."""
FORGET_AT = 20_000
"""Requests after which counts are halved, so that they are of the traffic of today."""
DIGEST_BYTES = 16
_unit: Callable[[tuple[str, UnitSource]], Unit] = partial(tuple.__new__, Unit)
"""A unit by its value and source, without the function that a named tuple is otherwise made by: each request has one.
"""
A = TypeVar("A")


class _Recent(Generic[A]):
    """What was put in last, by digest. Half of it is forgotten at once: to keep it in order, and to forget one for each
    that comes, would cost as much as the digest.
    """

    __slots__ = ("new", "old")

    def __init__(self) -> None:
        self.new: dict[bytes, A] = {}
        self.old: dict[bytes, A] = {}

    def get(self, digest: bytes) -> A | None:
        """What is known, if anything is."""
        found = self.new.get(digest)
        return self.old.get(digest) if found is None else found

    def put(self, digest: bytes, value: A) -> None:
        """Know it from now on."""
        self.new[digest] = value
        if len(self.new) >= REMEMBERED:
            self.old, self.new = self.new, {}

    def __len__(self) -> int:
        return len(self.new) + len(self.old)


class _Counts(_Recent[int]):
    """How often each was counted."""

    __slots__ = ()

    def add(self, digests: Iterable[bytes]) -> None:
        """Each once more."""
        new, old = self.new, self.old
        for digest in digests:
            found = new.get(digest)
            new[digest] = 1 + (old.get(digest, 0) if found is None else found)
            if len(new) >= REMEMBERED:
                self.old, self.new = old, new = new, {}


@dataclass(slots=True)
class _Traffic:
    """What is known of the requests of a split, and of those that continue it with other weights."""

    split_id: int
    whole: _Counts = field(default_factory=_Counts)
    """Digest of all messages of a request that ends with a user's → how many such requests there were. Where nothing
    else is said in `units`, that digest is their unit.
    """
    passed: _Counts = field(default_factory=_Counts)
    """Digest of the first messages of requests, up to a user's → conversations that were first seen behind it."""
    units: _Recent[str] = field(default_factory=_Recent)
    """Digest of all messages of a request → its unit, where that is no digest of them. A later turn begins with the
    very same messages.
    """
    requests: int = 0
    """But for those of `uncounted`."""
    counts: dict[Unit, int] = field(default_factory=dict)
    uncounted: list[Unit] = field(default_factory=list)
    """Of the last requests, what is not in `counts` yet."""
    uncounted_whole: list[bytes] = field(default_factory=list)
    """Likewise, what is not in `whole` yet."""

    def settle(self) -> None:
        """Count the last requests. Of units, too many are cut down as Misra and Gries do (Finding repeated elements,
        1982), so many requests at once: all lose what the first of those has that there is no room for.
        """
        uncounted, counts = self.uncounted, self.counts
        self.whole.add(self.uncounted_whole)
        for unit in uncounted:
            counts[unit] = counts.get(unit, 0) + 1
        self.requests += len(uncounted)
        uncounted.clear()
        self.uncounted_whole.clear()
        if len(counts) > COUNTED:
            lost = sorted(counts.values(), reverse=True)[COUNTED]
            self.counts = {one: count - lost for one, count in counts.items() if count > lost}
        if self.requests >= FORGET_AT:
            self.requests //= 2
            self.counts = {one: count // 2 for one, count in self.counts.items() if count > 1}

    def unit_seen(self, digest: bytes) -> str | None:
        """The unit of a request that was seen and had these messages."""
        found = self.units.get(digest)
        if found is None and self.whole.get(digest) is not None:
            return digest.hex()
        return found


class Units:
    """The units of the requests of one process. Not for threads."""

    def __init__(self) -> None:
        self._too_many = LEAST_PASSED
        self._splits: OrderedDict[bytes, _Traffic] = OrderedDict()
        self._last: SplitEntry | None = None
        """Which was asked for last, of the catalog in force then, and what is known of its requests."""
        self._of_last = _Traffic(0)

    def shared_by(self, workers: int) -> None:
        """So many processes share the traffic: a conversation that begins at one may be seen later by another."""
        in_a_row = math.log(DOUBT) / math.log(1 - 1 / workers) if workers > 1 else 0
        self._too_many = max(LEAST_PASSED, math.ceil(in_a_row))

    def of(self, call: Call, request: InferenceRequest, split: SplitEntry) -> Unit:
        """The unit of a request whose alias is split."""
        traffic = self._of_last if split is self._last else self._traffic(split)
        policy = split.policy
        if policy is not None and policy.unit in APART:
            traffic.requests += 1
            if policy.unit == "request":
                return Unit(call.request_id, "request")
            return Unit(name_of(call.request_id, policy.window_ms), "window")
        if policy is not None and policy.unit == "end_user" and request.user:
            unit = _unit((request.user, "end_user"))
        elif header := call.unit_header:
            unit = _unit((header, "header"))
        elif (keeping := request.keeping) is not None and keeping.unit is not None:
            unit = _unit((keeping.unit, "stored"))
        elif conversation_id := request.conversation_id:
            unit = _unit((conversation_id, "conversation_id"))
        else:
            unit = self._shown(traffic, request)
        uncounted = traffic.uncounted
        uncounted.append(unit)
        if len(uncounted) >= SETTLED:
            traffic.settle()
        return unit

    def _shown(self, traffic: _Traffic, request: InferenceRequest) -> Unit:
        """The unit that a request itself shows."""
        opening = request.opening
        if opening is None:
            messages = request.body.get("messages")
            if messages is not None and len(messages) == 1:
                first = messages[0]
                text = first.get("content")
                if type(text) is str and first["role"] == "user":  # the same as below in one go, as of most requests
                    said = f"{request.user or ''}\0user\0{text}".encode("utf-8", "surrogatepass")
                    hashed = sha256_of_short(said) if len(said) <= SHORT_BYTES else sha256(said)
                    whole = hashed.digest()[:DIGEST_BYTES]
                    traffic.uncounted_whole.append(whole)
                    return _unit((whole.hex(), "first_turn"))
            opening = opening_of(request)
        if isinstance(opening, str):
            return _unit((opening, "prompt"))
        return _unit((self._conversation(traffic, opening), "first_turn"))

    def _traffic(self, split: SplitEntry) -> _Traffic:
        traffic = self._splits.get(split.salt)
        if traffic is None:
            traffic = self._splits[split.salt] = _Traffic(split.id)
            if len(self._splits) > SPLITS:
                self._splits.popitem(last=False)
        else:
            self._splits.move_to_end(split.salt)
        if traffic.split_id != split.id:
            traffic.settle()
            traffic.split_id, traffic.requests, traffic.counts = split.id, 0, {}
        self._last, self._of_last = split, traffic
        return traffic

    def _conversation(self, traffic: _Traffic, ends: Sequence[tuple[str, bytes]]) -> str:
        """The unit of a chat, by what is known of each of its messages.

        A request that goes on from one that was seen here is of its conversation. Else the unit is the shortest
        beginning that ends with a user message and is no preamble. So the first turn decides, whoever sees it, and
        only what is said before the conversation's own first turn has to be learnt.
        """
        unit = None
        last_role, whole = ends[-1]
        if len(ends) > 1:
            earlier = ends[:-1]
            traffic.settle()
            unit = self._of_earlier(traffic, earlier)
        if last_role == "user":
            traffic.uncounted_whole.append(whole)
            if unit is None and traffic.units.get(whole) is None:
                return whole.hex()
        unit = unit or whole.hex()
        traffic.units.put(whole, unit)
        return unit

    def _of_earlier(self, traffic: _Traffic, earlier: Sequence[tuple[str, bytes]]) -> str | None:
        """The unit that a chat has by what is before its last message; `None` if nothing of that is its own."""
        users = [number for number, (role, _) in enumerate(earlier) if role == "user"]
        seen, unit = -1, None
        for number in range(len(earlier) - 1, -1, -1):
            if (unit := traffic.unit_seen(earlier[number][1])) is not None:
                seen = number
                break
        if users and seen < users[-1]:  # the turn before this one was not seen here
            for number in users:
                if number >= seen:
                    traffic.passed.add([earlier[number][1]])
        if not users:
            return unit
        if unit is not None and not self._is_preamble(traffic, earlier[seen][1]):
            return unit
        own = (earlier[number][1] for number in users if not self._is_preamble(traffic, earlier[number][1]))
        found = next(own, None)
        return None if found is None else found.hex()

    def _is_preamble(self, traffic: _Traffic, beginning: bytes) -> bool:
        """Conversations that begin elsewhere are first seen here behind their beginning, with the odds of the workers:
        so many in a row, and so many more for every one that does begin here, are no coincidence.
        """
        passed = traffic.passed.get(beginning)
        return passed is not None and passed >= self._too_many * ((traffic.whole.get(beginning) or 0) + 1)

    def skews(self) -> list[SplitSkew]:
        """Of every split: the unit with the most requests, as this process has seen it."""
        found = []
        for traffic in self._splits.values():
            traffic.settle()
            nobody = Unit("", "prompt"), 0
            (_, source), most = max(traffic.counts.items(), key=lambda item: item[1], default=nobody)
            found.append(SplitSkew(traffic.split_id, source, traffic.requests, most))
        return found


def opening_of(request: InferenceRequest) -> Opening:
    """What of a request its unit follows from, if nothing is said of that: takes long for long bodies."""
    messages = request.body.get("messages")
    if messages is None:
        return _digest_of_prompt(request.user, request.body[request.dialect.prompt_field(request.body)])
    return _beginnings(request.user, messages)


def _beginnings(user: str | None, messages: Sequence[Mapping[str, Any]]) -> list[tuple[str, bytes]]:
    """After each message: its role, and a digest of roles and texts up to it."""
    hashed = sha256((user or "").encode("utf-8", "surrogatepass"))
    ends = []
    for message in messages:
        role, said = _said(message)
        hashed.update(said.encode("utf-8", "surrogatepass"))
        ends.append((role, hashed.digest()[:DIGEST_BYTES]))
    return ends


def _said(message: Mapping[str, Any]) -> tuple[str, str]:
    """Its role, and what is hashed of it."""
    role, content = message["role"], message.get("content")
    if type(content) is list:
        content = "".join(_text_of(part) for part in content)
    return role, f"\0{role}\0{content or ''}"


def _text_of(part: Any) -> str:
    text = part.get("text") if isinstance(part, dict) else part
    return text if isinstance(text, str) else orjson.dumps(part).decode()


def _digest_of_prompt(user: str | None, prompt: Any) -> str:
    named = (user or "").encode("utf-8", "surrogatepass") + b"\0"
    return sha256(named + orjson.dumps(prompt)).digest()[:DIGEST_BYTES].hex()
