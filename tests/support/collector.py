"""A real receiver of OTLP over HTTP, in a thread: it decodes what it gets."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.waiting import DEADLINE_S, wait_until


@dataclass
class Collector:
    """What came, newest last. `holds` is set while no request is answered."""

    url: str = ""
    spans: list[Span] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)
    heads: list[dict[str, str]] = field(default_factory=list)
    status: int = 200
    goes_on: threading.Event = field(default_factory=threading.Event)

    def named(self, name: str) -> Span:
        """The first span of that name, when it has come."""
        return wait_until(f"the span {name}", lambda: next((one for one in self.spans if one.name == name), None))


def attributes_of(span: Any) -> dict[str, Any]:
    """Of a span or a resource."""
    return {one.key: _value(one.value) for one in span.attributes}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    return None if kind is None else getattr(value, kind)


@contextmanager
def collector() -> Iterator[Collector]:
    """One that runs."""
    found = Collector()
    found.goes_on.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["content-length"]))
            found.goes_on.wait(DEADLINE_S)
            if found.status == 200:
                assert self.path == "/v1/traces"
                if self.headers.get("content-encoding") == "gzip":
                    data = gzip.decompress(data)
                for group in ExportTraceServiceRequest.FromString(data).resource_spans:
                    found.resources.append(attributes_of(group.resource))
                    found.heads.append({name.lower(): value for name, value in self.headers.items()})
                    found.spans += [span for scope in group.scope_spans for span in scope.spans]
            self.send_response(found.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        found.goes_on.set()
        server.shutdown()
        server.server_close()
        thread.join(DEADLINE_S)
