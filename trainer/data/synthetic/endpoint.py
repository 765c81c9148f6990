"""Asks any endpoint of OpenAI's or Anthropic's shape: bounded, with retries, and counting what it cost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx

from trainer.errors import TrainerError

Api = Literal["openai", "anthropic"]
DEFAULT_URLS: dict[Api, str] = {"openai": "https://api.openai.com/v1", "anthropic": "https://api.anthropic.com"}
ANTHROPIC_VERSION = "2023-06-01"
TRIES = 5
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
TIMEOUT_S = 180.0
MAX_REPLY_BYTES = 8 * 2**20
AGAIN = {408, 409, 425, 429, 500, 502, 503, 504, 529}
"""Statuses after which the same request may succeed."""
MAX_REASON_CHARACTERS = 300
Pause = Callable[[float], Awaitable[None]]


class EndpointError(TrainerError):
    """The endpoint does not answer, or not as its API says."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Who is asked. `base_url` is what an SDK would be given; `key` may be empty for servers that ask for none."""

    api: Api
    base_url: str
    model: str
    key: str = field(repr=False)
    max_tokens: int = 4_096
    temperature: float | None = None

    @property
    def url(self) -> str:
        """Where requests go."""
        base = self.base_url.rstrip("/")
        if self.api == "openai":
            return f"{base}/chat/completions"
        return f"{base.removesuffix('/v1')}/v1/messages"


@dataclass(frozen=True, slots=True)
class Reply:
    """What was answered; `cut` says that it had to end before it was done."""

    text: str
    cut: bool


@dataclass(slots=True)
class Spent:
    """What was used until now, as the endpoint counts it."""

    requests: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0


class Asker:
    """Sends requests to one endpoint, some at a time. Use it within `async with`."""

    def __init__(self, endpoint: Endpoint, concurrency: int, pause: Pause = asyncio.sleep) -> None:
        self.endpoint, self.spent = endpoint, Spent()
        self._turns = asyncio.Semaphore(concurrency)
        self._client = httpx.AsyncClient(timeout=TIMEOUT_S, headers=_headers(endpoint))
        self._pause = pause
        self._quirks: set[str] = set()
        self._broken: EndpointError | None = None  # then all that wait end at once

    async def __aenter__(self) -> Asker:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def ask(self, system: str, prompt: str, schema: dict[str, Any]) -> Reply:
        """One answer, JSON of that schema if the endpoint can. Raises EndpointError."""
        async with self._turns:
            if self._broken is not None:
                raise self._broken
            for attempt in range(1, TRIES + 1):
                status, body, wait_s = await self._send(self._body(system, prompt, schema))
                if status == 200:
                    return self._read(body)
                if status == 400 and self._learnt_from(body):
                    continue
                if status not in AGAIN or attempt == TRIES:
                    self._broken = EndpointError(f"{self.endpoint.url} answers {_reason(status, body)}")
                    raise self._broken
                await self._pause(min(LONGEST_WAIT_S, wait_s if wait_s is not None else FIRST_WAIT_S * 2**attempt))
        raise EndpointError(f"{self.endpoint.url} refuses every form of the request")

    async def _send(self, body: dict[str, Any]) -> tuple[int, bytes, float | None]:
        """Status (0: no answer at all), body, and how long to wait."""
        try:
            async with self._client.stream("POST", self.endpoint.url, json=body) as response:
                read = b""
                async for piece in response.aiter_bytes():
                    read += piece
                    if len(read) > MAX_REPLY_BYTES:
                        raise EndpointError(f"{self.endpoint.url} answers more than {MAX_REPLY_BYTES} bytes")
                self.spent.requests += response.status_code == 200
                return response.status_code, read, _seconds(response.headers.get("retry-after"))
        except httpx.TransportError as failed:
            return 503, json.dumps({"error": {"message": str(failed) or type(failed).__name__}}).encode(), None
        except (httpx.InvalidURL, ValueError) as failed:
            raise EndpointError(f"--base-url is {self.endpoint.base_url!r}: {failed}") from failed

    def _body(self, system: str, prompt: str, schema: dict[str, Any]) -> dict[str, Any]:
        asked = self.endpoint
        body: dict[str, Any] = {"model": asked.model, "messages": [{"role": "user", "content": prompt}]}
        if asked.temperature is not None:
            body["temperature"] = asked.temperature
        if asked.api == "anthropic":
            return body | {"system": system, "max_tokens": asked.max_tokens}
        body["messages"].insert(0, {"role": "system", "content": system})
        body["max_completion_tokens" if "max_completion_tokens" in self._quirks else "max_tokens"] = asked.max_tokens
        if "response_format" not in self._quirks:
            form = {"name": "samples", "schema": schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        return body

    def _learnt_from(self, body: bytes) -> bool:
        """Whether the refusal names a field that some endpoints have not, which is then left out."""
        known = {"max_completion_tokens", "response_format"} if self.endpoint.api == "openai" else set()
        named = {quirk for quirk in known - self._quirks if quirk.encode() in body}
        self._quirks |= named
        return bool(named)

    def _read(self, body: bytes) -> Reply:
        try:
            document = json.loads(body)
            usage = document.get("usage") or {}
            if self.endpoint.api == "anthropic":
                text = "".join(part["text"] for part in document["content"] if part["type"] == "text")
                cut, counts = document.get("stop_reason") == "max_tokens", ("input_tokens", "output_tokens")
            else:
                choice = document["choices"][0]
                text = choice["message"].get("content") or ""
                cut, counts = choice.get("finish_reason") == "length", ("prompt_tokens", "completion_tokens")
            self.spent.prompt_tokens += int(usage.get(counts[0]) or 0)
            self.spent.answer_tokens += int(usage.get(counts[1]) or 0)
            if not isinstance(text, str):
                raise TypeError("its text is none")
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as failed:
            raise EndpointError(
                f"{self.endpoint.url} does not answer in the shape of {self.endpoint.api} ({type(failed).__name__}); "
                "correct --api or --base-url"
            ) from failed
        return Reply(text, cut)


def _headers(endpoint: Endpoint) -> dict[str, str]:
    if endpoint.api == "anthropic":
        named = {"anthropic-version": ANTHROPIC_VERSION}
        return named | ({"x-api-key": endpoint.key} if endpoint.key else {})
    return {"authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}


def _seconds(header: str | None) -> float | None:
    try:
        return max(0.0, float(header)) if header is not None else None
    except ValueError:  # a date
        return None


def _reason(status: int, body: bytes) -> str:
    try:
        error = json.loads(body)["error"]
        text = str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError, RecursionError):
        text = body.decode(errors="replace").strip()
    return f"{status}: {text[:MAX_REASON_CHARACTERS] or 'nothing'}"
