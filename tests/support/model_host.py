"""An endpoint of OpenAI's or Anthropic's shape on a real socket: it answers as it is told and keeps what it got."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[int, dict[str, Any]], Any]
"""What the call of that number (from 0) is answered: a text, or (status, headers, document)."""


@dataclass
class ModelHost:
    """What came: paths, headers and bodies, in order."""

    url: str = ""
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def model_host(answer: Answer) -> Iterator[ModelHost]:
    """Runs until the block ends."""
    host, lock = ModelHost(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        """One call."""

        def do_POST(self) -> None:
            """Answer as told."""
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with lock:
                number = len(host.bodies)
                host.paths.append(self.path)
                host.headers.append({name.lower(): value for name, value in self.headers.items()})
                host.bodies.append(body)
                found = answer(number, body)
            status, headers, document = (200, {}, _shaped(self.path, found)) if isinstance(found, str) else found
            content = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            for name, value in {"content-length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    host.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield host
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _shaped(path: str, text: str) -> dict[str, Any]:
    if path == "/v1/messages":
        return {
            "type": "message",
            "content": [{"type": "text", "text": text}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 100, "output_tokens": 50},
        }
    return {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 50},
    }
