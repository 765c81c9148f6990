"""The playground of an adapter: two of its versions answer the same prompt, side by side, while they write."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from dashboard.faults import Fault
from dashboard.gateway_api import KeyedApi
from dashboard.web import actor_of, admin_of, form_of, render

PATH = "/adapters/{tenant}/{adapter}/playground"
ORDER = "/playground"
MOST_TOKENS = 1024
USUAL_TOKENS = 256
SIDES = ("a", "b")
WAIT_S = 130.0
"""A little longer than the gateway lets an answer take."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the form says."""

    a: str
    b: str
    system: str
    prompt: str
    max_tokens: int
    temperature: float


@dataclass(frozen=True, slots=True)
class Told:
    """One side's whole answer, for browsers without JavaScript."""

    number: str
    text: str
    note: str
    fault: str = ""


def asked_of(form: Mapping[str, str], numbers: list[str]) -> Asked:
    """The form as it can be asked; what is missing or no number is as it is at first."""
    first, second = (numbers[0], numbers[1] if len(numbers) > 1 else numbers[0]) if numbers else ("", "")
    return Asked(
        a=form.get("a") or second,
        b=form.get("b") or first,
        system=form.get("system", ""),
        prompt=form.get("prompt", ""),
        max_tokens=int(_number(form.get("max_tokens"), USUAL_TOKENS, 1, MOST_TOKENS)),
        temperature=_number(form.get("temperature"), 0.0, 0.0, 2.0),
    )


def _number(text: str | None, usual: float, least: float, most: float) -> float:
    try:
        return min(max(float(text or usual), least), most)
    except ValueError:
        return usual


async def show(request: Request) -> Response:
    """The page; with a prompt in its form, also what both have answered."""
    name, admin = f"{request.path_params['tenant']}/{request.path_params['adapter']}", admin_of(request)
    document = await admin.get(f"/adapters/{quote(name)}", life_s=5)
    numbers = [version["number"] for version in document["versions"] if version["state"] == "ok"]
    form = await form_of(request) if request.method == "POST" else dict(request.query_params)
    asked = asked_of(form, numbers)
    told: list[Told] = []
    if request.method == "POST" and asked.prompt:
        sides = (asked.a, asked.b)
        told = list(await asyncio.gather(*(_whole(admin, name, one, asked, actor_of(request)) for one in sides)))
    return render(
        request,
        "playground.html",
        name=name,
        home=f"/adapters/{quote(name)}",
        numbers=numbers,
        options=[(number, number) for number in numbers],
        asked=asked,
        told=told,
        most_tokens=MOST_TOKENS,
    )


async def stream(request: Request) -> Response:
    """One side's answer, as lines of JSON: `text`, then `done` or `fault`."""
    name, admin, form = (
        f"{request.path_params['tenant']}/{request.path_params['adapter']}",
        admin_of(request),
        await form_of(request),
    )
    asked, number = asked_of(form, []), form.get(form.get("side", "a"), "")

    async def lines() -> AsyncIterator[bytes]:
        async for said in _answer(admin, name, number, asked, actor_of(request)):
            yield json.dumps(said).encode() + b"\n"

    return StreamingResponse(lines(), media_type="application/x-ndjson", headers={"cache-control": "no-store"})


async def _whole(admin: KeyedApi, name: str, number: str, asked: Asked, actor: str) -> Told:
    text, note, fault = "", "", ""
    async for said in _answer(admin, name, number, asked, actor):
        text += said.get("text", "")
        note, fault = said.get("done", note), said.get("fault", fault)
    return Told(number, text, note, fault)


async def _answer(admin: KeyedApi, name: str, number: str, asked: Asked, actor: str) -> AsyncIterator[dict[str, str]]:
    turns = [("system", asked.system), ("user", asked.prompt)]
    order = {
        "version": f"{name}@{number}",
        "messages": [{"role": role, "content": text} for role, text in turns if text],
        "max_tokens": asked.max_tokens,
        "temperature": asked.temperature,
        "actor": actor,
    }
    began_s, first_s, tokens = time.perf_counter(), None, None
    try:
        async with admin.api.stream("POST", admin.key, ORDER, json=order, timeout=WAIT_S) as answer:
            async for line in answer.aiter_lines():
                event = _event(line)
                if "error" in event:
                    yield {"fault": str(event["error"].get("message"))}
                    return
                tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
                text = "".join(choice["delta"].get("content") or "" for choice in event.get("choices", ()))
                if text:
                    first_s = time.perf_counter() - began_s if first_s is None else first_s
                    yield {"text": text}
    except Fault as fault:
        yield {"fault": f"{fault} {fault.remedy}".strip()}
        return
    took_s = time.perf_counter() - began_s
    first = "" if first_s is None else f", first after {first_s * 1000:.0f} ms"
    yield {"done": f"{'–' if tokens is None else tokens} tokens in {took_s:.2f} s{first}"}


def _event(line: str) -> dict[str, Any]:
    data = line.removeprefix("data: ")
    if not line.startswith("data: ") or data == "[DONE]":
        return {}
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


ROUTES = [Route(PATH, show, methods=["GET", "POST"]), Route(f"{PATH}/stream", stream, methods=["POST"])]
