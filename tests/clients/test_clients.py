"""Every snippet of docs/clients.md runs unmodified against a gateway, which refuses nothing that it sends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.clients.environments import Environments, environments
from tests.clients.page import Snippet, configurations, snippets
from tests.support.stack import Stack, open_house, run_stack

PATIENCE_S = 120
COMMANDS = Path(__file__).parent / "commands"
"""Programs that this project's engine package has not under the name that everybody knows."""
ENGINE = {"tool_call_parser": "hermes", "max_model_len": 4_096}
POOLING = {"runner": "pooling", "max_model_len": 4_096}
SPOKEN_OF = {"`openai` (Python)", "`openai` (JavaScript)", "Vercel AI SDK", "LangChain", "LlamaIndex", "LiteLLM"}
SPOKEN_OF |= {"`anthropic` (Python)", "Claude Code", "`llm`", "Open WebUI", "Continue", "Embeddings"}
SPOKEN_OF |= {"`vllm bench serve`"}


@pytest.fixture(scope="module")
def installed() -> Environments:
    return environments()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The shared stack's engines call no tools."""
    with open_house(tmp_path_factory.mktemp("clients")) as house:
        house.tenant("acme")
        house.publish("acme/triage")
        house.point("acme/triage", "1.0")
        with run_stack(house, engines=[ENGINE, POOLING]) as stack:
            yield stack


def environment(stack: Stack, installed: Environments, folder: Path) -> dict[str, str]:
    """What the page says is to be set, and nothing of ours that a client could read by chance."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    programs = os.pathsep.join((str(COMMANDS), str(Path(sys.executable).parent), installed.programs))
    return {
        **kept,
        "PATH": f"{programs}{os.pathsep}{kept['PATH']}",
        "OPENAI_BASE_URL": f"{stack.url}/v1",
        "OPENAI_API_KEY": stack.house.keys["acme"],
        "ANTHROPIC_BASE_URL": stack.url,
        "ANTHROPIC_AUTH_TOKEN": stack.house.keys["acme"],
        "TOKENIZER": str(write_tokenizer(folder)),
        "LLM_USER_PATH": str(folder / "llm"),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it asks the internet for prices
        "HF_HUB_OFFLINE": "1",
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16",  # some virtual machines advertise AMX, and kill who uses it
        "VLLM_NO_USAGE_STATS": "1",
    }


def write_tokenizer(folder: Path) -> Path:
    """A folder with a tokenizer of one token a byte."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={text: index for index, text in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 4_096}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def command(snippet: Snippet, installed: Environments, folder: Path) -> tuple[list[str], Path]:
    """What runs a snippet, and a file to be removed after it."""
    if snippet.language == "js":  # imports are looked for from where the file is
        file = installed.javascript / f"snippet-{uuid.uuid4().hex}.mjs"
        program = ["node", str(file)]
    elif snippet.language == "python":
        file = folder / "snippet.py"
        program = [sys.executable if snippet.is_ours else str(installed.python), str(file)]
    else:
        assert snippet.language == "sh", f"{snippet.name} is {snippet.language}, which nothing here runs"
        file = folder / "snippet.sh"
        program = ["bash", "-euo", "pipefail", str(file)]
    file.write_text(snippet.code)
    return program, file


@pytest.mark.timeout(PATIENCE_S + 180)
@pytest.mark.parametrize("snippet", snippets(), ids=lambda snippet: snippet.name)
def test_a_snippet_of_the_page_runs_as_it_stands(
    snippet: Snippet, gateway: Stack, installed: Environments, tmp_path: Path
) -> None:
    before, refused_before = gateway.asked(), refused(gateway)
    program, file = command(snippet, installed, tmp_path)
    try:
        done = subprocess.run(
            program,
            env=environment(gateway, installed, tmp_path),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    finally:
        file.unlink()
    assert done.returncode == 0, f"{done.stdout[-2_000:]}\n{done.stderr[-4_000:]}"
    assert done.stdout.strip()
    assert gateway.asked() > before
    assert refused(gateway) == refused_before


def refused(stack: Stack) -> list[str]:
    """Lines of the gateway's metrics that count refused requests. vLLM's benchmark asks /tokenize, without its key."""
    text = stack.http.get(f"{stack.url}/metrics", headers=stack.operator).raise_for_status().text
    counted = [line for line in text.splitlines() if line.startswith("switchyard_requests_total{")]
    found = [line for line in counted if 'status="4' in line and not line.endswith(" 0.0")]
    return [line for line in found if 'endpoint="tokenize"' not in line]


def test_the_page_speaks_of_every_client() -> None:
    assert {snippet.heading for snippet in snippets()} >= SPOKEN_OF


def test_what_a_client_is_configured_with_is_served(gateway: Stack) -> None:
    (continues,) = configurations()
    for model in yaml.safe_load(continues)["models"]:
        assert model["provider"] == "openai"
        address = model["apiBase"].replace("http://127.0.0.1:8000", gateway.url)
        key = {"Authorization": f"Bearer {gateway.house.keys['acme']}"}
        card = gateway.http.get(f"{address}/models/{model['model']}", headers=key).raise_for_status().json()
        assert {"/v1/chat/completions", "/v1/completions", "/v1/embeddings"} <= {*card["endpoints"]}
