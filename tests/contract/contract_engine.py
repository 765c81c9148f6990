"""The engine that the contract's cases run on, and how they talk to it."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from safetensors.numpy import load_file, save_file

from loadtest.folders import write_adapter

PROMPT = "The capital of France is"
MESSAGES = [{"role": "user", "content": "Say hello."}]


@dataclass(frozen=True, slots=True)
class EngineUnderTest:
    """An engine, and where to write adapters for it."""

    http: httpx.AsyncClient
    base: str
    """Served name of the base model."""
    max_lora_rank: int
    max_cpu_loras: int
    max_model_len: int
    base_config: Mapping[str, Any]
    folder: Path
    """Empty, this test's own."""
    joins_chunks: bool = False
    """Whether it says at once what it has made while nobody read, as vLLM does: on a busy machine that happens."""

    def new_name(self) -> str:
        """A name that no test has used: names are never loaded twice."""
        return f"a-{uuid.uuid4().hex[:16]}-1"

    def adapter(self, name: str = "adapter", **options: Any) -> str:
        """The path of a new adapter folder; `options` are write_adapter's."""
        return str(write_adapter(self.folder / name, self.base_config, **options))

    async def load(self, name: str, path: str) -> httpx.Response:
        return await self.http.post("/v1/load_lora_adapter", json={"lora_name": name, "lora_path": path})

    async def unload(self, name: str) -> httpx.Response:
        return await self.http.post("/v1/unload_lora_adapter", json={"lora_name": name})

    async def loaded(self, **options: Any) -> str:
        """The name of a new, loaded adapter."""
        name = self.new_name()
        answer = await self.load(name, self.adapter(name, **options))
        assert answer.status_code == 200, answer.text
        return name

    async def complete(self, **body: Any) -> httpx.Response:
        whole = {"model": self.base, "prompt": PROMPT, "max_tokens": 2, "temperature": 0, **body}
        return await self.http.post("/v1/completions", json=whole)

    async def cards(self) -> dict[str, dict[str, Any]]:
        return {card["id"]: card for card in (await self.http.get("/v1/models")).json()["data"]}

    async def metric(self, name: str) -> float:
        text = (await self.http.get("/metrics")).text
        found = re.search(rf"^{re.escape(name)}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)
        assert found, f"{name} is not in /metrics"
        return float(found[1])


async def events(engine: EngineUnderTest, path: str, body: dict[str, Any]) -> AsyncIterator[str]:
    """The data of each event of a stream; ends at [DONE], which must come."""
    async with engine.http.stream("POST", path, json={"stream": True, "temperature": 0, **body}) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                if line == "data: [DONE]":
                    return
                yield line.removeprefix("data: ")
    raise AssertionError("the stream ended without [DONE]")


async def chunks(engine: EngineUnderTest, path: str, body: dict[str, Any]) -> list[Any]:
    """Of a stream. How many there are, nobody knows of an engine that joins them."""
    return [json.loads(event) async for event in events(engine, path, body)]


def tokens_in(found: list[Any]) -> int:
    """Of all chunks of a stream that was asked for with `return_token_ids`."""
    return sum(len(chunk["choices"][0]["token_ids"] or ()) for chunk in found)


def move_outside(folder: Path, layers: int) -> None:
    """Rewrite an adapter so that what it had for the first layer is for one that a base of `layers` layers lacks."""
    weights = folder / "adapter_model.safetensors"
    tensors = {
        name.replace(".layers.0.", f".layers.{layers}."): tensor
        for name, tensor in load_file(weights).items()
        if ".layers.0." in name
    }
    save_file(tensors, weights, metadata={"format": "pt"})


def error(answer: httpx.Response) -> tuple[int, str, str | None]:
    """Status, type and param of an error, after checking its shape."""
    body = answer.json()["error"]
    assert set(body) == {"message", "type", "param", "code"}
    assert body["code"] == answer.status_code
    return answer.status_code, body["type"], body["param"]
