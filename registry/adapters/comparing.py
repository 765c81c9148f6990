"""What changed between two versions: rows, recipe, base, code, and what was measured. Read from what is published."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from registry.adapters.training_rows import RowChanges, parse_rows, row_changes
from registry.adapters.version_files import VersionFiles
from registry.adapters.version_rows import VersionInfo

MEASURED = ("steps", "trained_tokens", "train_loss", "train_rows", "train_copies", "heldout_rows", "heldout_seen")
"""Numbers of a lineage itself; those of its evaluation and validation are found by walking through them."""
MAX_METRICS = 200


@dataclass(frozen=True, slots=True)
class OldAndNew:
    """A value of both versions; None where one does not have it."""

    older: Any
    newer: Any


@dataclass(frozen=True, slots=True)
class VersionDiff:
    """`rows` is None where one of them has no keys of its rows, or they are of two tenants; `why_no_rows` says so.

    `recipe` are the lines of a unified diff. `facts`, `libraries` and `metrics` have what differs, by name.
    """

    older: str
    newer: str
    rows: RowChanges | None
    why_no_rows: str | None
    heldout_changed: bool | None
    recipe: tuple[str, ...]
    base: OldAndNew | None
    facts: Mapping[str, OldAndNew]
    libraries: Mapping[str, OldAndNew]
    metrics: Mapping[str, OldAndNew]

    def document(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def compare_versions(older: VersionInfo, newer: VersionInfo, files: VersionFiles) -> VersionDiff:
    """What changed from the older to the newer one; both may be any two versions."""
    before, after = older.lineage, newer.lineage
    rows, why = _rows(older, newer, files)
    return VersionDiff(
        older=older.name,
        newer=newer.name,
        rows=rows,
        why_no_rows=why,
        heldout_changed=_changed(before.get("heldout_sha256"), after.get("heldout_sha256")),
        recipe=tuple(_recipe_lines(older, newer)),
        base=None if older.base_digest == newer.base_digest else OldAndNew(older.base_digest, newer.base_digest),
        facts=_differing(older.facts, newer.facts),
        libraries=_differing(before.get("libraries") or {}, after.get("libraries") or {}),
        metrics=_differing(dict(_metrics(before)), dict(_metrics(after))),
    )


def _rows(older: VersionInfo, newer: VersionInfo, files: VersionFiles) -> tuple[RowChanges | None, str | None]:
    if older.tenant != newer.tenant:
        return None, "they are of two tenants, whose rows cannot be held against each other"
    found = []
    for version in (older, newer):
        data = files.training_rows(version.manifest_digest)
        if data is None:
            return None, f"{version.name} has no keys of its rows: it was not trained here, or has very many"
        found.append(parse_rows(data))
    return row_changes(*found), None


def _recipe_lines(older: VersionInfo, newer: VersionInfo) -> Iterator[str]:
    before, after = (str(version.lineage.get("recipe") or "").splitlines() for version in (older, newer))
    yield from difflib.unified_diff(before, after, older.name, newer.name, n=0, lineterm="")


def _metrics(lineage: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    named = {name: lineage.get(name) for name in (*MEASURED, "validation", "evaluation")}
    for at, found in enumerate(_numbers(named, "")):
        if at == MAX_METRICS:
            return
        yield found


def _numbers(value: Any, path: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, int | float):
        yield path, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _numbers(inner, f"{path}.{name}" if path else str(name))


def _differing(older: Mapping[str, Any], newer: Mapping[str, Any]) -> dict[str, OldAndNew]:
    return {
        name: OldAndNew(older.get(name), newer.get(name))
        for name in dict.fromkeys([*older, *newer])
        if older.get(name) != newer.get(name)
    }


def _changed(older: Any, newer: Any) -> bool | None:
    return None if older is None or newer is None else older != newer
