"""`switchyard ledger archive|archives|restore`: attempts that are too old to be asked for every day."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import typer

from registry.errors import InvalidInput
from switchyard.commands.asking import step_bar
from switchyard.console import print_json, print_table, say
from switchyard.options import JsonFlag
from switchyard.registry_access import open_registry

if TYPE_CHECKING:
    from registry.service import Registry

AGE = re.compile(r"(\d{1,5})d?")


def archive_ledger(
    older_than: str | None = typer.Option(
        None, "--older-than", help="Days, such as 90d; default: the setting archive_usage_after_days."
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Only say what would be archived."),
    json_output: bool = JsonFlag,
) -> None:
    """Move old attempts from the database to Parquet files in the object storage; sums by day stay.

    Whole UTC days, in files that are read back and held against the ledger before a row is removed. It can be stopped
    and begun again at any time, also by several at once. Days of `ledger restore` are left for 30 days.
    """
    from registry.archive.store import before_of

    with open_registry() as registry:
        before_ms = before_of(_days_of(older_than, registry.settings.archive_usage_after_days))
        if dry_run:
            days = registry.archives.attempts_before(before_ms)
            document = {"days": [{"day": day, "attempts": attempts} for day, attempts in days]}
            print_json(document) if json_output else _print_days(days)
            return
        with step_bar("attempts archived") as bar:
            made = list(registry.archives.archive(before_ms, bar))
    attempts = sum(one.attempts for one in made)
    if json_output:
        print_json({"attempts": attempts, "archives": made})
    else:
        say(f"archived {attempts} attempts in {len(made)} files" if made else "nothing is old enough to be archived")


def archives_ledger(json_output: bool = JsonFlag) -> None:
    """Show the archives: which days, how many attempts, and whether they were brought back."""
    with open_registry() as registry:
        known = registry.archives.all()
    if json_output:
        print_json({"archives": known})
        return
    print_table(
        ("DAY", "ATTEMPTS", "CORRECTIONS", "BYTES", "RESTORED", "FILE"),
        (
            (one.date, one.attempts, one.corrections, one.size_bytes, "yes" if one.restored_at_ms else "no", one.name)
            for one in known
        ),
        empty="nothing is archived",
    )


def restore_ledger(
    archive: str = typer.Argument(help="A file of `ledger archives`, or a month or day: YYYY-MM, YYYY-MM-DD."),
    json_output: bool = JsonFlag,
) -> None:
    """Bring attempts back to the database, where they stay for 30 days at least; the files stay too."""
    with open_registry() as registry:
        wanted = registry.archives.named(archive)
        with step_bar("archives brought back") as bar:
            brought = registry.archives.restore(wanted, bar)
    attempts = sum(one.attempts for one in brought)
    if json_output:
        print_json({"attempts": attempts, "archives": brought})
    elif brought:
        say(f"brought back {attempts} attempts of {len(brought)} files")
    else:
        say("its attempts are back already")


def verified_archives(registry: Registry) -> tuple[int, list[str]]:
    """How many archives are not brought back, and what is wrong with them; every one is read."""
    known = sum(one.restored_at_ms is None for one in registry.archives.all())
    with step_bar("archives read") as bar:
        return known, registry.archives.verify(bar)


def _days_of(given: str | None, setting: int | None) -> int:
    """Raises `InvalidInput`."""
    if given is None:
        if setting is None:
            raise InvalidInput(
                "nothing says what is old: name it with --older-than 90d, or set archive_usage_after_days",
                param="older_than",
            )
        return setting
    found = AGE.fullmatch(given)
    if found is None:
        raise InvalidInput(f"older_than is {given[:40]!r}; expected days, such as 90d", param="older_than")
    return int(found[1])


def _print_days(days: list[tuple[str, int]]) -> None:
    print_table(("DAY", "ATTEMPTS"), days, empty="nothing is old enough to be archived")
