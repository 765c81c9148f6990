"""Which of vLLM's parsers reads the calls of tools that a base model's chat template teaches it to write.

A template that never mentions `tools` shows them to no model: then there is no right parser, and an engine without one
says so, where a wrong one would hand calls to clients as text. Markers are what the parsers of vLLM 0.32 look for.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MAX_BYTES = 1 << 23
"""Of a file that is read; a tokenizer's settings with added tokens take megabytes."""

PARSERS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    # parser, markers that the template must all have, model types (none: any)
    ("openai", ("<|channel|>",), ("gpt_oss",)),
    ("qwen3_xml", ("<function=", "<parameter="), ()),  # Qwen3-Coder, Qwen3.5
    ("glm47", ("<arg_key>",), ()),  # GLM 4.5 to 4.7
    ("minimax_m2", ("<minimax:tool_call>",), ()),
    ("seed_oss", ("<seed:tool_call>",), ()),
    ("longcat", ("<longcat_tool_call>",), ()),
    ("kimi_k2", ("<|tool_calls_section_begin|>",), ()),
    ("deepseek_v3", ("<｜tool▁calls▁begin｜>", "```json"), ()),  # V3, R1
    ("deepseek_v31", ("<｜tool▁calls▁begin｜>",), ()),
    ("lfm2", ("<|tool_call_start|>",), ()),
    ("functiongemma", ("<start_function_call>",), ()),
    ("olmo3", ("<function_calls>",), ("olmo3",)),
    ("internlm", ("<|action_start|>",), ()),
    ("apertus", ("<|tools_prefix|>",), ()),
    ("phi4_mini_json", ("functools",), ()),
    ("jamba", ("<tool_calls>",), ("jamba",)),
    ("hunyuan_a13b", ("<tool_calls>",), ("hunyuan_v1_moe", "hunyuan_v1_dense")),
    ("granite4", ("<tool_call>",), ("granitemoehybrid",)),
    ("granite", ("<|tool_call|>",), ("granite", "granitemoe")),
    ("mistral", ("[TOOL_CALLS]",), ()),
    ("llama4_pythonic", ("<|python_start|>",), ("llama4",)),
    ("llama3_json", ("<|python_tag|>",), ()),  # Llama 3.1
    ("llama3_json", ("ipython", '"parameters"'), ("llama",)),  # Llama 3.2, which calls without the tag
    ("hermes", ("<tool_call>",), ()),  # Qwen2.5, Qwen3, Hermes, SmolLM3
)
"""The first row that fits counts."""


def tool_parser_of(folder: Path) -> str | None:
    """vLLM's name of the parser for the model in a folder of Hugging Face's layout; None when none is known to fit."""
    template = _template(folder)
    if "tools" not in template:
        return None
    kind = _document(folder / "config.json").get("model_type")
    for parser, markers, kinds in PARSERS:
        if all(marker in template for marker in markers) and (not kinds or kind in kinds):
            return parser
    return None


def tool_flags(parser: str | None) -> tuple[str, ...]:
    """The flags of an engine that reads calls of tools with that parser."""
    return () if parser is None else ("--enable-auto-tool-choice", "--tool-call-parser", parser)


def _template(folder: Path) -> str:
    """The chat template that is used with tools; empty when there is none that can be read."""
    text = _text(folder / "chat_template.jinja")
    if text:
        return text
    given = _document(folder / "tokenizer_config.json").get("chat_template")
    if isinstance(given, list):
        by_name = {one.get("name"): one.get("template") for one in given if isinstance(one, dict)}
        given = by_name.get("tool_use") or by_name.get("default")
    return given if isinstance(given, str) else ""


def _document(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(_text(file) or "{}")
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return stream.read(MAX_BYTES).decode(errors="replace")
    except OSError:
        return ""
