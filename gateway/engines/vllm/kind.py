"""vLLM (0.31 to 0.33) as a kind of engine: what there is of it in this folder, in one place."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from gateway.engines.connection import EngineClient
from gateway.engines.engine import Platform
from gateway.engines.kind import Asked, EngineControl, Questions, Quirks
from gateway.engines.vllm.answers import events_without_extras, without_extras
from gateway.engines.vllm.control import VllmControl
from gateway.engines.vllm.paths import INFERENCE_PATHS
from gateway.engines.vllm.prompt_counting import count, questions
from gateway.engines.vllm.quirks import quirks_of
from gateway.engines.vllm.refusals import translate, translate_event


class Vllm:
    """As `EngineKind` says."""

    paths = INFERENCE_PATHS
    takes_adapters = True

    def control(self, url: str, api_key: str | None) -> EngineControl:
        """Over HTTP."""
        return VllmControl(url, api_key)

    def quirks(self, version: str, platform: Platform) -> Quirks:
        """By the table of its defects."""
        return quirks_of(version, platform)

    def names_model(self, name: str) -> bytes:
        """It writes compact JSON and escapes quotes inside strings: with bare quotes it can only be the field."""
        return b'"model":"%b"' % name.encode()

    def document(self, data: bytes) -> bytes:
        """Cut out as bytes."""
        return without_extras(data)

    def events(self, block: bytes) -> bytes:
        """Cut out as bytes."""
        return events_without_extras(block)

    def refusal(self, status: int, body: bytes, asked: Asked) -> Exception:
        """By status and words."""
        return translate(status, body, asked)

    def failure(self, event: bytes, asked: Asked, *, begun: bool) -> Exception:
        """By its words, or as a refusal."""
        return translate_event(event, asked, begun=begun)

    def questions(self, body: Mapping[str, Any], understood: Set[str]) -> Questions | None:
        """For `/tokenize`."""
        return questions(body, understood)

    async def count(self, client: EngineClient, body: bytes, timeout_s: float) -> int | None:
        """What `/tokenize` says."""
        return await count(client, body, timeout_s)
