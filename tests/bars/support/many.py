"""A registry with many adapters of several tenants, and where each version's files lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from loadtest.folders import write_adapter, write_proof
from tests.support.adapter_folders import TinyBase
from tests.support.stack import BASE, House, proof


@dataclass(frozen=True, slots=True)
class Published:
    """An adapter whose production alias points at its version 1.0."""

    tenant: str
    name: str
    versions: tuple[str, ...]
    """Full names, oldest first."""

    @property
    def current(self) -> str:
        """What production points at in the beginning."""
        return self.versions[0]


def publish_many(
    house: House, tenants: int, adapters: int, *, every_second_version: int = 0, every_proven: int = 0
) -> tuple[list[Published], dict[str, Path]]:
    """Publish `adapters` adapters dealt out over new tenants, each n-th with a second version, or with effect proofs.

    Returns them, and version name → the folder that was published. A tenant's key opens its adapters and the base.
    """
    folders: dict[str, Path] = {}
    published = []
    names = [f"tenant-{number}" for number in range(tenants)]
    for tenant in names:
        house.registry.tenants.create(tenant)
        house.keys[tenant] = house.key(tenant, "inference", "base")
    for number in range(adapters):
        tenant, adapter = names[number % tenants], f"adapter-{number:03}"
        versions = []
        for minor in range(2 if every_second_version and number % every_second_version == 0 else 1):
            folder = write_adapter(
                house.folder / "sources" / f"{number}-{minor}",
                TinyBase().config,
                seed=1 + 2 * number + minor,
            )
            if every_proven and number % every_proven == 0:
                write_proof(folder, proof(seed=number % 8))
            done = house.registry.adapters.publish(
                tenant=tenant, adapter=adapter, folder=folder, base=BASE, lineage={"source": "bars"}
            )
            versions.append(done.version.name)
            folders[done.version.name] = folder
        house.point(f"{tenant}/{adapter}", "1.0")
        published.append(Published(tenant, f"{tenant}/{adapter}", tuple(versions)))
    return published, folders
