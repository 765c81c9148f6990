"""A version of an adapter as commands print it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from registry.words import size
from switchyard.console import print_json, say

if TYPE_CHECKING:
    from registry.adapters.store import Published
    from registry.adapters.version_rows import VersionInfo


def state_of(version: VersionInfo) -> str:
    """One word: may engines have it, and is its effect proven?"""
    if version.quarantined:
        return "quarantined"
    if version.proof is None:
        return "unproven"
    return "indistinguishable" if version.proof.indistinguishable else "ok"


def traffic_of(version: VersionInfo) -> str | None:
    """`canary, production 10 %`: the aliases that point here, and those of which a split sends a share."""
    names = sorted({*version.aliases, *version.shares})
    return ", ".join(f"{name} {version.shares[name]:g} %" if name in version.shares else name for name in names) or None


def effect_of(version: VersionInfo) -> str:
    """What is known of its effect, and how that could be more."""
    if version.proof is None:
        return f"not proven; `switchyard adapters prove {version.name}` measures it"
    how = "measured after the publish" if version.proof.attached else "published with it"
    return f"{version.proof.largest_effect:.2f} nats at most, {how}"


def version_fields(version: VersionInfo) -> dict[str, object]:
    """Everything, for scripts."""
    fields = {**asdict(version), "version": str(version.version), "name": version.name}
    if version.proof is not None:
        fields["proof"]["indistinguishable"] = version.proof.indistinguishable
    return fields


def print_published(published: Published, json_output: bool) -> None:
    """The outcome of a publish or an import."""
    version = published.version
    if json_output:
        print_json({**version_fields(version), "created": published.created})
    elif published.created:
        say(f"published {version.name} (rank {version.facts['rank']}, {size(version.facts['size_bytes'])})")
        if version.proof is None:
            say(f"it has no effect proof; measure one: switchyard adapters prove {version.name}")
        say(f"serve it: switchyard adapters promote {version.name}")
    else:
        say(f"these bytes are {version.name} already; nothing to publish")
