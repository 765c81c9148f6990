"""The two sample tenants of `switchyard up`: their adapters, keys and prices, put into the registry once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.api.dialects import DIALECTS
from registry.names import AdapterRef
from registry.service import Registry
from registry.swaps.infos import DONE
from registry.tenants.store import SCOPES


@dataclass(frozen=True, slots=True)
class Sample:
    """One task of `examples/`. `request` is a body that shows it, on a row that the adapter has not seen."""

    tenant: str
    adapter: str
    folder: str
    path: str
    request: dict[str, Any]

    @property
    def model(self) -> str:
        """The name to call it by."""
        return f"{self.tenant}/{self.adapter}"


def samples(examples: Path) -> list[Sample]:
    """Both samples."""
    ticket = _first_heldout_row(examples, "triage")
    review = _first_heldout_row(examples, "sentiment")
    return [
        Sample(
            "acme", "triage", "triage", DIALECTS["chat"].path, {"messages": ticket["messages"][:-1], "max_tokens": 32}
        ),
        Sample(
            "globex",
            "sentiment",
            "sentiment",
            DIALECTS["completions"].path,
            {"prompt": review["prompt"], "max_tokens": 8},
        ),
    ]


def _first_heldout_row(examples: Path, folder: str) -> dict[str, Any]:
    with (examples / folder / "heldout.jsonl").open() as rows:
        row: dict[str, Any] = json.loads(rows.readline())
    return row


def provision(registry: Registry, examples: Path, base: str, keys_file: Path) -> dict[str, str]:
    """Create what is missing and return tenant → key. Doing it again changes nothing."""
    known = {tenant.name for tenant in registry.tenants.all()}
    for sample in samples(examples):
        if sample.tenant not in known:
            registry.tenants.create(sample.tenant)
        published = registry.adapters.publish(
            tenant=sample.tenant,
            adapter=sample.adapter,
            folder=examples / sample.folder / "adapter",
            base=base,
            lineage={"source": "examples", "recipe": (examples / sample.folder / "recipe.toml").read_text()},
        )
        if not registry.adapters.history(AdapterRef(sample.tenant, sample.adapter, None, None)):
            ref = AdapterRef(sample.tenant, sample.adapter, published.version.version, None)
            swap = registry.swaps.request(ref, actor="switchyard up", reason="sample")
            registry.swaps.flip(swap.id)  # nothing serves yet: the gateway loads what aliases point at when it starts
            registry.swaps.advance(swap.id, DONE)
    return _keys(registry, keys_file, [sample.tenant for sample in samples(examples)])


def _keys(registry: Registry, keys_file: Path, tenants: list[str]) -> dict[str, str]:
    """Sample keys are kept in a file of mode 600, because the registry holds only their hashes."""
    live = {key.id for key in registry.tenants.list_keys() if key.revoked_at_ms is None}
    stored: dict[str, dict[str, str]] = json.loads(keys_file.read_text()) if keys_file.exists() else {}
    for tenant in tenants:
        if stored.get(tenant, {}).get("id") not in live:
            key = registry.tenants.create_key(tenant, label="sample", scopes=SCOPES)
            stored[tenant] = {"id": key.id, "secret": key.secret}
    keys_file.touch(mode=0o600)
    keys_file.write_text(json.dumps(stored, indent=2))
    return {tenant: stored[tenant]["secret"] for tenant in tenants}
