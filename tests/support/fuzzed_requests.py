"""Requests that are broken at random, as bytes: good bodies of every dialect mutated, strange heads, pipelines."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import orjson

from gateway.api.dialects import DIALECTS
from tests.support.fuzzed_bodies import RICH, STRANGE, mutated
from tests.support.wire import Answer, read_answer

ANSWER_TIMEOUT_S = 30.0
UNFINISHED_TIMEOUT_S = 0.05
"""How long a request of which not all came is waited for."""
HONEST = (501, 503)
"""Statuses that say what is not there, or not now, if they have a code."""
POOLED: dict[str, dict[str, Any]] = {
    "embeddings": {"model": "m", "input": ["a", "b"], "encoding_format": "float", "dimensions": 8, "user": "u"},
    "score": {"model": "m", "queries": "a", "documents": ["b", "c"]},
    "rerank": {"model": "m", "query": "a", "documents": ["b", {"text": "c"}], "top_n": 1, "return_documents": True},
    "tokenize": {"model": "m", "messages": [{"role": "user", "content": "a"}], "return_token_strs": True},
    "detokenize": {"model": "m", "tokens": [1, 2, 3]},
}
KEPT: dict[str, dict[str, Any]] = {
    "/v1/feedback": {"response_id": "chatcmpl-" + "0" * 32, "metric": "m", "value": 1, "idempotency_key": "k"},
    "/v1/fine_tuning/jobs": {"model": "tiny", "training_file": "file-x", "suffix": "s", "seed": 1},
    "/v1/webhook_endpoints": {"url": "https://example.com/x", "description": "d", "events": ["e"]},
    "/v1/uploads": {"filename": "f", "purpose": "fine-tune", "bytes": 3, "mime_type": "text/jsonl"},
    "/v1/conversations": {"metadata": {"a": "b"}, "items": [{"role": "user", "content": "c"}]},
    "/v1/responses/resp_0/cancel": {},
    "/v1/uploads/upload_0/complete": {"part_ids": ["part_0"], "md5": "0"},
}  # fmt: skip
OF_OTHERS = ("previous_response_id", "conversation")
"""Fields of good bodies that name what is not there."""
READ = (
    "/v1/models", "/v1/models/{}", "/v1/responses/{}", "/v1/responses/{}/input_items", "/v1/conversations/{}",
    "/v1/conversations/{}/items", "/v1/files", "/v1/files/{}", "/v1/files/{}/content", "/v1/fine_tuning/jobs",
    "/v1/fine_tuning/jobs/{}/events", "/v1/feedback", "/v1/account", "/v1/account/usage", "/v1/webhook_endpoints",
    "/healthz", "/readyz", "/metrics", "/docs", "/openapi.json", "/admin/v1/tenants", "/admin/v1/adapters/{}", "/{}",
)  # fmt: skip
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "QUERY", "CONNECT", "")
TEXTS = (
    "", "x", "..", "%00", "%", "%zz", "%2e%2e%2f", "\u202e", "é", "a" * 300, "'", '"', "<b>", "acme/triage@1.0", "@",
    "//", "?", "#", "a%0d%0ab", "null", "-1", "1e400", "ft:gpt-4o-mini:acme::7",
)  # fmt: skip
LINES = (
    b"Content-Length: 3", b"Content-Length: 3, 3", b"Content-Length: -1", b"Content-Length: 99999999999999999999",
    b"Content-Length: 0x3", b"Content-Length:", b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked, chunked", b"Expect: 100-continue", b"Expect: 417",
    b"Connection: close", b"Connection: keep-alive, upgrade", b"Upgrade: h2c", b"Upgrade: websocket",
    b"Content-Encoding: gzip", b"Content-Encoding: br", b"Content-Encoding: gzip, gzip, gzip", b"Content-Encoding: a",
    b"Content-Type: multipart/form-data; boundary=e", b"Content-Type: application/x-www-form-urlencoded",
    b"Content-Type: \xff", b"Authorization: Bearer", b"Authorization: Basic eDp5", b"Authorization: Bearer \xff\xfe",
    b"x-api-key: a", b"api-key: a", b"Host: b", b"Host:", b"X-Switchyard-Unit: u", b"X-Switchyard-Unit: \xe9",
    b"X-Switchyard-Unit: " + b"u" * 300, b"traceparent: 00-0-0-0", b"traceparent: " + b"0" * 9_000, b"tracestate: a=b",
    b"X-Request-Id: a b", b"X-Request-Id: " + b"a" * 1_000, b"Idempotency-Key: k", b"Idempotency-Key: ",
    b"anthropic-version: 2023-06-01", b"anthropic-beta: x", b"Origin: null", b"Accept: text/event-stream",
    b"Accept-Encoding: gzip;q=0", b"Range: bytes=0-1", b"If-Match: *", b"Cookie: a=b", b"Forwarded: for=_x",
    b"X-Forwarded-For: 127.0.0.1", b" folded", b"no colon", b": no name", b"a\x00: b", b"a: \x00", b"a: \x01\x7f",
    b"A" * 5_000 + b": b", b"a : b", b"a\xff: b",
)  # fmt: skip


class Shot(NamedTuple):
    """What is written to a connection. `answers` are awaited, of heads alone where `of_heads`; `whole`: nothing is
    missing at its end, so that all answers come.
    """

    data: bytes
    answers: int
    whole: bool
    of_heads: tuple[bool, ...] = ()


@dataclass(frozen=True, slots=True)
class Fuzzer:
    """Shots by one seed, with keys and the models that each may ask."""

    chance: random.Random
    callers: Sequence[tuple[str, Sequence[str]]]

    def shots(self, count: int) -> Iterator[Shot]:
        """So many."""
        kinds: tuple[Callable[[], Shot], ...] = (self._inference, self._kept, self._read, self._head, self._pipeline)
        for _ in range(count):
            yield self.chance.choices(kinds, (55, 12, 8, 15, 10))[0]()

    def _inference(self) -> Shot:
        chance = self.chance
        endpoint = chance.choice((*RICH, *RICH, *POOLED))
        good = RICH.get(endpoint, POOLED.get(endpoint))
        body = mutated(good, chance)
        key, models = self._caller()
        if isinstance(body, dict) and chance.random() < 0.9:
            body = {name: value for name, value in body.items() if name not in OF_OTHERS} | {
                "model": chance.choice(models)
            }
        raw = bytearray(orjson.dumps(body))
        if chance.random() < 0.1:
            for _ in range(chance.randint(1, 3)):
                raw[chance.randrange(len(raw))] = chance.randrange(256)
        return self._framed("POST", DIALECTS[endpoint].path, bytes(raw), key)

    def _kept(self) -> Shot:
        path = self.chance.choice(list(KEPT))
        body = mutated(KEPT[path], self.chance)
        if isinstance(body, dict) and body and self.chance.random() < 0.7:
            body[self.chance.choice(list(body))] = self.chance.choice(STRANGE)
        return self._framed("POST", path, orjson.dumps(body))

    def _read(self) -> Shot:
        chance = self.chance
        path = chance.choice(READ).format(quote(chance.choice(TEXTS), safe=chance.choice(("", "/", "%/@:"))))
        if chance.random() < 0.4:
            path += (
                f"?{chance.choice(('after', 'limit', 'order', 'include[]', 'by', 'x'))}={quote(chance.choice(TEXTS))}"
            )
        return self._framed(chance.choice(("GET", "GET", "GET", "DELETE", "HEAD")), path, b"")

    def _caller(self) -> tuple[str, Sequence[str]]:
        """A key, as the header's line, and what it may ask: now and then none, or another's."""
        (key, models), chance = self.chance.choice(self.callers), self.chance.random()
        if chance < 0.05:
            key, models = self.chance.choice(("sk-nobody", self.callers[0][0])), self.callers[-1][1]
        return f"Authorization: Bearer {key}\r\n" if chance > 0.02 else "", models

    def _framed(self, method: str, path: str, body: bytes, key: str | None = None) -> Shot:
        """Well framed, as one piece, in chunks, or not to its end."""
        chance = self.chance
        lines = f"Host: g\r\nContent-Type: application/json\r\n{self._caller()[0] if key is None else key}"
        head = f"{method} {path} HTTP/1.1\r\n{lines}".encode()
        if body and chance.random() < 0.1:
            data = b"%bTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (head, len(body), body)
        else:
            data = b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
        if chance.random() < 0.02:
            return Shot(data[: chance.randrange(len(data))], 1, False)
        return Shot(data, 1, True, (method == "HEAD",))

    def _head(self) -> Shot:
        """Lines that do not belong there, or twice, and request lines that are none. How it is framed nobody knows."""
        chance = self.chance
        method = chance.choice(METHODS) if chance.random() < 0.3 else chance.choice(("GET", "POST"))
        path = chance.choice((*READ, *KEPT, *(one.path for one in DIALECTS.values()))).format(chance.choice(TEXTS))
        version = (
            "HTTP/1.1" if chance.random() < 0.9 else chance.choice(("HTTP/1.0", "HTTP/2.0", "HTTP/9", "", "HTTP/1.1 x"))
        )
        key, models = self._caller()
        lines = [b"Host: g", key[:-2].encode(), b"Connection: close", *chance.choices(LINES, k=chance.randint(1, 4))]
        chance.shuffle(lines)
        first = f"{method} {path} {version}".encode("utf-8", "surrogatepass")
        body = orjson.dumps({"model": chance.choice(models), "messages": [{"role": "user", "content": "a"}]})
        end = chance.choice((b"\r\n", b"\r\n", b"\r\n", b"\n"))
        return Shot(
            end.join([first, *lines, b"", b""]) + chance.choice((b"", body, b"3\r\nabc\r\n0\r\n\r\n")), 1, False
        )

    def _pipeline(self) -> Shot:
        """Several in one piece, sometimes with something else behind."""
        kinds = self.chance.choices((self._inference, self._read), k=self.chance.randint(2, 6))
        parts = [kind() for kind in kinds]
        whole = all(part.whole for part in parts)
        data, heads = b"".join(part.data for part in parts), tuple(head for part in parts for head in part.of_heads)
        if self.chance.random() < 0.2:
            return Shot(data + self.chance.randbytes(20), len(parts) + 1, False, heads)
        return Shot(data, len(parts), whole, heads)


@dataclass(slots=True)
class Volley:
    """What came of shots: statuses, and the errors of servers by status and code, with a shot for each of these."""

    statuses: Counter[int] = field(default_factory=Counter)
    unanswered: int = 0
    honest: Counter[str] = field(default_factory=Counter)
    faults: dict[str, bytes] = field(default_factory=dict)
    server_errors: int = 0

    def note(self, answer: Answer, shot: Shot) -> None:
        """One more answer."""
        self.statuses[answer.status] += 1
        if answer.status < 500:
            return
        code = _code_of(answer)
        if answer.status in HONEST and code:
            self.honest[f"{answer.status} {code}"] += 1
        else:
            self.server_errors += 1
            self.faults.setdefault(f"{answer.status} {code}", shot.data)


def _code_of(answer: Answer) -> str:
    """What the error is called; in Anthropic's form it has a type alone."""
    try:
        error = orjson.loads(answer.body)["error"]
        return str(error.get("code") or error["type"])
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return ""


async def fire(url: str, shots: Iterator[Shot], at_once: int, on_shot: Callable[[], None] = lambda: None) -> Volley:
    """All shots, over so many connections at a time, which are kept as long as they can be."""
    volley, address = Volley(), urlsplit(url)
    assert address.hostname is not None

    async def gunner() -> None:
        kept: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        for shot in shots:
            if kept is None:
                kept = await asyncio.open_connection(address.hostname, address.port)
            reader, writer = kept
            if not await _answered(volley, shot, reader, writer):
                writer.close()
                kept = None
            on_shot()
        if kept is not None:
            kept[1].close()

    await asyncio.gather(*(gunner() for _ in range(at_once)))
    return volley


async def _answered(volley: Volley, shot: Shot, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Whether the connection can be used again."""
    try:
        writer.write(shot.data)
        async with asyncio.timeout(ANSWER_TIMEOUT_S if shot.whole else UNFINISHED_TIMEOUT_S):
            for number in range(shot.answers):
                of_head = number < len(shot.of_heads) and shot.of_heads[number]
                answer = await read_answer(reader, of_head=of_head)
                if answer is None:
                    break
                volley.note(answer, shot)
                if answer.headers.get("connection", "").lower() == "close":
                    return False
            else:
                return shot.whole
    except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass
    volley.unanswered += shot.whole
    return False
