"""What a request can use at most is no less than what a chat template can make of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.steps.hold import printed_bytes

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
