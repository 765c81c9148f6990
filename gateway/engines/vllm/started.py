"""How a vLLM (0.31 to 0.33) was started, as far as it shows: asked by a person's command, at the cost of one token."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import httpx

from gateway.engines.faults import EngineFault, Unintelligible, Unreachable
from gateway.engines.transport import engine_http
from gateway.engines.vllm.abilities import lacks
from gateway.engines.vllm.endpoints import missing_endpoints, short_question
from gateway.engines.vllm.paths import path_of
from gateway.handoffs import Ability

TIMEOUT_S = 30.0
ASKED_AS = "switchyard-doctor"
MAX_LORAS = re.compile(r'^vllm:lora_requests_info\{[^}]*max_lora="(\d+)"', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Started:
    """What its answers tell of its flags."""

    generates: bool
    max_model_len: int | None
    max_loras: int | None
    """Its --max-loras; `None`: it has no adapters at all."""
    lacks: frozenset[Ability]
    counts_cached: bool
    """Whether its usage says how many tokens of a prompt were cached; an engine that pools has no place for it."""
    echoes_ids: bool
    shows_fingerprint: bool
    """Whether its answers name the operator's set-up."""


async def started(url: str, api_key: str | None) -> Started:
    """Raises `EngineFault` when it gives no answers that can be understood."""
    headers = {"X-Request-Id": ASKED_AS, **({"Authorization": f"Bearer {api_key}"} if api_key else {})}
    try:
        async with engine_http(url, headers, TIMEOUT_S) as http:
            return await _started(http)
    except httpx.HTTPError as error:
        raise Unreachable(str(error) or type(error).__name__) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unintelligible(f"it answers otherwise than vLLM does: {error!r}") from error


async def _started(http: httpx.AsyncClient) -> Started:
    missing = await missing_endpoints(http)
    cards = (await _good(http.get("/v1/models"))).json()["data"]
    base: dict[str, Any] | None = next((card for card in cards if card["parent"] is None), None)
    if base is None:
        raise Unintelligible("it lists no base model")
    endpoint, question = short_question(missing)
    answer = await _good(http.post(path_of(endpoint), json={"model": base["id"], **question}))
    document = answer.json()
    generates = "completions" not in missing
    found = MAX_LORAS.search((await _good(http.get("/metrics"))).text)  # it is there when something has run
    return Started(
        generates=generates,
        max_model_len=base.get("max_model_len"),
        max_loras=int(found[1]) if found else None,
        lacks=await lacks(http, base["id"], missing),
        counts_cached=document["usage"].get("prompt_tokens_details") is not None or not generates,
        echoes_ids=answer.headers.get("x-request-id") == ASKED_AS,
        shows_fingerprint=document.get("system_fingerprint") is not None,
    )


async def _good(asked: Any) -> httpx.Response:
    answer: httpx.Response = await asked
    if answer.status_code != 200:
        raise EngineFault(f"{answer.request.url.path} answers HTTP {answer.status_code}")
    return answer
