"""Good bodies, broken at random: whatever arrives is either accepted whole or refused in OpenAI's envelope."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from gateway.api.dialects import DIALECTS
from gateway.api.fields.caps import Caps
from gateway.errors import ApiError
from gateway.handoffs import Endpoint
from tests.support.fuzzed_bodies import RICH, mutated


def test_the_unmutated_bodies_are_good() -> None:
    choices = {"chat": 2, "completions": 4, "responses": 1, "input_tokens": 1, "messages": 1, "count_tokens": 1}
    for endpoint, body in RICH.items():
        request = DIALECTS[endpoint].parse(orjson.dumps(body), caps=Caps(), allow_unknown=False)
        assert request.choices == choices[endpoint]


def _chat_accepts(body: Mapping[str, Any]) -> bool:
    asked = {name: value for name, value in body.items() if name != "stream_interval"}
    return bool(DIALECTS["chat"].parse(orjson.dumps({**asked, "model": "m"}), caps=Caps(), allow_unknown=False))


@pytest.mark.parametrize("endpoint", RICH)
@pytest.mark.parametrize("allow_unknown", [False, True])
def test_no_mutation_of_a_good_body_raises_anything_but_an_api_error(endpoint: Endpoint, allow_unknown: bool) -> None:
    chance = random.Random(20_260_727)
    accepted = 0
    messages: set[str] = set()
    for _ in range(3_000):
        raw = orjson.dumps(mutated(RICH[endpoint], chance))
        try:
            request = DIALECTS[endpoint].parse(raw, caps=Caps(), allow_unknown=allow_unknown)
        except ApiError as error:
            messages.add(error.message)
            continue
        accepted += 1
        assert not request.body.keys() & {"priority", "model", "metadata"}
        assert orjson.dumps(request.body)
        assert orjson.loads(b"{%b}" % request.echo) is not None
        if endpoint == "messages":
            assert _chat_accepts(request.body), "what is translated is as good as what is sent"
    assert len(messages) > 60
    assert 300 < accepted < 2_700


def test_bytes_flipped_at_random_raise_nothing_but_api_errors() -> None:
    chance = random.Random(7)
    good = orjson.dumps(RICH["chat"])
    refused = 0
    for _ in range(2_000):
        raw = bytearray(good)
        for _ in range(chance.randint(1, 3)):
            raw[chance.randrange(len(raw))] = chance.randrange(256)
        try:
            DIALECTS["chat"].parse(bytes(raw), caps=Caps(), allow_unknown=False)
        except ApiError:
            refused += 1
    assert refused > 1_000
