"""What the load test asks and what it accepts as a right answer. Knows HTTP only, nothing of locust.

A keys file is a JSON list of tenants:

    [{"key": "sk-…", "tenant": "acme",
      "models": ["support", "acme/triage@1.0", {"name": "gpt-4o", "answers": ["base"]}]}]

`tenant` and the object form are optional. An answer is right when its `model` is the name that was asked for, or a
version of it, in this tenant; the object form lists the accepted names instead.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

VERSION = re.compile(r"^[0-9]+\.[0-9]+$")
TOPICS = ("the refund of an order", "a parcel that is late", "a broken screen", "a lost password", "an invoice")


@dataclass(frozen=True, slots=True)
class Model:
    """A name to ask for. `answers` are the accepted names; empty means: derive them from `name`."""

    name: str
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tenant:
    """A key and what it may ask for."""

    key: str
    models: tuple[Model, ...]
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. `kind` names it in the tables."""

    path: str
    body: dict[str, Any]
    model: Model

    @property
    def stream(self) -> bool:
        """Whether a stream is asked for."""
        return bool(self.body.get("stream"))

    @property
    def kind(self) -> str:
        """chat, chat stream, text or text stream."""
        return ("chat" if "messages" in self.body else "text") + (" stream" if self.stream else "")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came back. Times are milliseconds; `failure` is None for a right answer."""

    total_ms: float
    ttft_ms: float | None = None
    gaps_ms: tuple[float, ...] = ()
    length: int = 0
    failure: str | None = None


def read_tenants(path: Path) -> tuple[Tenant, ...]:
    """The keys file. Raises ValueError when a field is missing or empty, OSError."""
    entries = json.loads(path.read_text())
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{path}: give a JSON list with at least one {{'key', 'models'}}")
    return tuple(_tenant(path, place, entry) for place, entry in enumerate(entries))


def _tenant(path: Path, place: int, entry: dict[str, Any]) -> Tenant:
    if not entry.get("key") or not entry.get("models"):
        raise ValueError(f"{path}[{place}]: 'key' and a non-empty 'models' are needed, found {sorted(entry)}")
    models = (
        Model(model) if isinstance(model, str) else Model(model["name"], tuple(model.get("answers", ())))
        for model in entry["models"]
    )
    return Tenant(entry["key"], tuple(models), entry.get("tenant"))


def is_right(asked: Model, answered: str, tenant: str | None) -> bool:
    """Whether `answered` may be the `model` of an answer to `asked`, for that tenant."""
    if asked.answers:
        return answered in asked.answers
    owner, _, rest = answered.rpartition("/")
    if tenant is not None and owner != tenant:
        return False
    wanted_owner, _, wanted = asked.name.rpartition("/")
    wanted_name, _, wanted_version = wanted.partition("@")
    name, _, version = rest.partition("@")
    if wanted_owner and wanted_owner != owner:
        return False
    return name == wanted_name and (not VERSION.match(wanted_version) or version == wanted_version)


def next_ask(tenant: Tenant, draw: random.Random, max_tokens: int = 16) -> Ask:
    """A random request of this tenant: half chat, half streams, about one prompt in five seen before."""
    model = draw.choice(tenant.models)
    text = f"Write one line about {draw.choice(TOPICS)}, case {draw.randrange(25)}."
    body: dict[str, Any] = {"model": model.name, "max_tokens": max_tokens, "temperature": 0}
    chat = draw.random() < 0.5
    if chat:
        body["messages"] = [{"role": "system", "content": "Answer briefly."}, {"role": "user", "content": text}]
    else:
        body["prompt"] = text
    if draw.random() < 0.5:
        body.update(stream=True, stream_options={"include_usage": True})
    return Ask("/v1/chat/completions" if chat else "/v1/completions", body, model)


@dataclass(slots=True)
class Caller:
    """One user's keep-alive connection. Blocking, so each user is a thread or a greenlet."""

    url: str
    tenant: Tenant
    timeout_s: float = 60.0
    clock: Callable[[], float] = time.perf_counter
    _connection: HTTPConnection | None = field(default=None, init=False)

    def call(self, ask: Ask) -> Outcome:
        """Send a request and judge the answer; never raises for what the server does."""
        started = self.clock()
        try:
            response = self._send(ask)
            if response.status != 200:
                text = response.read(300).decode(errors="replace")
                self.close()
                return Outcome(self._since(started), failure=f"HTTP {response.status}: {text}")
            return self._read_stream(ask, response, started) if ask.stream else self._read_whole(ask, response, started)
        except (OSError, HTTPException, ValueError, KeyError) as error:
            self.close()
            return Outcome(self._since(started), failure=f"{type(error).__name__}: {error}"[:300])

    def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _send(self, ask: Ask) -> HTTPResponse:
        parts = urlsplit(self.url)
        if self._connection is None:
            assert parts.hostname is not None, f"url={self.url!r} has no host"
            self._connection = HTTPConnection(parts.hostname, parts.port or 80, timeout=self.timeout_s)
        headers = {"Authorization": f"Bearer {self.tenant.key}", "Content-Type": "application/json"}
        self._connection.request("POST", parts.path.rstrip("/") + ask.path, json.dumps(ask.body), headers)
        return self._connection.getresponse()

    def _read_whole(self, ask: Ask, response: HTTPResponse, started: float) -> Outcome:
        body = response.read()
        reply = json.loads(body)
        failure = self._wrong_model(ask, {reply["model"]})
        if reply["usage"]["completion_tokens"] < 1:
            failure = failure or "the answer has no tokens"
        return Outcome(self._since(started), length=len(body), failure=failure)

    def _read_stream(self, ask: Ask, response: HTTPResponse, started: float) -> Outcome:
        times, models, length, ended = [], set(), 0, False
        usage = None
        for data in sse_data(response):
            length += len(data)
            if data == b"[DONE]":
                ended = True
                continue
            event = json.loads(data)
            if "error" in event:
                return Outcome(self._since(started), length=length, failure=f"error event: {event['error']}"[:300])
            models.add(event["model"])
            usage = event.get("usage") or usage
            if has_text(event):
                times.append(self.clock())
        gaps = tuple((later - earlier) * 1_000 for earlier, later in pairwise(times))
        failure = self._wrong_model(ask, models)
        if not ended:
            failure = "the stream ended without [DONE]"
        elif not times:
            failure = failure or "the stream has no text"
        elif usage is None:
            failure = failure or "the stream has no usage"
        first = (times[0] - started) * 1_000 if times else None
        return Outcome(self._since(started), first, gaps, length, failure)

    def _wrong_model(self, ask: Ask, answered: Iterable[str]) -> str | None:
        wrong = sorted(model for model in answered if not is_right(ask.model, model, self.tenant.name))
        if not wrong:
            return None
        return f"asked for {ask.model.name!r} as tenant {self.tenant.name!r}, answered by {wrong}"

    def _since(self, started: float) -> float:
        return (self.clock() - started) * 1_000


def sse_data(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The payload of every `data:` line; comments and blank lines are skipped."""
    for line in lines:
        if line.startswith(b"data: "):
            yield line[6:].strip()


def has_text(event: dict[str, Any]) -> bool:
    """Whether a stream event carries generated text, as opposed to a role or usage."""
    return any(choice.get("text") or (choice.get("delta") or {}).get("content") for choice in event["choices"])
