"""How our own commands call `/admin/v1`: one sentence for whatever goes wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from gateway.admin_key import known_admin_key
from gateway.serving.running import gateway_of
from gateway.settings import GatewaySettings
from registry.errors import InvalidInput, RegistryError

TIMEOUT_S = 15.0
SUCCESSOR_S, ASK_AGAIN_S = 5.0, 0.2
"""How long a question waits for somebody to lead the fleet, and how often it is asked then."""
PAGE_ROWS = 500


class ControllerAway(RegistryError):
    """A gateway answers, and nobody leads its fleet at the moment."""


class AdminClient:
    """One gateway's admin API. Every call raises `RegistryError` with a sentence for people."""

    def __init__(self, http: httpx.Client, url: str) -> None:
        self._http = http
        self._url = url

    def get(self, path: str, **query: Any) -> Any:
        """The document at `/admin/v1` + `path`. While nobody leads the fleet, it waits a little for who does."""
        params = {name: value for name, value in query.items() if value is not None}
        ends = time.monotonic() + SUCCESSOR_S
        while True:
            try:
                return self._ask("GET", path, params=params)
            except ControllerAway:
                if time.monotonic() >= ends:
                    raise
                time.sleep(ASK_AGAIN_S)

    def post(self, path: str, **order: Any) -> Any:
        """What an order at `/admin/v1` + `path` did."""
        return self._ask("POST", path, json=order)

    def delete(self, path: str, **query: Any) -> Any:
        """What taking away what is at `/admin/v1` + `path` did."""
        return self._ask("DELETE", path, params=query)

    def pages(self, path: str, rows: str) -> dict[str, Any]:
        """The first page of a list, with the rows of all others added to the field `rows`."""
        whole = page = self.get(path, limit=PAGE_ROWS)
        while page["next"] is not None:
            page = self.get(path, limit=PAGE_ROWS, after=page["next"])
            whole[rows] += page[rows]
        return {name: value for name, value in whole.items() if name != "next"}

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        try:
            answer = self._http.request(method, f"{self._url}/admin/v1{path}", **options)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise InvalidInput(f"--url is {self._url!r} ({error}); expected http://host:port", param="url") from error
        except httpx.HTTPError as error:
            raise RegistryError(
                f"no gateway answers at {self._url} ({error}); start one with `switchyard gateway` or `switchyard up`, "
                "or say with --url where it is"
            ) from error
        if answer.is_success:
            return answer.json()
        raise self._refusal(answer)

    def _refusal(self, answer: httpx.Response) -> RegistryError:
        try:
            error = answer.json()["error"]
            message, code = str(error["message"]), error["code"]
        except (ValueError, KeyError, TypeError):
            message, code = "", None
        if not message or code == "unknown_url":
            return RegistryError(
                f"what answers at {self._url} is no gateway with an admin API (HTTP {answer.status_code}); "
                "say with --url where the gateway is"
            )
        if code == "role_needed":
            return RegistryError(message)
        if answer.status_code in (401, 403):
            return RegistryError(
                f"the gateway at {self._url} refuses the admin key: {message} Set SWITCHYARD_ADMIN_KEY to its own, or "
                "SWITCHYARD_STATE_DIR to its folder"
            )
        if code == "controller_away":
            return ControllerAway(message)
        return RegistryError(message)


@contextmanager
def admin_client(url: str | None) -> Iterator[AdminClient]:
    """The gateway at `url`, or the one that runs here, or at the address of the settings.

    Raises `InvalidInput` when there is no key to be had.
    """
    settings = GatewaySettings()
    if url is None:
        running = gateway_of(settings)
        url = settings.admin_url if running is None else running.admin_url
    url = url.rstrip("/")
    headers = {"Authorization": f"Bearer {known_admin_key(settings)}"}
    with httpx.Client(headers=headers, timeout=TIMEOUT_S, trust_env=False) as http:  # the key is for no proxy
        yield AdminClient(http, url)
