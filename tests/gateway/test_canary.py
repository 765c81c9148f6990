"""Neither what clients write nor their keys are in anything that a gateway puts out, whatever goes wrong; and every
error says which request it is about.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.api.dialects import BY_PATH
from tests.bars.support.engines import engine_processes
from tests.bars.support.gateways import gateway_process
from tests.support.stack import open_house
from tests.support.waiting import wait_until

CANARY = "kanarienvogel-4711"
FORGED = f"{CANARY}\n2026-11-29T17:20:01.123Z INFO switchyard.fleet[1]: forged"
NOBODYS_KEY = "sk-canary-of-nobody"
TURNS = [{"role": "user", "content": FORGED}]
BODIES: Mapping[str, Mapping[str, Any]] = {
    "/v1/chat/completions": {"messages": TURNS, "max_tokens": 3},
    "/v1/completions": {"prompt": FORGED, "max_tokens": 3},
    "/v1/responses": {"input": FORGED, "max_output_tokens": 16},
    "/v1/responses/input_tokens": {"input": FORGED},
    "/v1/messages": {"messages": TURNS, "max_tokens": 3},
    "/v1/messages/count_tokens": {"messages": TURNS},
    "/v1/embeddings": {"input": FORGED},
    "/v1/score": {"queries": FORGED, "documents": [FORGED]},
    "/v1/rerank": {"query": FORGED, "documents": [FORGED]},
    "/v1/tokenize": {"prompt": FORGED},
    "/v1/detokenize": {"tokens": [1]},
}
FAULTS: tuple[Mapping[str, Any], ...] = (
    {"fail_next": [500]},
    {"fail_next": [503]},
    {"fail_next": [418]},
    {"error_after_chunks": 1},
    {"die_after_chunks": 1},
    {"garbage": "bytes"},
    {"garbage": "json"},
)
SOUND: Mapping[str, Any] = {"fail_next": [], "error_after_chunks": None, "die_after_chunks": None, "garbage": ""}


def test_the_canary_flies_through_every_dialect() -> None:
    assert BODIES.keys() == BY_PATH.keys()


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_prompt_and_no_key_is_in_the_output_of_a_gateway(tmp_path: Path, form: str) -> None:
    with open_house(tmp_path) as house, engine_processes(tmp_path, 1) as (engine,):
        house.tenant("acme")
        house.publish("acme/triage")
        house.point("acme/triage", "1.0")
        key = house.keys["acme"]
        noisy: dict[str, Any] = {"log_level": "debug", "log_format": form}
        errors: list[httpx.Response] = []
        asked = 0
        with (
            gateway_process(house.settings.state_dir, [engine.url], **noisy) as gateway,
            httpx.Client(base_url=gateway.url, timeout=30) as http,
        ):

            def ask(path: str, body: Mapping[str, Any] | bytes, secret: str = key) -> None:
                nonlocal asked
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                answer = http.post(path, content=content, headers={"Authorization": f"Bearer {secret}"})
                asked += 1
                if answer.is_error:
                    errors.append(answer)

            for path, fields in BODIES.items():
                body = {"model": "triage", **fields}
                ask(path, body)
                ask(path, {**body, "stream": True})
                ask(path, {**body, FORGED: FORGED})
                ask(path, {**body, "model": CANARY})
                ask(path, json.dumps(body).encode()[:-1])
                ask(path, body, NOBODYS_KEY)
                for fault in FAULTS:
                    httpx.post(f"{engine.url}/mock/faults", json={**SOUND, **fault}).raise_for_status()
                    ask(path, {**body, "stream": True})
                    ask(path, body)
                    httpx.post(f"{engine.url}/mock/faults", json=SOUND).raise_for_status()
            wait_until("a line for each", lambda: gateway.log.read_text().count('"request_id":') >= asked)
        output = gateway.log.read_text()
    for secret in (key, NOBODYS_KEY):
        assert secret not in output
    lines = [line for line in output.splitlines() if CANARY in line]
    models = [json.loads(line)["model"] for line in lines]
    assert set(models) == {CANARY}, "it is the model's name where a client has put it there, and nothing else"
    for answer in errors:
        assert answer.headers["x-request-id"] in output, answer.text
    assert {answer.status_code for answer in errors} >= {400, 401, 404}
