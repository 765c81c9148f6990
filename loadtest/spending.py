"""Requests of every kind that costs tokens, some given up half way, and what each client was told that it cost.

Streamed or not, chat or text, several answers to a prompt, several prompts in one request, prompts that repeat (so that
an engine finds them in its cache), and clients that leave: of a stream after some events, of any answer after some
time. Everything is drawn from one seed.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from loadtest.client import Client
from loadtest.scenario import TOPICS

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
HEAD_END = b"\r\n\r\n"
REQUEST_ID = re.compile(rb"\r\nx-request-id: (\S+)\r\n", re.IGNORECASE)
COMPLETION_TOKENS = re.compile(rb'"completion_tokens":(\d+)')


@dataclass(frozen=True, slots=True)
class Purse:
    """Who pays, and for what."""

    tenant: str
    key: str
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mix:
    """How requests are drawn. Parts are probabilities; times in seconds."""

    max_tokens: int = 32
    long_prompts: float = 0.3
    """Prompts long enough for an engine's cache, and always the same of a topic."""
    streamed: float = 0.6
    several: float = 0.15
    """Requests for two or three answers."""
    several_prompts: float = 0.1
    """Text completions of two prompts in one request."""
    left_after_events: float = 0.12
    left_after_time: float = 0.08
    leave_within_s: float = 0.04
    filler_words: int = 80


@dataclass(frozen=True, slots=True)
class Wish:
    """One request as it will be sent."""

    purse: Purse
    path: str
    body: dict[str, Any]
    leave_after_events: int | None = None
    leave_after_s: float | None = None

    @property
    def leaves(self) -> bool:
        """Whether its client means to go before the end."""
        return self.leave_after_events is not None or self.leave_after_s is not None

    @property
    def answers(self) -> int:
        """Answers to all of its prompts."""
        prompts = len(self.body["prompt"]) if isinstance(self.body.get("prompt"), list) else 1
        return prompts * int(self.body.get("n", 1))


@dataclass(frozen=True, slots=True)
class Spent:
    """What its client knows. `usage` is the final count of an answer that came whole."""

    wish: Wish
    request_id: str | None
    status: int | None
    usage: dict[str, Any] | None
    seen_tokens: int = 0
    """Of an answer that was left: the last count of one of its answers that reached us."""


def wishes(purses: Sequence[Purse], count: int, mix: Mix, seed: int) -> list[Wish]:
    """So many requests, the same for the same seed."""
    draw = random.Random(seed)
    return [_wish(draw, purses, mix) for _ in range(count)]


def _wish(draw: random.Random, purses: Sequence[Purse], mix: Mix) -> Wish:
    purse = draw.choice(purses)
    body: dict[str, Any] = {"model": draw.choice(purse.models), "max_tokens": draw.randint(1, mix.max_tokens)}
    topic = draw.choice(TOPICS)
    long = draw.random() < mix.long_prompts
    text = f"About {topic}. " + ("please " * mix.filler_words if long else f"Case {draw.randrange(1_000)}.")
    chat = draw.random() < 0.6
    if chat:
        body["messages"] = [{"role": "user", "content": text}]
    else:
        body["prompt"] = [text, f"And {topic}?"] if draw.random() < mix.several_prompts else text
    if draw.random() < mix.several:
        body["n"] = draw.choice((2, 3))
        body["temperature"] = 1.0
    if draw.random() < mix.streamed:
        continuous = draw.random() < 0.5
        body |= {"stream": True, "stream_options": {"include_usage": True, "continuous_usage_stats": continuous}}
    events = seconds = None
    dice = draw.random()
    if dice < mix.left_after_events and body.get("stream"):
        events = draw.randint(0, mix.max_tokens)
    elif dice < mix.left_after_events + mix.left_after_time:
        seconds = draw.random() * mix.leave_within_s
    return Wish(purse, CHAT if chat else TEXT, body, events, seconds)


@dataclass(slots=True)
class Spending:
    """Sends wishes, so many at a time. `every` is called before each with how many were sent; it must not block."""

    url: str
    concurrency: int
    every: Callable[[int], None] = lambda _sent: None
    spent: list[Spent] = field(default_factory=list)

    async def run(self, todo: Sequence[Wish]) -> list[Spent]:
        """All of them; what came back, in the order in which it ended."""
        clients = {key: Client(self.url, key) for key in {wish.purse.key for wish in todo}}
        queue = iter(enumerate(todo))

        async def one_by_one() -> None:
            for number, wish in queue:
                self.every(number)
                client = clients[wish.purse.key]
                self.spent.append(await (self._leave(wish) if wish.leaves else self._whole(client, wish)))

        await asyncio.gather(*(one_by_one() for _ in range(self.concurrency)))
        for client in clients.values():
            await client.__aexit__(None, None, None)
        return self.spent

    async def _whole(self, client: Client, wish: Wish) -> Spent:
        try:
            reply = await client.post(wish.path, orjson.dumps(wish.body))
        except OSError:
            return Spent(wish, None, None, None)
        request_id = reply.headers.get("x-request-id")
        if reply.status != 200:
            return Spent(wish, request_id, reply.status, None)
        return Spent(wish, request_id, reply.status, _final_usage(reply.body, bool(wish.body.get("stream"))))

    async def _leave(self, wish: Wish) -> Spent:
        """Send it and go: after so many events, or after so long; earlier when the answer is over."""
        host, port = self.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        body = orjson.dumps(wish.body)
        head = f"POST {wish.path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {wish.purse.key}\r\n"
        head += f"Content-Type: application/json\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        raw = b""
        try:
            async with asyncio.timeout(wish.leave_after_s):
                while not _has_events(raw, wish.leave_after_events) and (data := await reader.read(65_536)):
                    raw += data
        except (TimeoutError, ConnectionError):
            pass
        finally:
            writer.transport.abort()
        found, counts = REQUEST_ID.search(raw), COMPLETION_TOKENS.findall(raw)
        status = int(raw[9:12]) if HEAD_END in raw else None
        return Spent(wish, found[1].decode() if found else None, status, None, max(map(int, counts), default=0))


def _has_events(raw: bytes, wanted: int | None) -> bool:
    return wanted is not None and HEAD_END in raw and raw.count(b"data: ") >= wanted


def _final_usage(body: bytes, stream: bool) -> dict[str, Any] | None:
    """The count of a whole answer; None when it broke off or failed within."""
    if not stream:
        return dict(orjson.loads(body)["usage"])
    events = [event.removeprefix(b"data: ") for event in body.split(b"\n\n") if event]
    if events[-1:] != [b"[DONE]"] or len(events) < 2:
        return None
    last = orjson.loads(events[-2])
    return dict(last["usage"]) if last.get("choices") == [] else None
