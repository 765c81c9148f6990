"""Texts that PostgreSQL takes in no column: every route of operators and tenants refuses them in a sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from gateway.admin_key import admin_key
from gateway.api.admin.shapes import Order
from tests.support.postgres_server import postgres_server
from tests.support.stack import Stack, open_house, run_stack

NUL, HALF = "\0", "\ud800"
READ_BY_HAND = ("after", "purpose", "metric", "request_id", "limit", "order", "metadata[x]")
"""Query parameters that tenants' routes read themselves."""
BODIES: dict[str, dict[str, Any]] = {
    "/v1/feedback": {
        "response_id": "x", "unit": "u", "model": "acme/triage", "metric": "m", "value": "v", "comment": "c",
        "idempotency_key": "k",
    },
    "/v1/fine_tuning/jobs": {
        "model": "tiny", "training_file": "file-x", "validation_file": "file-y", "suffix": "s", "metadata": {"a": "b"},
    },
    "/v1/webhook_endpoints": {"url": "https://example.com/x", "description": "d", "events": ["e"]},
    "/v1/uploads": {"filename": "f", "purpose": "fine-tune", "bytes": 3, "mime_type": "text/jsonl"},
    "/v1/conversations": {"metadata": {"a": "b"}, "items": [{"role": "user", "content": "c"}]},
}  # fmt: skip


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("hostile-text")
    with postgres_server() as postgres, open_house(folder, database_url=postgres.empty_database()) as house:
        house.tenant("acme")
        house.publish("acme/triage")
        house.point("acme/triage", "1.0")
        with run_stack(house) as stack:
            yield stack


def routes(stack: Stack) -> list[APIRoute]:
    return stack.routes()


def ask(stack: Stack, method: str, path: str, **options: Any) -> httpx.Response:
    """By whose address it is."""
    key = admin_key(stack.house.settings) if path.startswith("/admin") else stack.house.keys["acme"]
    return stack.http.request(method, f"{stack.url}{path}", headers={"Authorization": f"Bearer {key}"}, **options)


def refused(answer: httpx.Response) -> None:
    """In a sentence, and as the client's fault."""
    asked = f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text[:300]}"
    assert 400 <= answer.status_code < 500 or answer.status_code == 501, asked
    assert answer.json()["error"]["message"], asked


def test_no_address_brings_a_nul_character_to_the_database(stack: Stack) -> None:
    asked = 0
    for route in routes(stack):
        for method in route.methods or ():
            for param in route.dependant.path_params:
                path = re.sub(rf"{{{param.alias}(:path)?}}", "%00", route.path)
                path = "/".join("x" if part.startswith("{") else part for part in path.split("/"))
                refused(ask(stack, method, path))
                asked += 1
            path = "/".join("1" if part.startswith("{") else part for part in route.path.split("/"))
            names = [one.alias for one in route.dependant.query_params]
            if method == "GET" and (path.startswith("/v1/") or names):
                for name in names or READ_BY_HAND:
                    answer = ask(stack, method, f"{path}?{name}=a%00b")
                    refused(answer)
                    assert "NUL character" in answer.text or answer.status_code in (404, 501), answer.text
                    asked += 1
    assert asked > 150


def test_no_order_of_an_operators_has_one(stack: Stack) -> None:
    bodies = [one for route in routes(stack) if route.path.startswith("/admin") for one in route.dependant.body_params]
    assert len(bodies) > 20
    for body in bodies:
        model = body.field_info.annotation
        assert isinstance(model, type)
        assert issubclass(model, Order), f"{model} takes whatever comes"
    for value in (NUL, HALF):
        plan = {"treatments": ["1.1"], "audience": {"metadata": {f"a{value}": ["b"]}}}
        raw = json.dumps({"adapter": "acme/triage", "plan": plan}).encode()
        answer = ask(stack, "POST", "/admin/v1/experiments", content=raw)
        refused(answer)
    order = {"adapter": "acme/triage", "plan": {"audience": {"metadata": {"a\0": 1}}}}
    assert ask(stack, "POST", "/admin/v1/experiments", json=order).json()["error"]["param"] == "plan.audience.metadata"


@pytest.mark.parametrize("value", [NUL, HALF, f"a{NUL}b"], ids=["nul", "half", "within"])
def test_no_body_of_a_tenants_brings_one_to_the_database(stack: Stack, value: str) -> None:
    for path, whole in BODIES.items():
        for name, given in whole.items():
            changed: Any = value
            if isinstance(given, list):
                changed = [value]
            elif isinstance(given, dict):
                changed = {value: value}
            body = {**whole, name: changed}
            if path == "/v1/feedback":  # about one of the two
                del body["unit" if name == "response_id" else "response_id"]
            answer = ask(stack, "POST", path, content=json.dumps(body).encode())
            assert answer.status_code < 500, f"{path} {name}: {answer.text}"
    name = f"a{value}.jsonl".encode("utf-8", "replace").decode()
    named = ask(stack, "POST", "/v1/files", files={"file": (name, b"{}")})
    assert named.status_code < 500, named.text
