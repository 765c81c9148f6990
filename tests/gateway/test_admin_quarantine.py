"""A version is taken out of service with a reason that its clients read, and comes back by order."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import httpx
import orjson
import pytest

from tests.support.admin_calls import Admin
from tests.support.stack import CHAT, MESSAGES, House, Stack, proof, run_stack
from tests.support.waiting import DEADLINE_S, wait_until


@pytest.fixture
def stack(house: House) -> Iterator[Stack]:
    """One adapter of acme with an effect proof, in production."""
    house.publish("acme/triage", proof=proof())
    house.point("acme/triage", "1.0")
    with run_stack(house) as stack:
        stack.wait_resident("acme/triage@1.0")
        yield stack


def test_a_quarantined_version_is_a_503_with_the_reason_until_it_is_released_and_proven_anew(
    stack: Stack, admin: Admin
) -> None:
    assert stack.chat("triage").status_code == 200
    done = admin.post("/quarantine", version="acme/triage@1.0", reason="it swears at customers")
    assert done == {"version": "acme/triage@1.0", "quarantined": True, "changed": True, "in_force": True}
    refused = stack.chat("triage")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "model_quarantined")
    assert "it swears at customers" in refused.json()["error"]["message"]
    (listed,) = admin.get("/quarantine")["quarantined"]
    assert listed == {
        "version": "acme/triage@1.0",
        "reason": "it swears at customers",
        "ends_by_itself": False,
        "aliases": ["production"],
    }
    (shown,) = admin.get("/adapters")["adapters"]
    assert (shown["state"], shown["reason"]) == ("quarantined", "it swears at customers")
    wait_until("it to be unloaded", lambda: stack.state()["unloads"] == 1)
    loads = stack.state()["loads"]
    done = admin.post("/quarantine/release", version="acme/triage@1.0")
    assert (done["quarantined"], done["changed"], done["in_force"]) == (False, True, True)
    assert stack.chat("triage").json()["model"] == "acme/triage@1.0"
    assert stack.state()["loads"] == loads + 1
    (row,) = admin.get("/residency")["rows"]
    assert row["engines"][stack.engine.url]["strength"] == pytest.approx(1, abs=0.01)
    assert admin.get("/quarantine") == {"quarantined": []}


def test_a_request_that_began_before_the_quarantine_does_not_bring_the_version_back(stack: Stack, admin: Admin) -> None:
    body = orjson.dumps({"model": "triage", "messages": MESSAGES})
    head = (
        f"POST {CHAT} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {stack.house.keys['acme']}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    url = httpx.URL(stack.url)
    with socket.create_connection((url.host, url.port or 80), timeout=DEADLINE_S) as slow:
        slow.sendall(head.encode() + body[:1])
        wait_until(
            "the request to be under way",
            lambda: (
                "switchyard_in_flight_requests 1.0"
                in stack.http.get(f"{stack.url}/metrics", headers=stack.operator).text
            ),
        )
        admin.post("/quarantine", version="acme/triage@1.0", reason="it swears at customers")
        wait_until("it to be unloaded", lambda: stack.state()["unloads"] == 1)
        loads = stack.state()["loads"]
        slow.sendall(body[1:])
        answer = b"".join(iter(lambda: slow.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"it swears at customers" in answer
    assert stack.state()["loads"] == loads


def test_a_version_that_an_engine_refuted_can_be_released_when_the_engine_is_cured(house: House) -> None:
    house.publish("acme/triage", proof=proof())
    with run_stack(house) as stack:
        admin = Admin(house, stack.url, stack.http)
        stack.faults(noop_adapters=True)
        assert stack.chat("acme/triage@1.0").status_code == 503
        (listed,) = wait_until("the quarantine", lambda: admin.get("/quarantine")["quarantined"])
        assert "effect proof failed" in listed["reason"]
        stack.faults(noop_adapters=False)
        assert admin.post("/quarantine/release", version="acme/triage@1.0")["changed"]
        assert stack.chat("acme/triage@1.0").status_code == 200


def test_orders_that_name_no_version_or_no_reason_are_refused(admin: Admin) -> None:
    status, error = admin.refused("POST", "/quarantine", json={"version": "acme/triage", "reason": "x"})
    assert (status, error["param"]) == (400, "version")
    assert "acme/triage@1.0" in error["message"]
    status, error = admin.refused("POST", "/quarantine", json={"version": "acme/triage@1.0", "reason": ""})
    assert (status, error["param"]) == (400, "reason")
    status, error = admin.refused("POST", "/quarantine/release", json={"version": "acme/triage@2.0"})
    assert (status, error["code"]) == (404, "not_found")
    assert admin.post("/quarantine/release", version="acme/triage@1.0")["changed"] is False
