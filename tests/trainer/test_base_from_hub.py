"""`prepare_base("org/name")` against a small server that speaks the hub's protocol on a real socket."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

COMMIT = "c0ffee" * 6 + "beef"
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": b"weights",
    "tokenizer.json": b"{}",
    "pytorch_model.bin": b"a pickle",
    "README.md": b"words",
}
PROGRAM = """
import pathlib, sys
from trainer.base import prepare_base
print(prepare_base(sys.argv[1], pathlib.Path(sys.argv[2])))
"""


class Hub(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.startswith(f"/api/models/org/tiny/tree/{COMMIT}"):
            files = [{"type": "file", "path": name, "size": len(data), "oid": "0" * 40} for name, data in FILES.items()]
            self.answer(json.dumps(files).encode())
        elif self.path.startswith("/api/models/org/tiny"):
            self.answer(json.dumps({"id": "org/tiny", "sha": COMMIT, "siblings": []}).encode())
        elif self.path.startswith(f"/org/tiny/resolve/{COMMIT}/"):
            data = FILES[self.path.rpartition("/")[2]]
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


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def prepare(endpoint: str, source: str, out: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(out / "hf"), "HF_HUB_OFFLINE": "0"}
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
