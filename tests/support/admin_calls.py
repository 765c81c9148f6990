"""The admin API of a stack, as an operator's tool calls it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from gateway.admin_key import admin_key
from tests.support.stack import House


@dataclass(frozen=True)
class Admin:
    """One gateway's `/admin/v1`, with the key of its installation unless another one is meant."""

    house: House
    url: str
    http: httpx.Client

    def ask(self, method: str, path: str, key: str | None = None, **options: Any) -> httpx.Response:
        """Any answer, with the operator's key unless another is given."""
        headers = {"Authorization": f"Bearer {key or admin_key(self.house.settings)}"}
        return self.http.request(method, f"{self.url}/admin/v1{path}", headers=headers, **options)

    def get(self, path: str, **query: Any) -> Any:
        """A document; anything but 200 fails the test."""
        answer = self.ask("GET", path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, **order: Any) -> Any:
        """What an order did; a refusal fails the test."""
        answer = self.ask("POST", path, json=order)
        assert answer.status_code in (200, 201, 202), answer.text
        return answer.json()

    def refused(self, method: str, path: str, **options: Any) -> tuple[int, dict[str, Any]]:
        """Status and error of an answer that must be a refusal in OpenAI's envelope."""
        answer = self.ask(method, path, **options)
        assert answer.status_code >= 400, answer.text
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return answer.status_code, error
