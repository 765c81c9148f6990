"""The host of a budget webhook, on a real socket: it keeps what it is sent and answers as it is told, or never."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson


@dataclass
class WebhookHost:
    """What came, and what is answered: a status for each call in turn, then 204; with `hangs`, nothing."""

    url: str = ""
    port: int = 0
    statuses: list[int] = field(default_factory=list)
    hangs: bool = False
    calls: int = 0
    bodies: list[bytes] = field(default_factory=list)
    """Those that were taken."""
    headers: list[dict[str, str]] = field(default_factory=list)
    freed: threading.Event = field(default_factory=threading.Event)

    def documents(self) -> list[dict[str, Any]]:
        """What was taken, as JSON."""
        return [orjson.loads(body) for body in self.bodies]


@contextmanager
def webhook_host(port: int = 0) -> Iterator[WebhookHost]:
    """Runs until the block ends, on a free port unless one is named."""
    host = WebhookHost()

    class Handler(BaseHTTPRequestHandler):
        """One call."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            host.calls += 1
            if host.hangs:
                host.freed.wait()
                return
            status = host.statuses.pop(0) if host.statuses else 204
            if status < 300:
                host.bodies.append(body)
                host.headers.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: Any) -> None:
            """Silence."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    host.port, host.url = server.server_port, f"http://127.0.0.1:{server.server_port}/hook"
    try:
        yield host
    finally:
        host.freed.set()
        server.shutdown()
        server.server_close()
        thread.join()
