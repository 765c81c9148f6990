"""Whether the time that an answer takes tells another tenant's thing from one that nobody has."""

from __future__ import annotations

import time
from collections.abc import Mapping
from statistics import median

import httpx

from tests.bars.support.abuse.installation import ATTACKER, OTHER, WARM, Installation
from tests.support.two_tenants import nobodys
from tests.support.waiting import wait_until


def times_by_kind(all_: Installation, times: int) -> dict[str, float]:
    """Kind of thing → the median time for another tenant's by that for one that nobody has, asked for in turns."""
    stranger = all_.house.key(ATTACKER, "inference", "training")
    with httpx.Client(base_url=all_.gateway.url, timeout=30, trust_env=False) as http:
        paths = _things(all_, http)
        http.headers["Authorization"] = f"Bearer {stranger}"
        wait_until("the stranger's key to be known", lambda: http.get("/v1/account").status_code == 200)
        return {kind: round(_ratio(http, path, name, times), 3) for kind, (path, name) in paths.items()}


def _things(all_: Installation, http: httpx.Client) -> Mapping[str, tuple[str, str]]:
    """Kind → the address of one of the other tenant's, with `{}` for its name, and the name."""
    registry = all_.house.registry
    owner = {"Authorization": f"Bearer {all_.house.keys[OTHER]}"}

    def made(path: str, **body: object) -> str:
        return str(http.post(path, json=body, headers=owner).raise_for_status().json()["id"])

    file = registry.files.create(OTHER, "rows.jsonl", "fine-tune", [b"{}"]).id
    endpoint, _ = registry.webhooks.create(OTHER, "hook", "https://example.com/hook")
    upload = made("/v1/uploads", filename="f", purpose="fine-tune", bytes=3, mime_type="text/jsonl")
    return {
        "model": ("/v1/models/{}", WARM),
        "response": ("/v1/responses/{}", made("/v1/responses", model=WARM, input="x", max_output_tokens=1)),
        "conversation": ("/v1/conversations/{}", made("/v1/conversations")),
        "file": ("/v1/files/{}", file),
        "content of a file": ("/v1/files/{}/content", file),
        "upload": ("/v1/uploads/{}/cancel", upload),
        "endpoint": ("/v1/webhook_endpoints/{}", endpoint.id),
    }


def _ratio(http: httpx.Client, path: str, name: str, times: int) -> float:
    method = "POST" if path.endswith("cancel") else "GET"
    took_s: dict[str, list[float]] = {name: [], nobodys(name): []}
    for number in range(2 * times):
        asked = list(took_s)[number % 2]
        began_s = time.perf_counter()
        answer = http.request(method, path.format(asked))
        took_s[asked].append(time.perf_counter() - began_s)
        assert answer.status_code == 404, f"{path}: {answer.status_code} {answer.text}"
    theirs, none = took_s.values()
    return median(theirs) / median(none)
