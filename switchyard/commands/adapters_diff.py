"""`switchyard adapters diff`: what changed between two versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import typer

from registry.names import parse_ref
from switchyard.console import print_json, print_table, say
from switchyard.options import JsonFlag
from switchyard.registry_access import open_registry

if TYPE_CHECKING:
    from registry.adapters.comparing import OldAndNew, VersionDiff

SHOWN_LINES = 10
"""Lines of rows that are named; --json has all."""


def diff(
    older: str = typer.Argument(help="tenant/adapter@1.0 or tenant/adapter@alias."),
    newer: str = typer.Argument(help="The version to compare it with."),
    json_output: bool = JsonFlag,
) -> None:
    """Show what changed from one version to another: rows, recipe, base, libraries, and what was measured."""
    with open_registry() as registry:
        from registry.adapters.comparing import compare_versions

        first, second = (registry.adapters.get(parse_ref(name)) for name in (older, newer))
        found = compare_versions(first, second, registry.version_files)
    if json_output:
        print_json(found.document())
        return
    say(f"{found.older} → {found.newer}")
    _print_rows(found)
    if found.base:
        say(f"base     {found.base.older} → {found.base.newer}")
    if found.recipe:
        say("recipe", *(f"  {line}" for line in found.recipe[2:] if not line.startswith("@@")))
    changed = {**_named("facts", found.facts), **_named("libraries", found.libraries), **_named("", found.metrics)}
    if changed:
        say("")
        print_table(
            ("OF", "OLDER", "NEWER", "CHANGE"),
            [(name, _shown(pair.older), _shown(pair.newer), _change(pair)) for name, pair in changed.items()],
        )
    elif not (found.recipe or found.base or (found.rows and (found.rows.added or found.rows.removed))):
        say("nothing else differs")


def _print_rows(found: VersionDiff) -> None:
    rows = found.rows
    if rows is None:
        say(f"rows     unknown: {found.why_no_rows}")
    else:
        counts = f"{len(rows.added)} added, {len(rows.removed)} removed, {len(rows.changed)} changed, {rows.kept} kept"
        say(f"rows     {counts}")
        for word, lines, whose in (
            ("added", rows.added, found.newer),
            ("changed", rows.changed, found.newer),
            ("removed", rows.removed, found.older),
        ):
            if lines:
                more = ", …" if len(lines) > SHOWN_LINES else ""
                say(f"  {word}: lines {', '.join(map(str, lines[:SHOWN_LINES]))}{more} of {whose}'s training rows")
    if found.heldout_changed:
        say("heldout  other rows: what was measured is not of the same rows")


def _named(group: str, pairs: Mapping[str, OldAndNew]) -> dict[str, OldAndNew]:
    return {f"{group}.{name}" if group else name: pair for name, pair in pairs.items()}


def _shown(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return value


def _change(pair: OldAndNew) -> str | None:
    older, newer = pair.older, pair.newer
    if all(isinstance(one, int | float) and not isinstance(one, bool) for one in (older, newer)):
        return f"{newer - older:+.6g}"
    return None
