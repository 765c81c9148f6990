"""Asks models at one endpoint: bounded, with retries, and counting what was used."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from trainer.endpoints.endpoint import CHAT, Endpoint
from trainer.errors import EndpointError

TRIES = 6
"""Of a question that is turned away for now: a limit is reached, or an adapter is still being loaded."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 60.0
TIMEOUT_S = 600.0
"""Of one answer: a slow engine writes for minutes."""
MAX_REPLY_BYTES = 8 * 2**20
AGAIN = {408, 409, 425, 429, 500, 502, 503, 504, 529}
"""Statuses after which the same request may succeed."""
MAX_REASON_CHARACTERS = 600
Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """What was answered, whether it had ended by itself, how long it took in seconds, and the tokens of prompt and
    answer as the endpoint counts them: 0 where it does not. `calls` are its calls of tools as a JSON list of names and
    arguments, empty without any.
    """

    text: str
    ended: bool
    latency_s: float
    prompt_tokens: int = 0
    answer_tokens: int = 0
    calls: str = ""


@dataclass(slots=True)
class Spent:
    """What was used until now, as the endpoint counts it."""

    requests: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Manner:
    """How an answer is to be written. `temperature` None: as the endpoint has it. `schema`: JSON of that schema, where
    the endpoint can do so.
    """

    max_tokens: int
    temperature: float | None = 0
    schema: Mapping[str, Any] | None = None


class Client:
    """One key at one endpoint. Thread-safe."""

    def __init__(self, endpoint: Endpoint, http: httpx.Client) -> None:
        self.endpoint, self.spent = endpoint, Spent()
        self._http = http
        self._lock = threading.Lock()
        self._quirks: dict[str, set[str]] = defaultdict(set)
        self._has_answered = False

    def chat(
        self, model: str, messages: Sequence[Message], manner: Manner, tools: Sequence[Mapping[str, Any]] = ()
    ) -> Reply:
        """The answer to a conversation. Raises EndpointError."""
        while True:
            body = self._chat_body(model, messages, manner)
            try:
                return self.ask(CHAT, {**body, "tools": list(tools)} if tools else body)
            except EndpointError as error:
                if error.status != 400 or not self._learnt_from(model, error.said, body):
                    raise

    def ask(self, path: str, body: Mapping[str, Any]) -> Reply:
        """One text, of a chat or a completion. Raises EndpointError."""
        began = time.perf_counter()
        document = self.post(path, body)
        latency_s = time.perf_counter() - began
        try:
            text, ended = self._text_in(document)
            calls = "" if self._is_anthropic else _calls_in(document["choices"][0])
            usage = document.get("usage") or {}
            names = ("input_tokens", "output_tokens") if self._is_anthropic else ("prompt_tokens", "completion_tokens")
            prompt, answer = (int(usage.get(name) or 0) for name in names)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as failed:
            raise self._misshapen(failed) from failed
        with self._lock:
            self.spent.prompt_tokens += prompt
            self.spent.answer_tokens += answer
        return Reply(text, ended, latency_s, prompt, answer, calls)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The document that answers. Raises EndpointError, which has the status and the code of a refusal."""
        for turn in range(1, TRIES + 1):
            response, read = self._send(path, body)
            if response is not None and response.status_code == 200:
                break
            again = response is None or response.status_code in AGAIN
            if turn == TRIES or not again or (response and response.headers.get("x-should-retry") == "false"):
                raise self._refusal(response, read, path, body)
            time.sleep(_pause_s(response, turn))
        with self._lock:
            self.spent.requests += 1
        try:
            return json.loads(read)
        except (ValueError, RecursionError) as failed:
            raise self._misshapen(failed) from failed

    def _send(self, path: str, body: Mapping[str, Any]) -> tuple[httpx.Response | None, bytes]:
        """The response and its body; None and a reason when a connection broke. An address that has never answered is
        taken for a wrong one at once.
        """
        url, read = self.endpoint.url(path), b""
        try:
            with self._http.stream("POST", url, json=body) as response:
                self._has_answered = True
                for piece in response.iter_bytes():
                    read += piece
                    if len(read) > MAX_REPLY_BYTES:
                        raise EndpointError(f"{url} answers more than {MAX_REPLY_BYTES} bytes")
                return response, read
        except httpx.TimeoutException as failed:
            raise EndpointError(f"{url} has not answered within {TIMEOUT_S:g} seconds") from failed
        except httpx.TransportError as failed:
            if not self._has_answered:
                raise self._nobody(failed) from failed
            return None, (str(failed) or type(failed).__name__).encode()
        except (httpx.InvalidURL, ValueError) as failed:
            raise self._nobody(failed) from failed

    @property
    def _is_anthropic(self) -> bool:
        return self.endpoint.api == "anthropic"

    def _chat_body(self, model: str, messages: Sequence[Message], manner: Manner) -> dict[str, Any]:
        quirks = self._quirks[model]
        body: dict[str, Any] = {"model": model, "messages": list(messages)}
        if manner.temperature is not None and "temperature" not in quirks:
            body["temperature"] = manner.temperature
        if self._is_anthropic:
            system = "\n\n".join(str(one["content"]) for one in messages if one["role"] == "system")
            body["messages"] = [one for one in messages if one["role"] != "system"]
            return body | ({"system": system} if system else {}) | {"max_tokens": manner.max_tokens}
        body["max_completion_tokens" if "max_completion_tokens" in quirks else "max_tokens"] = manner.max_tokens
        if manner.schema is not None and "response_format" not in quirks:
            form = {"name": "answer", "schema": manner.schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        return body

    def _learnt_from(self, model: str, refusal: str, body: Mapping[str, Any]) -> bool:
        """Whether a refusal names a field that some models have not, which is then left out or called otherwise."""
        known = {"temperature", "response_format"} & body.keys()
        known |= {"max_completion_tokens"} if not self._is_anthropic and "max_tokens" in body else set()
        with self._lock:
            named = {quirk for quirk in known if quirk in refusal}
            self._quirks[model] |= named
        return bool(named)

    def _text_in(self, document: Any) -> tuple[str, bool]:
        if self._is_anthropic:
            text = "".join(part["text"] for part in document["content"] if part["type"] == "text")
            return text, document.get("stop_reason") != "max_tokens"
        choice = document["choices"][0]
        text = (choice["message"].get("content") if "message" in choice else choice["text"]) or ""
        if not isinstance(text, str):
            raise TypeError("its text is none")
        return text, choice.get("finish_reason") != "length"

    def _refusal(
        self, response: httpx.Response | None, read: bytes, path: str, body: Mapping[str, Any]
    ) -> EndpointError:
        said, code = _reason(read)
        status = response.status_code if response is not None else None
        shown = f"HTTP {status}" if status is not None else "the connection broke"
        text = f"{body.get('model')} does not answer at {self.endpoint.url(path)} ({shown}): {said}"
        return EndpointError(text, status, said, code)

    def _misshapen(self, failed: Exception) -> EndpointError:
        return EndpointError(
            f"{self.endpoint.base_url} does not answer in the shape of {self.endpoint.api} ({type(failed).__name__}); "
            f"{self.endpoint.remedy}"
        )

    def _nobody(self, failed: Exception) -> EndpointError:
        why = str(failed) or type(failed).__name__
        return EndpointError(f"nothing answers at {self.endpoint.base_url} ({why}); {self.endpoint.remedy}")


def _calls_in(choice: Mapping[str, Any]) -> str:
    calls = choice.get("message", {}).get("tool_calls") or []
    named = [[call["function"]["name"], call["function"]["arguments"]] for call in calls]
    return json.dumps(named, ensure_ascii=False) if named else ""


def _pause_s(response: httpx.Response | None, turn: int) -> float:
    """As long as it asks for, else twice as long each time. A date, which some send, is no number."""
    try:
        wanted = float(response.headers["retry-after"]) if response is not None else FIRST_WAIT_S * 2**turn
    except (KeyError, ValueError):
        wanted = FIRST_WAIT_S * 2**turn
    return min(max(wanted, 0.0), LONGEST_WAIT_S)


def _reason(body: bytes) -> tuple[str, str | None]:
    """An error's message and code."""
    try:
        error = json.loads(body)["error"]
        text = str(error["message"] if isinstance(error, dict) else error)
        code = error.get("code") if isinstance(error, dict) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        text, code = body.decode(errors="replace").strip(), None
    return text[:MAX_REASON_CHARACTERS] or "it says nothing", code


@contextmanager
def client_of(endpoint: Endpoint) -> Iterator[Client]:
    """One that asks there, until the end of the block."""
    with httpx.Client(headers=endpoint.headers, timeout=TIMEOUT_S, trust_env=not endpoint.is_ours) as http:
        yield Client(endpoint, http)
