"""Rows with tools go through the base's own chat template, and a template that leaves them out is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.tiny_base import CHAT_TEMPLATE
from tests.trainer.test_data_forms import ANSWER, ASKED, CALLS, TOLD, TOOL_ROW
from trainer.data.encode import Rules, encode_all
from trainer.data.faults import DataError
from trainer.data.read import read_data
from trainer.methods.loading import load_tokenizer

pytestmark = pytest.mark.training
WITH_TOOLS = (
    "{% if tools %}<|im_start|>system\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% for call in m.tool_calls or [] %}<call>{{ call.function.name }}({{ call.function.arguments['city'] }})</call>"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def encoded(base: Path, row: dict[str, Any], template: str, folder: Path) -> list[tuple[str, str]]:
    tokenizer = load_tokenizer(base)
    tokenizer.chat_template = template
    file = folder / "d.jsonl"
    file.write_text(json.dumps(row) + "\n")
    rows = encode_all(tokenizer, read_data(file, "auto").examples, file="f", rules=Rules(4_096))
    return [(tokenizer.decode(row.prompt_ids), tokenizer.decode(row.completion_ids)) for row in rows]


def test_the_call_and_the_answer_are_labels_and_tools_stand_in_the_prompt(base: Path, tmp_path: Path) -> None:
    (asked, call), (told, answer) = encoded(base, TOOL_ROW, WITH_TOOLS, tmp_path)
    assert call == "<call>weather(Oslo)</call><|im_end|>"
    assert answer == "12 degrees.<|im_end|>"
    assert '{"type": "function", "function": {"name": "weather", "description"' in asked
    assert told.endswith(
        "<call>weather(Oslo)</call><|im_end|>\n<|im_start|>tool\n12<|im_end|>\n<|im_start|>assistant\n"
    )


def test_a_muted_call_is_prompt_and_not_label(base: Path, tmp_path: Path) -> None:
    row = {**TOOL_ROW, "messages": [ASKED, {**CALLS, "weight": 0}, TOLD, ANSWER]}
    assert [answer for _, answer in encoded(base, row, WITH_TOOLS, tmp_path)] == ["12 degrees.<|im_end|>"]


def test_a_template_that_leaves_tools_out_is_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\[tools_not_rendered\].*leaves 'weather' out"):
        encoded(base, TOOL_ROW, CHAT_TEMPLATE, tmp_path)
