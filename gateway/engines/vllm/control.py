"""vLLM's control routes: health, figures, models, adapters, and questions of ours (vLLM 0.31 to 0.33)."""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import orjson

from gateway.engines.faults import (
    AdapterRejected,
    EngineFault,
    LoadingDisabled,
    NotVisible,
    ProbeRefused,
    Silent,
    Unintelligible,
    Unreachable,
)
from gateway.engines.kind import LOAD_TIMEOUT_S, Card, Word
from gateway.engines.look import Look
from gateway.engines.probes import PROBE_TIMEOUT_S, ProbeLog
from gateway.engines.transport import engine_http
from gateway.engines.vllm.abilities import lacks
from gateway.engines.vllm.answered import json_of, message_of
from gateway.engines.vllm.endpoints import missing_endpoints, short_question
from gateway.engines.vllm.look import read_look
from gateway.engines.vllm.paths import path_of
from gateway.engines.vllm.prompt_counting import TRIED, questions
from gateway.engines.vllm.tokens import VllmTokens
from gateway.handoffs import Ability, Endpoint

CONTROL_TIMEOUT_S = 10.0
LOOK_TIMEOUT_S = 2.0


class VllmControl:
    """Everything but inference traffic: health, models, adapters, probes. One httpx client an engine."""

    def __init__(self, base_url: str, api_key: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self.base_url = base_url.rstrip("/")
        self.probes = ProbeLog()
        self.generates = True
        self._missing: frozenset[Endpoint] = frozenset()
        self._http = engine_http(self.base_url, headers, CONTROL_TIMEOUT_S)
        self.tokens = VllmTokens(self._http)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def healthy(self) -> bool:
        """Whether `/health` answers 200. It does not notice a stall."""
        try:
            return (await self._http.get("/health")).status_code == 200
        except httpx.HTTPError:
            return False

    async def look(self) -> Look:
        """Health and the figures of this instant, each within two seconds.

        Raises `Silent` when nothing came in time, `Unreachable` when the engine is gone or says that it is dead.
        """
        await self._get("/health", LOOK_TIMEOUT_S)
        asked_ms = time.time_ns() // 1_000_000
        text = (await self._get("/metrics", LOOK_TIMEOUT_S)).text
        try:
            return read_look(text, asked_ms)
        except KeyError as error:
            raise Unintelligible(f"/metrics has no {error.args[0]}") from error

    async def version(self) -> str:
        """Such as `0.32.0`."""
        return str(json_of(await self._get("/version")).get("version", "unknown"))

    async def missing_endpoints(self) -> frozenset[Endpoint]:
        """Those of its kind that it does not have. Raises `Unreachable`."""
        self._missing = await missing_endpoints(self._http)
        self.generates = "completions" not in self._missing
        return self._missing

    async def models(self) -> dict[str, Card]:
        """Base and adapters by the names the engine knows them by."""
        cards = json_of(await self._get("/v1/models")).get("data")
        if not isinstance(cards, list):
            raise Unintelligible("/v1/models has no list 'data'")
        try:
            return {card["id"]: _card(card) for card in cards}
        except (KeyError, TypeError, AttributeError) as error:
            raise Unintelligible(f"/v1/models has a card that is none: {error!r}") from error

    async def load_adapter(self, name: str, folder: Path, timeout_s: float = LOAD_TIMEOUT_S) -> None:
        """Load a folder under a name that this boot has never seen. Raises each kind of `EngineFault`.

        A call that times out may still have worked; so may one whose connection broke. The model list tells.
        """
        try:
            answer = await self._http.post(
                "/v1/load_lora_adapter", json={"lora_name": name, "lora_path": str(folder)}, timeout=timeout_s
            )
        except httpx.HTTPError as error:
            if await self._holds(name, folder):
                return
            raise Unreachable(f"loading broke off: {str(error) or type(error).__name__}") from error
        if answer.status_code == 200:
            return
        message = message_of(answer)
        if answer.status_code == 404 and message is None:
            raise LoadingDisabled(
                "the engine must be started with VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 and --enable-lora"
            )
        if answer.status_code == 404:
            raise NotVisible(f"the engine cannot see {folder}: {message}")
        if answer.status_code == 400 and await self._holds(name, folder):
            return
        if answer.status_code in (400, 500) and await self.healthy():
            reason = message or f"HTTP {answer.status_code}"
            # The tenant reads this: neither our folders nor the engine's names are in it.
            raise AdapterRejected(reason.replace(str(folder), "the adapter").replace(name, "the adapter"))
        raise Unreachable(f"loading failed with HTTP {answer.status_code}: {message}")

    async def unload_adapter(self, name: str) -> None:
        """Make the engine forget a name; unknown is as good as forgotten. Its weights leave by LRU, later."""
        try:
            answer = await self._http.post("/v1/unload_lora_adapter", json={"lora_name": name})
        except httpx.HTTPError as error:
            raise Unreachable(f"unloading broke off: {str(error) or type(error).__name__}") from error
        if answer.status_code not in (200, 404):
            raise Unreachable(f"unloading failed with HTTP {answer.status_code}: {message_of(answer)}")

    async def next_token_logprob(self, model: str, prefix: Sequence[int], token: int, salt: str) -> float:
        """Log-probability, in nats, that `token` follows `prefix`.

        Asked as a completion that may only be that token: reported log-probabilities are those before such limits.
        `prompt_logprobs` would give a whole prompt at once, and kills vLLM's CPU engine (0.32) when any other request
        with an adapter is in the batch. `salt` keeps probes out of everybody's prefix cache.
        """
        document = await self._complete(
            {
                "model": model,
                "prompt": list(prefix),
                "max_tokens": 1,
                "temperature": 0,
                "logprobs": 0,
                "allowed_token_ids": [token],
                "cache_salt": salt,
            }
        )
        try:
            value = float(document["choices"][0]["logprobs"]["token_logprobs"][0])
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise Unintelligible(f"log-probabilities are not as vLLM gives them: {error!r}") from error
        if not math.isfinite(value):
            raise ProbeRefused(f"the engine computes a log-probability of {value}")
        return value

    async def prompt_tokens(self, chat: Mapping[str, Any]) -> int:
        """How many tokens the engine counts of a chat request that it answers with one. Raises as the other probes."""
        document = await self._complete({**chat, "max_tokens": 1, "temperature": 0}, endpoint="chat")
        try:
            return int(document["usage"]["prompt_tokens"])
        except (KeyError, TypeError, ValueError) as error:
            raise Unintelligible(f"usage is not as vLLM gives it: {error!r}") from error

    async def counts_what_it_serves(self, model: str) -> bool:
        """Whether `/tokenize` counts a conversation with tools as the engine does that answers it, with one token.

        Raises `Unreachable` when it cannot be talked to; that it fails is no reason not to serve.
        """
        asked = questions(TRIED, TRIED.keys())
        assert asked is not None
        counted = served = None
        try:
            with suppress(ProbeRefused):
                counted = await self.tokens.counted(orjson.loads(asked.bodies[0]))
            with suppress(ProbeRefused):
                served = await self.prompt_tokens({"model": model, **TRIED, "cache_salt": secrets.token_hex(8)})
        except Unintelligible:
            return False
        except Unreachable:
            if await self.healthy():
                return False
            raise
        return counted == served  # both are nothing without a chat template: it serves no chat, and counts prompts

    async def greedy(self, model: str, prompt: str, tokens: int, salt: str) -> tuple[Word, ...]:
        """What the model makes of a prompt when it always takes the likeliest token; exactly `tokens` of them."""
        document = await self._complete(
            {
                "model": model,
                "prompt": prompt,
                "max_tokens": tokens,
                "ignore_eos": True,
                "temperature": 0,
                "logprobs": 2,
                "return_tokens_as_token_ids": True,
                "cache_salt": salt,
            }
        )
        try:
            said = document["choices"][0]["logprobs"]
            words = zip(said["tokens"], said["token_logprobs"], said["top_logprobs"], strict=True)
            return tuple(_word(str(text), float(logprob), top) for text, logprob, top in words)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise Unintelligible(f"log-probabilities are not as vLLM gives them: {error!r}") from error

    async def answers_as(self, model: str, salt: str, timeout_s: float = PROBE_TIMEOUT_S) -> bool:
        """Whether one short question is answered, and the answer is signed with that very name."""
        endpoint, question = short_question(self._missing)
        document = await self._complete({"model": model, **question, "cache_salt": salt}, timeout_s, endpoint)
        return document.get("model") == model

    async def lacks(self, model: str) -> frozenset[Ability]:
        """What it cannot do because of how it was started, but for what no question may find out. Raises
        `Unreachable`.
        """
        return await lacks(self._http, model, self._missing)

    async def _complete(
        self, body: Mapping[str, Any], timeout_s: float = PROBE_TIMEOUT_S, endpoint: Endpoint = "completions"
    ) -> dict[str, Any]:
        """Every probe passes here, and is written down whatever becomes of it; a refusal costs the engine nothing."""
        started_at_ms = time.time_ns() // 1_000_000
        usage = None
        try:
            answer = await self._http.post(path_of(endpoint), json=body, timeout=timeout_s)
            if answer.status_code == 400:
                usage = {"prompt_tokens": 0, "completion_tokens": 0}
                raise ProbeRefused(f"the engine cannot run its probes: {message_of(answer)}")
            if answer.status_code != 200:
                raise Unreachable(f"a probe failed with HTTP {answer.status_code}: {message_of(answer)}")
            document = json_of(answer)
            usage = document.get("usage")
        except httpx.HTTPError as error:
            raise Unreachable(f"a probe broke off: {str(error) or type(error).__name__}") from error
        finally:
            self.probes.ended(endpoint, body, usage, started_at_ms)
        return document

    async def _holds(self, name: str, folder: Path) -> bool:
        try:
            card = (await self.models()).get(name)
        except EngineFault:
            return False
        return card is not None and card.root == str(folder)

    async def _get(self, path: str, timeout_s: float = CONTROL_TIMEOUT_S) -> httpx.Response:
        """One whole answer, in time. Raises `Silent`, `Unreachable`."""
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._http.get(path, timeout=timeout_s)
        except (httpx.ReadTimeout, TimeoutError) as error:
            raise Silent(f"GET {path}: no answer within {timeout_s:g} s") from error
        except httpx.HTTPError as error:
            raise Unreachable(f"GET {path}: {str(error) or type(error).__name__}") from error
        if answer.status_code != 200:
            raise Unreachable(f"GET {path}: HTTP {answer.status_code}")
        return answer


def _word(text: str, logprob: float, top: Mapping[str, float]) -> Word:
    others = [value for other, value in top.items() if other != text]
    return Word(text, logprob, logprob - max(others) if others else 0.0)


def _card(card: dict[str, Any]) -> Card:
    most = card.get("max_model_len")
    return Card(card["id"], str(card.get("root")), card.get("parent"), most if type(most) is int else None)
