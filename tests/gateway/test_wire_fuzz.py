"""Requests broken at random, on a real socket: none is the server's fault, and the gateway serves as before."""

from __future__ import annotations

import asyncio
import random

from tests.support.fuzzed_requests import Fuzzer, fire
from tests.support.stack import Stack

SHOTS, AT_ONCE, SEED = 2_000, 16, 17


def test_no_request_that_is_broken_at_random_is_the_servers_fault(stack: Stack) -> None:
    keys = stack.house.keys
    callers = [
        (keys["acme"], ["triage", "acme/triage@1.1", "ft:gpt-4o-mini:acme::7"]),
        (keys["initech"], ["forms", "initech/forms@1.0"]),
    ]
    fuzzer = Fuzzer(random.Random(SEED), callers)
    volley = asyncio.run(fire(stack.url, fuzzer.shots(SHOTS), AT_ONCE))
    assert volley.server_errors == 0, f"seed {SEED}: {volley.faults}"
    assert volley.unanswered == 0, f"seed {SEED}"
    assert volley.statuses[200] > SHOTS // 5
    assert volley.statuses[400] > SHOTS // 4
    assert stack.chat("triage").status_code == 200
    assert stack.gateway.house is not None
    assert not stack.gateway.house.admission.requests.taken
    assert not stack.gateway.house.admission.bodies.taken
