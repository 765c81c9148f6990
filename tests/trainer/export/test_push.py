"""`switchyard adapters export --push` against a small server that speaks the hub's protocol on a real socket."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from trainer.errors import TrainerError
from trainer.export.hub import check_repository

COMMIT = "c0ffee" * 6 + "beef"
PROGRAM = (
    "import pathlib, sys; from trainer.export.hub import push; print(push(pathlib.Path(sys.argv[1]), *sys.argv[2:]))"
)


class Hub(BaseHTTPRequestHandler):
    """Takes small files in one commit, of whoever has the token."""

    asked: list[tuple[str, Any]]
    files: dict[str, bytes]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Authorization") != "Bearer hf_right":
            self.answer(401, {"error": "Invalid user token."})
        elif self.path == "/api/repos/create":
            self.asked.append(("create", json.loads(body)))
            self.answer(200, {"url": f"http://{self.headers['Host']}/acme/support"})
        elif self.path == "/api/models/acme/support/preupload/main":
            files = [
                {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False}
                for one in json.loads(body)["files"]
            ]
            self.answer(200, {"files": files})
        elif self.path.startswith("/api/models/acme/support/commit/main"):
            lines = [json.loads(line) for line in body.splitlines()]
            self.asked.append(("commit", lines[0]["value"]["summary"]))
            self.files.update({one["value"]["path"]: base64.b64decode(one["value"]["content"]) for one in lines[1:]})
            url = f"http://{self.headers['Host']}/acme/support/commit/{COMMIT}"
            self.answer(200, {"success": True, "commitOid": COMMIT, "commitUrl": url, "hookOutput": ""})
        else:
            self.answer(404, {"error": self.path})

    def answer(self, status: int, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def hub() -> Iterator[str]:
    Hub.asked, Hub.files = [], {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def pushed(hub: str, folder: Path, home: Path, token: str) -> subprocess.CompletedProcess[str]:
    settings = {"HF_ENDPOINT": hub, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "HF_TOKEN": token}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), "acme/support", "acme/support@1.0 as peft"],
        cwd=Path(__file__).parents[3],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_every_file_arrives_in_one_commit_of_a_private_repository(hub: str, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    wanted = {"adapter_config.json": b"{}", "adapter_model.safetensors": bytes(1_000), "provenance.json": b'{"a": 1}'}
    for name, data in wanted.items():
        (folder / name).write_bytes(data)
    done = pushed(hub, folder, tmp_path / "home", "hf_right")
    assert done.returncode == 0, done.stderr
    assert f"commit='{COMMIT}'" in done.stdout
    assert Hub.files == wanted
    (_, created), (_, summary) = Hub.asked
    assert (created["name"], created["organization"], created["visibility"]) == ("support", "acme", "private")
    assert summary == "acme/support@1.0 as peft"


def test_a_hub_that_refuses_is_one_clear_error(hub: str, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.json").write_text("{}")
    done = pushed(hub, tmp_path / "out", tmp_path / "home", "hf_wrong")
    assert done.returncode == 1
    assert "could not be pushed to 'acme/support'" in done.stderr
    assert Hub.files == {}


def test_a_name_that_is_no_repository_is_refused_before_anything_is_written() -> None:
    with pytest.raises(TrainerError, match="'support' is no repository of a hub; write org/name"):
        check_repository("support")
