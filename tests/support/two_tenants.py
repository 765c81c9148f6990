"""Two tenants that have one of everything, and ids and names that nobody has but look like theirs."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass

from registry.training.jobs import JobOrder
from tests.support.stack import CHAT, MESSAGES, House, Stack

CHANGED = 4
"""Characters at the end in which an id that nobody has differs."""


def secret_of(tenant: str) -> str:
    """What stands in all that it has, and nobody else may read."""
    return f"what-only-{tenant}-may-read"


@dataclass(frozen=True, slots=True)
class Belongings:
    """What one tenant has: ids and names by kind."""

    tenant: str
    of: Mapping[str, str]


def settle(house: House, tenant: str, adapter: str) -> None:
    """A tenant with an adapter in production, another alias, and a name of a vendor's for it; before a gateway runs."""
    house.tenant(tenant)
    version = house.publish(f"{tenant}/{adapter}")
    for alias in ("production", "canary"):
        house.point(f"{tenant}/{adapter}", str(version.version), alias)
    house.registry.model_names.map(tenant, f"ft:gpt-4o-mini:{tenant}::9", f"{tenant}/{adapter}")


def belongings(stack: Stack, tenant: str, adapter: str) -> Belongings:
    """One of each, made as its tenant makes it."""
    registry, secret = stack.house.registry, secret_of(tenant)

    def post(path: str, **body: object) -> dict[str, object]:
        document: dict[str, object] = stack.post(path, body, key=tenant).raise_for_status().json()
        return document

    message = {"role": "user", "content": secret}
    conversation = post("/v1/conversations", items=[message], metadata={"note": secret})
    turn = post("/v1/responses", model=adapter, input=secret, max_output_tokens=4)
    answer = post(CHAT, model=adapter, messages=MESSAGES, max_tokens=4)
    stack.house.usage_of(str(answer["id"]).partition("-")[2])
    said = post("/v1/feedback", response_id=answer["id"], metric="stars", value=3, idempotency_key=f"key-of-{tenant}")
    upload = post("/v1/uploads", filename=secret, purpose="fine-tune", bytes=3, mime_type="text/jsonl")
    headers = {"Authorization": f"Bearer {stack.house.keys[tenant]}"}
    part = stack.http.post(f"{stack.url}/v1/uploads/{upload['id']}/parts", files={"data": b"abc"}, headers=headers)
    file = registry.files.create(tenant, f"{secret}.jsonl", "fine-tune", [secret.encode()])
    order = JobOrder(tenant, "tiny", "tiny", file.id, adapter=adapter, suffix="more")
    job = registry.training.create(order)
    claim = registry.training.claim(f"worker-of-{tenant}", 600.0)
    assert claim is not None
    assert claim.job.id == job.id
    checkpoint = registry.training.checkpoint(job.id, f"worker-of-{tenant}", 1, {"loss": 1.0})
    endpoint, _ = registry.webhooks.create(tenant, secret, "https://example.com/hook")
    kept = stack.http.get(f"{stack.url}/v1/conversations/{conversation['id']}/items", headers=headers).json()["data"]
    (version,) = registry.adapters.all(tenant)
    return Belongings(
        tenant,
        {
            "model": f"{tenant}/{adapter}",
            "short model": adapter,
            "version": f"{tenant}/{adapter}@1.0",
            "alias": f"{tenant}/{adapter}@canary",
            "external model": f"ft:gpt-4o-mini:{tenant}::9",
            "name on engines": f"a-{version.manifest_digest[7:23]}-1",
            "digest": version.manifest_digest,
            "tenant": tenant,
            "answer": str(answer["id"]),
            "response": str(turn["id"]),
            "item": str(turn["output"][0]["id"]),  # type: ignore[index]
            "conversation": str(conversation["id"]),
            "conversation item": str(kept[0]["id"]),
            "feedback": str(said["id"]),
            "file": file.id,
            "upload": str(upload["id"]),
            "part": str(part.raise_for_status().json()["id"]),
            "job": job.id,
            "event": registry.training.events(tenant, job.id, None, 1)[0].id,
            "checkpoint": checkpoint.id,
            "endpoint": endpoint.id,
        },
    )


def nobodys(name: str) -> str:
    """One of the same form that nobody has: other letters for the last four letters, other digits for digits."""
    kept, changed = name[:-CHANGED], name[-CHANGED:]
    return kept + "".join(map(_other, changed))


def twins(name: str) -> list[str]:
    """All that nobody has and looks like it: of a tenant's model also one of a tenant that is nobody."""
    tenant, slash, adapter = name.partition("/")
    return [nobodys(name), *([f"{nobodys(tenant)}/{adapter}"] if slash else [])]


def _other(char: str) -> str:
    for alphabet in (string.digits, "abcdef", "ghijklmnopqrstuvwxyz"):
        if char in alphabet:
            return alphabet[(alphabet.index(char) + 1) % len(alphabet)]
    return char
