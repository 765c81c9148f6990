"""An engine that was started with another chat template passes every proof by token ids, and is found all the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from registry.bases.fingerprint import Fingerprint, FingerprintProbe, write_fingerprint
from registry.bases.renderings import CONVERSATIONS, TEMPLATE_ARGUMENTS, Rendering
from tests.support.adapter_folders import VOCAB
from tests.support.admin_calls import Admin
from tests.support.stack import BASE, House, Stack, run_engines, run_gateway

PROBE = FingerprintProbe((3, 5, 7, 11), (2,), (-1.0,))


def rendered(url: str) -> tuple[Rendering, ...]:
    """What an engine makes of the conversations, as the trainer takes it down of the base itself."""
    found = []
    for one in CONVERSATIONS:
        body = {
            "messages": one.messages(),
            "add_generation_prompt": one.generates,
            "chat_template_kwargs": dict(TEMPLATE_ARGUMENTS),
        }
        tokens = httpx.post(f"{url}/tokenize", json=body).raise_for_status().json()["tokens"]
        found.append(Rendering(one, tuple(tokens)))
    return tuple(found)


@contextmanager
def measured(house: House, *templates: str, **settings: Any) -> Iterator[Stack]:
    """The base registered with what a ChatML engine renders, and engines that were started with these templates."""
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    with run_engines(house, {"vocab_size": VOCAB}) as (own,):
        write_fingerprint(Fingerprint((PROBE,), rendered(own.url)), house.base_folder)
    house.registry.bases.register(BASE, house.base_folder)
    options = [{"vocab_size": VOCAB, "chat_template": template} for template in templates]
    with run_engines(house, *options) as mocks, run_gateway(house, mocks, waits=False, **settings) as stack:
        yield stack


def test_an_engine_with_another_chat_template_is_refused_and_the_other_serves(house: House) -> None:
    with measured(house, "chatml", "plain") as stack:
        right, wrong = stack.engines
        stack.wait_state(wrong, "refused")
        stack.wait_state(right, "up")
        assert "its chat template is not the base's" in stack.readiness()["engines"][wrong.url]
        assert "SWITCHYARD_ENGINE_CHAT_TEMPLATE=warn" in stack.readiness()["engines"][wrong.url]
        assert stack.chat("acme/triage").json()["model"] == "acme/triage@1.0"
        shown = {
            one["url"]: one["chat_template"] for one in Admin(house, stack.url, stack.http).get("/engines")["engines"]
        }
        assert shown[right.url] == "same"
        assert shown[wrong.url].startswith("differs: it renders user with")


def test_by_setting_an_engine_with_another_chat_template_serves_and_is_shown(house: House) -> None:
    with measured(house, "plain", engine_chat_template="warn") as stack:
        stack.wait_ready()
        assert stack.chat("acme/triage").status_code == 200
        (shown,) = Admin(house, stack.url, stack.http).get("/engines")["engines"]
        assert (shown["state"], shown["fault"][:25]) == ("up", "its chat template differs")


def test_a_base_that_was_registered_without_renderings_is_shown_as_unverified(house: House) -> None:
    write_fingerprint(Fingerprint((PROBE,)), house.base_folder)
    house.registry.bases.register(BASE, house.base_folder)
    with run_engines(house, {}) as mocks, run_gateway(house, mocks) as stack:
        (shown,) = Admin(house, stack.url, stack.http).get("/engines")["engines"]
        assert shown["chat_template"].startswith("unverified: the base was registered without renderings")
        assert "switchyard base fingerprint" in shown["chat_template"]


def test_a_fingerprint_that_gets_its_renderings_later_is_taken_up(house: House) -> None:
    write_fingerprint(Fingerprint((PROBE,)), house.base_folder)
    house.registry.bases.register(BASE, house.base_folder)
    renderings = (Rendering(CONVERSATIONS[0], (1, 2, 3)), Rendering(CONVERSATIONS[2], (4,)))
    path = write_fingerprint(Fingerprint((PROBE,), renderings), house.base_folder)
    assert house.registry.bases.adopt(house.base_folder).fingerprint == Fingerprint((PROBE,), renderings)
    document = json.loads(path.read_bytes())
    assert Fingerprint.from_json(document).renderings == renderings


@pytest.mark.parametrize("token_ids", [[], [-1], [1] * 2_000, ["x"], None])
def test_renderings_that_are_none_are_no_fingerprint(token_ids: Any) -> None:
    document = Fingerprint((PROBE,)).to_json()
    document["renderings"] = [
        {"messages": [{"role": "user", "content": "x"}], "generates": True, "token_ids": token_ids}
    ]
    with pytest.raises((KeyError, TypeError, ValueError)):
        Fingerprint.from_json(document)
