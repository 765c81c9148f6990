"""What a request can use at most is no less than what a chat template can make of it."""

from __future__ import annotations

import json
import random
import unicodedata
from typing import Any

import pytest

from gateway.added_bytes import added_bytes, printed_bytes
from gateway.api.dialects import DIALECTS
from gateway.steps.hold import TEMPLATE_TOKENS
from registry.bases.fingerprint import Fingerprint, write_fingerprint
from registry.bases.normalization import CHARACTERS, growth
from registry.bases.renderings import CONVERSATIONS, Rendering
from registry.bases.token_bound import TokenBound
from tests.gateway.test_chat_template import PROBE
from tests.support.stack import BASE, House, run_stack

DEEP: Any = [1] * 50
for _ in range(40):
    DEEP = {"d": DEEP}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "default": DEEP}}}
WIDE = {"type": "function", "function": {"name": "ä", "parameters": {"enum": ["ü", 1.5, None, True, {}, []] * 200}}}


def printed(value: Any) -> int:
    """As Llama's template does it."""
    return len(json.dumps(value, indent=4, ensure_ascii=False).encode())


@pytest.mark.parametrize("tools", [[TOOL], [WIDE], [TOOL, WIDE] * 3])
def test_tools_count_as_templates_print_them(tools: list[Any]) -> None:
    assert printed_bytes({"messages": [], "tools": tools}) >= printed(tools)


def test_arguments_of_earlier_calls_count_as_templates_print_them() -> None:
    calls = [
        {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
        for arguments in (json.dumps(DEEP, separators=(",", ":")), "{no json")
    ]
    messages: list[Any] = [{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": calls}]
    assert printed_bytes({"messages": messages}) >= printed([DEEP, *calls])


def test_a_request_without_json_in_it_counts_no_more_than_its_bytes() -> None:
    assert printed_bytes({"messages": [{"role": "user", "content": "x"}]}) == 0
    assert printed_bytes({"prompt": "x"}) == 0


def test_no_normalisation_makes_a_text_longer_than_it_counts() -> None:
    shifting = [char for char in map(chr, CHARACTERS) if unicodedata.decomposition(char)]
    marks = [char for char in map(chr, CHARACTERS) if unicodedata.combining(char)]
    draw = random.Random(1)
    texts = [*shifting, "\U0001d160" * 9, "ᾂ\u0323" * 9, "ﷺ" * 9]
    texts += ["".join(draw.choice(draw.choice((shifting, marks))) for _ in range(draw.randrange(2, 7))) for _ in texts]
    for text in texts:
        most = len(text.encode()) + growth([text])
        assert max(len(unicodedata.normalize(form, text).encode()) for form in ("NFC", "NFKC")) <= most, ascii(text)
    assert growth(["plain", "Straße, été", "東京都の天気", "안녕하세요", "🙂"]) == 0


@pytest.mark.parametrize("field", ["prompt", "input", "query", "queries", "documents", "a field of a dialect to come"])
def test_what_normalisation_adds_counts_in_whatever_field_a_text_stands(field: str) -> None:
    added = growth(["ﷺ"])
    assert added > 0
    assert added_bytes({field: "ﷺ"}, TokenBound()) == added
    assert added_bytes({field: ["ﷺ", "plain", "ﷺ"], "n": 2, "token_ids": [1, 2]}, TokenBound()) == 2 * added
    assert added_bytes({field: [{"deep": {"deeper": "ﷺ"}}]}, TokenBound()) == added
    assert added_bytes({field: "ﷺ"}, TokenBound(composes=False)) == 0


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content", "refusal", "name"])
def test_what_normalisation_adds_counts_in_whatever_a_message_says(field: str) -> None:
    said = {"messages": [{"role": "assistant", "content": "", field: "\u0fb9" * 2_500}]}
    assert added_bytes(said, TokenBound()) == 7_500
    tool = {"type": "function", "function": {"name": "f", "description": "ﷺ" * 100}}
    bare = added_bytes({"messages": [], "tools": [tool]}, TokenBound(composes=False))
    assert added_bytes({"messages": [], "tools": [tool]}, TokenBound()) == bare + growth(["ﷺ" * 100])


def test_what_a_template_says_of_tools_and_documents_counts_as_all_that_it_says() -> None:
    bound = TokenBound(template_bytes=900)
    assert added_bytes({"messages": [], "documents": []}, bound) == 900
    assert added_bytes({"messages": []}, bound) == 0


def test_a_query_that_is_read_with_each_document_grows_each_time() -> None:
    bodies = {"score": {"queries": "ﷺ", "documents": ["a"] * 11}, "rerank": {"query": "ﷺ", "documents": ["a"] * 11}}
    for name, body in bodies.items():
        assert DIALECTS[name].added_tokens(body) >= 10 * len(unicodedata.normalize("NFKC", "ﷺ").encode())


def test_what_a_template_says_by_itself_and_what_normalisation_adds_fit_into_a_budget_too(house: House) -> None:
    wordy = Rendering(CONVERSATIONS[0], (1,) * 3 * TEMPLATE_TOKENS)
    write_fingerprint(Fingerprint((PROBE,), (wordy,)), house.base_folder)
    house.registry.bases.register(BASE, house.base_folder)
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    house.registry.limits.set("tenant:acme", {"daily_tokens": 3 * TEMPLATE_TOKENS + 40})
    house.tenant("other")
    house.publish("other/triage")
    house.point("other/triage", "1.0")
    house.registry.limits.set("tenant:other", {"daily_tokens": 3 * TEMPLATE_TOKENS + 1_000})
    growing = [{"role": "user", "content": "\U0001d160" * 150}]
    with run_stack(house, engines=({"max_model_len": 8_192},), engine_chat_template="warn") as stack:
        stack.faults(fail_tokenize=500)  # bytes count
        assert stack.chat("triage").json()["error"]["code"] == "insufficient_quota"
        assert stack.chat("triage", key="other", messages=growing).json()["error"]["code"] == "insufficient_quota"
        assert stack.chat("triage", key="other").status_code == 200
