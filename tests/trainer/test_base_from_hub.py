"""`prepare_base("org/name")` against a small server that speaks the hub's protocol on a real socket."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.terminal import bytes_on_a_terminal

COMMIT = "c0ffee" * 6 + "beef"
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": b"weights",
    "tokenizer.json": b"{}",
    "pytorch_model.bin": b"a pickle",
    "README.md": b"words",
}
CONTROL = r"\x1b\[[0-9;?]*[A-Za-z]"
COUNTED = r"\S \d+:\d\d:\d\d"
"""The time that a stage has taken, which is drawn over as it goes on."""
PROGRAM = """
import pathlib, sys
from trainer.base import prepare_base
print(prepare_base(sys.argv[1], pathlib.Path(sys.argv[2])))
"""


class Hub(BaseHTTPRequestHandler):
    files = FILES

    def do_GET(self) -> None:
        if self.path.startswith(f"/api/models/org/tiny/tree/{COMMIT}"):
            files = [
                {"type": "file", "path": name, "size": len(data), "oid": "0" * 40} for name, data in self.files.items()
            ]
            self.answer(json.dumps(files).encode())
        elif self.path.startswith("/api/models/org/tiny"):
            self.answer(json.dumps({"id": "org/tiny", "sha": COMMIT, "siblings": []}).encode())
        elif self.path.startswith(f"/org/tiny/resolve/{COMMIT}/"):
            data = self.files[self.path.rpartition("/")[2]]
            self.answer(data, {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT})
        else:
            self.send_error(404)

    def do_HEAD(self) -> None:
        self.do_GET()

    def answer(self, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(200)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


class HubOfARealModel(Hub):
    """What it serves is a model that can be loaded."""


@contextmanager
def serving(hub: type[Hub]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def endpoint() -> Iterator[str]:
    with serving(Hub) as url:
        yield url


@pytest.fixture
def endpoint_of_a_real_model(base: Path) -> Iterator[str]:
    HubOfARealModel.files = {path.name: path.read_bytes() for path in base.iterdir() if path.name != "fingerprint.json"}
    with serving(HubOfARealModel) as url:
        yield url


def hub_settings(endpoint: str, out: Path) -> dict[str, str]:
    return {"HF_ENDPOINT": endpoint, "HF_HOME": str(out / "hf"), "HF_HUB_OFFLINE": "0"}


def prepare(endpoint: str, source: str, out: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **hub_settings(endpoint, out)}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, source, str(out / "base")],
        cwd=Path(__file__).parents[2],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_hub_model_is_downloaded_without_pickles_and_pinned(endpoint: str, tmp_path: Path) -> None:
    done = prepare(endpoint, "org/tiny", tmp_path)
    folder = tmp_path / "base" / "org--tiny"
    assert (done.returncode, done.stdout.strip()) == (0, str(folder)), done.stderr
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "provenance.json",
    }
    assert json.loads((folder / "provenance.json").read_text()) == {"hub_id": "org/tiny", "revision": COMMIT}


def test_a_hub_model_that_does_not_exist_is_one_clear_error(endpoint: str, tmp_path: Path) -> None:
    done = prepare(endpoint, "org/none", tmp_path)
    assert done.returncode == 1
    assert "BaseModelError: base model 'org/none' could not be downloaded" in done.stderr
    assert list((tmp_path / "base").iterdir()) == []


def test_an_unreachable_hub_is_one_clear_error(tmp_path: Path) -> None:
    done = prepare("http://127.0.0.1:9", "org/tiny", tmp_path)
    assert "BaseModelError: base model 'org/tiny' could not be downloaded" in done.stderr


@pytest.mark.training
def test_while_a_base_is_prepared_a_terminal_shows_our_own_lines_only(
    endpoint_of_a_real_model: str, tmp_path: Path
) -> None:
    settings = {**hub_settings(endpoint_of_a_real_model, tmp_path), "SWITCHYARD_STATE_DIR": str(tmp_path)}
    shown = bytes_on_a_terminal([sys.executable, "-m", "switchyard", "base", "prepare", "org/tiny"], 120, settings)
    written = [re.sub(CONTROL, "", line).strip() for line in re.split(r"[\r\n]+", shown.decode())]
    *stages, folder = [line for line in written if line and re.fullmatch(COUNTED, line) is None]
    ours = ["downloading org/tiny", "taking the base model's fingerprint"]
    assert [re.sub(r"^ *\d+\.\d s  ", "", line) for line in stages] == ours
    assert folder == str(tmp_path / "base" / "org--tiny")
