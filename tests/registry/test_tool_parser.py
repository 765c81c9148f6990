"""The parser for calls of tools follows the chat template, and is one that vLLM has."""

from __future__ import annotations

import json
import os
import re
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from gateway.engines.vllm.launch import EmbeddedEngine
from registry.bases.names import Naming, judge
from registry.bases.tool_parser import PARSERS, tool_flags, tool_parser_of
from tests.support.cli_runner import Run, run
from tests.support.waiting import DEADLINE_S

__all__ = ["run"]
CHATML = "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>{% endfor %}"
TOOLS = "{% if tools %}{{ tools | tojson }}{% endif %}"


def model(folder: Path, template: str | None, kind: str = "llama", *, in_settings: bool = False) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": kind}))
    if template is not None and in_settings:
        (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    elif template is not None:
        (folder / "chat_template.jinja").write_text(template)
    return folder


@pytest.mark.parametrize(
    ("kind", "markers", "parser"),
    [
        ("qwen2", '<tools></tools> <tool_call>{"name": …}</tool_call>', "hermes"),
        ("qwen3_moe", "<tool_call><function=name><parameter=x>", "qwen3_xml"),
        ("glm4_moe", "<tool_call>name<arg_key>x</arg_key>", "glm47"),
        ("llama", 'Environment: ipython {"name": …, "parameters": …} <|python_tag|>', "llama3_json"),
        ("llama", 'Environment: ipython {"name": …, "parameters": …}', "llama3_json"),
        ("mistral", "[AVAILABLE_TOOLS][TOOL_CALLS]", "mistral"),
        ("deepseek_v3", "<｜tool▁calls▁begin｜>function\n```json", "deepseek_v3"),
        ("deepseek_v3", "<｜tool▁calls▁begin｜>name<｜tool▁sep｜>", "deepseek_v31"),
        ("granitemoehybrid", "<tool_call>", "granite4"),
        ("gpt_oss", "<|channel|>commentary to=functions.", "openai"),
        ("new_kind", "<call_of_a_new_kind>", None),
    ],
)
def test_the_parser_is_that_of_the_templates_markers(tmp_path: Path, kind: str, markers: str, parser: str) -> None:
    for in_settings in (False, True):
        folder = model(tmp_path / str(in_settings), TOOLS + markers, kind, in_settings=in_settings)
        assert tool_parser_of(folder) == parser


@pytest.mark.parametrize("template", [CHATML, CHATML + "<tool_call>", "", None, "[TOOL_CALLS]"])
def test_a_template_that_shows_no_tools_has_no_parser(tmp_path: Path, template: str | None) -> None:
    assert tool_parser_of(model(tmp_path / "m", template)) is None


def test_of_several_templates_the_one_for_tools_counts(tmp_path: Path) -> None:
    several = [{"name": "default", "template": CHATML}, {"name": "tool_use", "template": TOOLS + "<tool_call>"}, 3]
    folder = model(tmp_path / "m", None)
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": several}))
    assert tool_parser_of(folder) == "hermes"


@pytest.mark.parametrize("text", ["", "[1]", "{", "[" * 100_000, '{"chat_template": {"a": 1}}', "\x00\xff"])
def test_files_that_are_none_have_no_parser(tmp_path: Path, text: str) -> None:
    folder = model(tmp_path / "m", None)
    (folder / "tokenizer_config.json").write_text(text)
    (folder / "config.json").write_text(text)
    assert tool_parser_of(folder) is None
    assert tool_parser_of(tmp_path / "nothing") is None


def test_every_parser_is_one_that_the_installed_vllm_has() -> None:
    vllm = find_spec("vllm")
    if vllm is None or vllm.origin is None:
        pytest.skip("vLLM is not installed")
    text = (Path(vllm.origin).parent / "tool_parsers" / "__init__.py").read_text()
    known = set(re.findall(r'^    "([\w-]+)": \(', text, re.MULTILINE))
    assert {parser for parser, _, _ in PARSERS} <= known


def test_the_embedded_engine_starts_with_the_parser_and_without_one_where_none_fits(tmp_path: Path) -> None:
    engine = EmbeddedEngine(tmp_path, 1, "cpu", ("q_proj",), tool_parser="hermes")
    command = " ".join(engine.command())
    assert "--enable-auto-tool-choice --tool-call-parser hermes" in command
    assert "tool" not in " ".join(EmbeddedEngine(Path("/m"), 1, "cpu", ("q_proj",)).command())
    assert tool_flags(None) == ()


@pytest.mark.parametrize("parser", [None, "hermes"])
def test_the_compose_file_starts_its_engine_with_the_flags_that_were_found(tmp_path: Path, parser: str | None) -> None:
    """The very command, with a vLLM that says what it was given."""
    services = yaml.safe_load((Path(__file__).parents[2] / "deploy" / "compose.yaml").read_text())["services"]
    assert 'switchyard base tool-parser --flags "$$folder" > /state/base/tool-flags' in services["base"]["command"][0]
    vllm = tmp_path / "vllm"
    vllm.write_text('#!/bin/sh\necho "$@"\n')
    vllm.chmod(0o755)
    (tmp_path / "tool-flags").write_text(" ".join(tool_flags(parser)) + "\n")
    command = [*services["engine"]["entrypoint"], *services["engine"]["command"]]
    command = [
        part.replace("$$", "$").replace("/state/base/tool-flags", str(tmp_path / "tool-flags")) for part in command
    ]
    path = f"{tmp_path}:{os.environ['PATH']}"
    said = subprocess.run(
        command, env={"PATH": path}, capture_output=True, text=True, check=True, timeout=DEADLINE_S
    ).stdout
    assert said.startswith("serve /state/base/served --served-model-name base ")
    assert tuple(said.partition(" --fingerprint-mode none")[2].split()) == tool_flags(parser)


@pytest.mark.parametrize("kind", ["GPU", "CPU"])
@pytest.mark.parametrize("parser", [None, "hermes"])
def test_the_documented_engines_start_with_the_parser_and_the_gateway_knows_what_they_can(
    tmp_path: Path, kind: str, parser: str | None
) -> None:
    """The very blocks of the page, with programs that say what they were given."""
    page = (Path(__file__).parents[2] / "docs" / "own-engines.md").read_text()
    first, *engines = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    assert "switchyard base tool-parser /models/base --flags > /models/tool-flags" in first
    block = engines[("GPU", "CPU").index(kind)]
    for name in ("vllm", "python", "switchyard"):
        (tmp_path / name).write_text('#!/bin/sh\necho "${0##*/}" "$@" "logprobs=$SWITCHYARD_ENGINE_PROMPT_LOGPROBS"\n')
        (tmp_path / name).chmod(0o755)
    (tmp_path / "tool-flags").write_text(" ".join(tool_flags(parser)) + "\n")
    script = block.replace("/models/tool-flags", str(tmp_path / "tool-flags"))
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    ran = subprocess.run(["sh", "-ec", script], env=env, capture_output=True, text=True, check=True, timeout=DEADLINE_S)
    engine, register, gateway = ran.stdout.splitlines()
    assert " ".join(("", *tool_flags(parser), "logprobs=")) in engine
    assert ("tool" in engine) is (parser is not None)
    survives = kind == "CPU" and "lm_head" not in engine
    assert gateway == f"switchyard gateway logprobs={'true' if survives else ''}"
    name = register.split()[3]
    sample = Path(__file__).parents[2] / "examples" / "triage" / "adapter" / "adapter_config.json"
    assert judge(json.loads(sample.read_text())["base_model_name_or_path"], [name]) is Naming.SAME


def test_the_command_names_parser_and_flags(run: Run, tmp_path: Path) -> None:
    folder, none = model(tmp_path / "m", TOOLS + "<tool_call>"), model(tmp_path / "n", CHATML)
    assert run("base", "tool-parser", folder).out == "hermes\n"
    assert run("base", "tool-parser", "--flags", folder).out == "--enable-auto-tool-choice --tool-call-parser hermes\n"
    assert run("base", "tool-parser", "--json", folder).document["tool_parser"] == "hermes"
    assert run("base", "tool-parser", "--flags", none).out == ""
    assert run("base", "tool-parser", none).out.startswith("none: the chat template does not show tools")
