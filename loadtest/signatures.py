"""What each version says to fixed prompts, learnt from an engine that serves nobody else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from loadtest.answers import read_answer
from loadtest.client import Client
from loadtest.records import question
from loadtest.traffic import request_of

Signatures = Mapping[str, Mapping[str, str]]
"""Model name → question (`loadtest.records.question`) → the text of the longest answer."""


async def learn(
    engine_url: str, folders: Mapping[str, Path], base: Mapping[str, str], prompts: Sequence[str], tokens: int
) -> Signatures:
    """Load every folder under a name of its own and ask it alone. `base` maps public names to the engine's own.

    Raises RuntimeError when an answer is no answer, or two models say the same to something: then they could not be
    told apart.
    """
    signatures: dict[str, dict[str, str]] = {}
    async with Client(engine_url) as client:
        for number, (name, folder) in enumerate(folders.items()):
            load = {"lora_name": f"v{number}", "lora_path": str(folder.absolute())}
            reply = await client.post("/v1/load_lora_adapter", json.dumps(load).encode())
            if reply.status != 200:
                raise RuntimeError(f"{name} from {folder}: HTTP {reply.status} {reply.body[:300]!r}")
            signatures[name] = await _ask_all(client, f"v{number}", prompts, tokens)
        for name, own in base.items():
            signatures[name] = await _ask_all(client, own, prompts, tokens)
    for asked in next(iter(signatures.values())):
        if len({said[asked] for said in signatures.values()}) != len(signatures):
            raise RuntimeError(f"two models have the same answer to {asked!r}; make the answers longer")
    return signatures


async def _ask_all(client: Client, model: str, prompts: Sequence[str], tokens: int) -> dict[str, str]:
    said = {}
    for chat in (True, False):
        for number, prompt in enumerate(prompts):
            path, body = request_of(model, prompt, chat=chat, stream=False, tokens=tokens)
            reply = await client.post(path, body)
            answer = read_answer(reply.status, reply.body, stream=False)
            if answer.failure is not None:
                raise RuntimeError(f"{model}: {answer.failure}")
            said[question(chat, number)] = answer.text
    return said
