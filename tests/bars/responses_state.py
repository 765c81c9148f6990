"""kill -9 of a gateway between turns of stored conversations, and another tenant's attempts on ids of responses.

`lost`: turns whose answer a client had whole, streamed or in one piece, and that the next gateway does not have as they
were, or cannot go on from. `attempts`: GET, DELETE, cancel, input items and `previous_response_id`, half of them with
another tenant's ids and half with ids that nobody has. `ratio`: the median time of the one half by that of the other.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import statistics
import time
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from secrets import token_hex
from typing import Any

import httpx
import orjson

from loadtest.client import BrokenAnswer, Client
from tests.bars.support.engines import engine_processes
from tests.bars.support.gateways import GatewayProcess, gateway_process
from tests.support.stack import House, open_house

KILLS, CONVERSATIONS, ATTEMPTS, TOKENS = 20, 8, 1_000, 16
SEED = 20_261_129
ENGINE = ("--ttft-ms", "2", "--token-ms", "2", "--max-model-len", "65536")
"""Conversations of all lives of the gateway fit into its context."""
PATH = "/v1/responses"
BODIES = 2
"""Different answers: one of what is asked for by its id, and one of what is to be gone on from."""
LEAST_RATIO, MOST_RATIO = 0.8, 1.25
Turn = tuple[str, str]
"""Id, and text of the answer."""


def run(folder: Path, scale: float) -> dict[str, Any]:
    """Kill, start again, look; then the other tenant."""
    draw = random.Random(SEED)
    kills, attempts = max(2, round(KILLS * scale)), max(50, round(ATTEMPTS * scale))
    with open_house(folder) as house, engine_processes(folder, 1, *ENGINE) as (engine,):
        for tenant, name in (("acme", "triage"), ("globex", "sentiment")):
            house.tenant(tenant)
            house.publish(f"{tenant}/{name}")
            house.point(f"{tenant}/{name}", "1.0")
        last: list[Turn | None] = [None] * CONVERSATIONS
        acknowledged: list[Turn] = []
        for _ in range(kills):
            with gateway_process(house.settings.state_dir, [engine.url]) as gateway:
                acknowledged += asyncio.run(_talk_until_killed(house, gateway, last, draw.uniform(0.2, 0.8)))
        with gateway_process(house.settings.state_dir, [engine.url]) as gateway:
            lost = _lost(house, gateway, acknowledged, last)
            tried = _try_ids(house, gateway, [id_ for id_, _ in acknowledged], attempts)
    ratio = tried.pop("ratio")
    figures = {"kills": kills, "acknowledged": len(acknowledged), "lost": lost, **tried, "ratio": ratio}
    return {
        "figures": figures,
        "bars": {
            "0 acknowledged turns lost": lost == 0,
            "some turns were acknowledged": len(acknowledged) >= kills,
            "every attempt of another tenant is told that there is none": tried["refused"] == tried["attempts"],
            "in the words that an id which nobody has gets": tried["bodies"] == BODIES,
        },
        "speed": {f"in {LEAST_RATIO:g} to {MOST_RATIO:g} times its time": LEAST_RATIO <= ratio <= MOST_RATIO},
    }


async def _talk_until_killed(
    house: House, gateway: GatewayProcess, last: list[Turn | None], after_s: float
) -> list[Turn]:
    """Conversations go on from their last turns, every other one as streams; what their clients had whole."""
    acknowledged: list[Turn] = []

    async def talk(client: Client, number: int) -> None:
        while True:
            before = last[number]
            body: dict[str, Any] = {"model": "acme/triage", "input": "And now?", "max_output_tokens": TOKENS}
            body["stream"] = number % 2 == 0
            if before is not None:
                body["previous_response_id"] = before[0]
            reply = await client.post(PATH, orjson.dumps(body))
            document = _document(reply.body, stream=number % 2 == 0) if reply.status == 200 else None
            if document is None:
                continue
            last[number] = turn = document["id"], _text(document)
            acknowledged.append(turn)

    async with Client(gateway.url, house.keys["acme"]) as client:
        talks = [asyncio.create_task(talk(client, number)) for number in range(CONVERSATIONS)]
        await asyncio.sleep(after_s)
        os.kill(gateway.pid, signal.SIGKILL)
        for ended in asyncio.as_completed(talks):
            with suppress(BrokenAnswer, OSError):
                await ended
    return acknowledged


def _document(body: bytes, *, stream: bool) -> Any:
    """Of a whole answer; `None` of a stream that failed."""
    if not stream:
        return orjson.loads(body)
    event = orjson.loads(body.strip().split(b"\n")[-1].removeprefix(b"data: "))
    return event.get("response") if event["type"] in ("response.completed", "response.incomplete") else None


def _text(document: Any) -> str:
    return "".join(part["text"] for item in document["output"] for part in item["content"])


def _lost(house: House, gateway: GatewayProcess, acknowledged: list[Turn], last: list[Turn | None]) -> int:
    """How many of the turns are not there as they were, and how many conversations do not go on."""
    lost = 0
    with _client(house, gateway, "acme") as http:
        for id_, text in acknowledged:
            found = http.get(f"{PATH}/{id_}")
            lost += found.status_code != 200 or _text(found.json()) != text
        for turn in last:
            if turn is not None:
                body = {"model": "acme/triage", "input": "Bye.", "previous_response_id": turn[0]}
                lost += http.post(PATH, json=body).status_code != 200
    return lost


def _try_ids(house: House, gateway: GatewayProcess, foreign: list[str], attempts: int) -> dict[str, Any]:
    """globex asks for acme's ids and for ids that nobody has, in turns."""
    kinds = ("GET", "DELETE", "cancel", "items", "previous")
    answers: set[str] = set()
    times: dict[bool, list[float]] = {True: [], False: []}
    refused = 0
    with _client(house, gateway, "globex") as http:
        for number, id_ in zip(range(attempts), cycle(foreign), strict=False):
            is_foreign, kind = number % 2 == 0, kinds[number // 2 % len(kinds)]
            asked = id_ if is_foreign else f"resp_{token_hex((len(id_) - 5) // 2)}"
            began_s = time.perf_counter()
            answer = _attempt(http, kind, asked)
            times[is_foreign].append(time.perf_counter() - began_s)
            refused += answer.status_code == (400 if kind == "previous" else 404)
            answers.add(answer.text.replace(asked, "ID"))
    ratio = statistics.median(times[True]) / statistics.median(times[False])
    return {"attempts": attempts, "refused": refused, "bodies": len(answers), "ratio": round(ratio, 3)}


def _attempt(http: httpx.Client, kind: str, id_: str) -> httpx.Response:
    if kind == "previous":
        return http.post(PATH, json={"model": "globex/sentiment", "input": "x", "previous_response_id": id_})
    if kind == "cancel":
        return http.post(f"{PATH}/{id_}/cancel")
    if kind == "items":
        return http.get(f"{PATH}/{id_}/input_items")
    return http.request(kind, f"{PATH}/{id_}")


def _client(house: House, gateway: GatewayProcess, tenant: str) -> httpx.Client:
    return httpx.Client(base_url=gateway.url, headers={"Authorization": f"Bearer {house.keys[tenant]}"}, timeout=30)
