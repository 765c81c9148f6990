"""What vLLM's tokenizer and chat template make of texts and conversations: questions that cost the engine no step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from gateway.engines.faults import ProbeRefused, Unintelligible, Unreachable
from gateway.engines.vllm.answered import json_of, message_of
from gateway.engines.vllm.paths import path_of
from gateway.handoffs import Endpoint
from registry.bases.renderings import TEMPLATE_ARGUMENTS, Conversation


class VllmTokens:
    """Of one engine, over its control's connections. All raise `ProbeRefused` when the engine cannot do it, and other
    kinds of `EngineFault`.
    """

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def rendered(self, model: str, conversation: Conversation) -> tuple[int, ...]:
        """The token ids that the engine's chat template makes of a conversation. It costs the engine no step.

        Raises `ProbeRefused` when the engine cannot render it, and other kinds of `EngineFault`.
        """
        body = {
            "model": model,
            "messages": conversation.messages(),
            "add_generation_prompt": conversation.generates,
            "chat_template_kwargs": dict(TEMPLATE_ARGUMENTS),
        }
        return _token_ids(await self._asked("tokenize", body))

    async def encoded(self, model: str, text: str) -> tuple[int, ...]:
        """The token ids of a text, without any that its tokenizer adds. Raises as `rendered`."""
        return _token_ids(await self._asked("tokenize", {"model": model, "prompt": text, "add_special_tokens": False}))

    async def decoded(self, model: str, token_ids: Sequence[int]) -> str:
        """The text of token ids. Raises as `rendered`."""
        document = await self._asked("detokenize", {"model": model, "tokens": list(token_ids)})
        text = document.get("prompt")
        if not isinstance(text, str):
            raise Unintelligible("/detokenize is not as vLLM answers it: it has no text 'prompt'")
        return text

    async def counted(self, question: Mapping[str, Any]) -> int:
        """How many tokens `/tokenize` makes of a question. Raises as `rendered`."""
        document = await self._asked("tokenize", question)
        try:
            return int(document["count"])
        except (KeyError, TypeError, ValueError) as error:
            raise Unintelligible(f"/tokenize is not as vLLM answers it: {error!r}") from error

    async def _asked(self, endpoint: Endpoint, body: Mapping[str, Any]) -> dict[str, Any]:
        """What costs the engine no step. Raises `ProbeRefused`, `Unreachable`, `Unintelligible`."""
        path = path_of(endpoint)
        try:
            answer = await self._http.post(path, json=body)
        except httpx.HTTPError as error:
            raise Unreachable(f"{path} broke off: {str(error) or type(error).__name__}") from error
        if 400 <= answer.status_code < 500:
            raise ProbeRefused(f"{path} answers HTTP {answer.status_code}: {message_of(answer)}")
        if answer.status_code != 200:
            raise Unreachable(f"{path} failed with HTTP {answer.status_code}: {message_of(answer)}")
        return json_of(answer)


def _token_ids(document: Mapping[str, Any]) -> tuple[int, ...]:
    try:
        return tuple(int(token) for token in document["tokens"])
    except (KeyError, TypeError, ValueError) as error:
        raise Unintelligible(f"/tokenize is not as vLLM answers it: {error!r}") from error
