"""A real Prometheus for a test: Debian's, which scrapes one gateway every second."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from gateway.serving.children import child
from gateway.serving.supervisor import wait_until_up
from loadtest.ports import free_port
from tests.support.waiting import DEADLINE_S

PROMETHEUS = shutil.which("prometheus")
CONFIGURATION = """\
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: switchyard
    static_configs: [{{targets: ["{target}"]}}]
    authorization: {{credentials_file: "{key}"}}
"""


@dataclass(frozen=True)
class Prometheus:
    """One that runs."""

    url: str
    http: httpx.Client

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression has now. Raises for one that is none."""
        answer = self.http.get(f"{self.url}/api/v1/query", params={"query": expression})
        assert answer.status_code == 200, f"{expression}: {answer.text}"
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        """Every rule, with what came of it."""
        groups = self.http.get(f"{self.url}/api/v1/rules").raise_for_status().json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]


@contextmanager
def prometheus(folder: Path, target: str, key: Path, rules: Path) -> Iterator[Prometheus]:
    """It scrapes `target` (host:port) with the key in a file, and evaluates the rules of another."""
    assert PROMETHEUS is not None
    folder.mkdir()
    configuration = folder / "prometheus.yml"
    configuration.write_text(CONFIGURATION.format(rules=rules, target=target, key=key))
    port, log = free_port(), folder / "log"
    url = f"http://127.0.0.1:{port}"
    command = [
        PROMETHEUS,
        f"--config.file={configuration}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with child(command, {}, log) as process, httpx.Client(timeout=DEADLINE_S) as http:
        wait_until_up("prometheus", f"{url}/-/ready", process, log, 60.0)
        yield Prometheus(url, http)
