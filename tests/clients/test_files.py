"""The snippets of docs/files.md run unmodified, in Python and JavaScript, and leave nothing behind."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.environments import environments
from tests.clients.page import snippets
from tests.live.installation import ROOT
from tests.support.stack import Stack, open_house, run_stack

PATIENCE_S = 120
PAGE = {one.language: one.code for one in snippets(ROOT / "docs" / "files.md")}
ROW = '{"messages": [{"role": "user", "content": "Where is my parcel?"}]}'


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with open_house(tmp_path_factory.mktemp("files")) as house:
        house.tenant("acme")
        with run_stack(house) as stack:
            yield stack


@pytest.mark.parametrize("language", ["python", "js"])
def test_a_snippet_of_the_page_runs_as_it_stands(gateway: Stack, tmp_path: Path, language: str) -> None:
    installed = environments()
    (tmp_path / "training_data.jsonl").write_text(f"{ROW}\n{ROW}\n")
    if language == "js":  # imports are looked for from where the file is
        file = installed.javascript / f"snippet-{uuid.uuid4().hex}.mjs"
        program = ["node", str(file)]
    else:
        file = tmp_path / "snippet.py"
        program = [sys.executable, str(file)]
    file.write_text(PAGE[language])
    environment = {
        "PATH": f"{installed.programs}:/usr/bin:/bin",
        "OPENAI_BASE_URL": f"{gateway.url}/v1",
        "OPENAI_API_KEY": gateway.house.keys["acme"],
    }
    try:
        done = subprocess.run(
            program, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
    finally:
        file.unlink()
    assert done.returncode == 0, done.stderr[-2_000:]
    said = done.stdout.lower().splitlines()
    assert said[:4] == [f"processed {2 * (len(ROW) + 1)}", ROW.lower(), "1 true", "completed training_data.jsonl true"]
    assert said[4:] == (["cancelled"] if language == "js" else [])
    assert gateway.house.registry.files.page("acme", None, 10).files == []
