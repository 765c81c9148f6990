"""`switchyard audit`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from registry.days import day_ms, when
from switchyard.console import print_json, print_table, say
from switchyard.options import JsonFlag
from switchyard.registry_access import open_registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registry.audit.store import AuditEntry
    from registry.heads import Head

audit = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Show who ordered what and what it changed, and prove that nobody has touched the log.",
)


@audit.command("list")
def list_orders(
    tenant: str | None = typer.Option(None, "--tenant", help="Only what concerns this tenant."),
    actor: str | None = typer.Option(None, "--actor", help="Only orders of this operator or user."),
    object_: str | None = typer.Option(
        None, "--object", help="Only what is about this: acme/triage finds acme/triage@1.1 too."
    ),
    since: str | None = typer.Option(None, "--since", help="First day, YYYY-MM-DD (UTC)."),
    limit: int = typer.Option(50, "--limit", min=1, max=10_000, help="How many, the newest first."),
    json_output: bool = JsonFlag,
) -> None:
    """List orders, the newest first."""
    with open_registry() as registry:
        from registry.audit.store import Wanted

        wanted = Wanted(tenant, actor, object_, None if since is None else day_ms(since, "since"))
        entries = registry.audit.page(wanted, None, limit)
    if json_output:
        print_json(entries)
        return
    print_table(
        ("ID", "AT", "WHO", "FROM", "ORDER", "ABOUT", "OUTCOME", "CHANGED"),
        (
            (
                entry.id,
                when(entry.at_ms),
                entry.actor,
                entry.address or "command line",
                _order(entry),
                entry.object or None,
                entry.outcome if entry.error is None else f"{entry.outcome}: {entry.error}",
                _changed(entry),
            )
            for entry in entries
        ),
        empty="no order yet",
    )


@audit.command("show")
def show_order(
    id_: int = typer.Argument(metavar="ID", help="As `audit list` shows it."), json_output: bool = JsonFlag
) -> None:
    """Show one order with every row that it changed, before and after."""
    with open_registry() as registry:
        entry = registry.audit.get(id_)
    if json_output:
        print_json(entry)
        return
    say(*_lines(entry))


@audit.command("heads")
def show_heads(json_output: bool = JsonFlag) -> None:
    """Show where the audit log, decisions, prices, engine costs and usage end, for `verify --heads`."""
    with open_registry() as registry:
        heads = registry.heads.all()
    if json_output:
        print_json([head._asdict() for head in heads])
    else:
        say(*(str(head) for head in heads))


@audit.command("verify")
def verify(
    heads: Path | None = typer.Option(
        None,
        "--heads",
        exists=True,
        dir_okay=False,
        help="A file in which heads stand, as `audit heads` or a gateway's log tells them: proves too that no log has "
        "lost its end since.",
    ),
    json_output: bool = JsonFlag,
) -> None:
    """Prove that each line is what was written, and that none is missing."""
    with open_registry() as registry:
        proof = registry.audit.prove()
        known = [] if heads is None else _read_heads(heads)
        faults = (*proof.faults, *registry.heads.faults(known))
    if json_output:
        print_json({"lines": proof.lines, "heads": len(known), "faults": faults})
    else:
        beside = f", and no log is shorter than any of {len(known)} heads says" if known else ""
        say(*faults) if faults else say(f"{proof.lines} lines are as they were written{beside}")
    if faults:
        raise typer.Exit(1)


def _read_heads(path: Path) -> list[Head]:
    """Raises `InvalidInput` for a file without any."""
    from registry.errors import InvalidInput
    from registry.heads import heads_in

    known = heads_in(path.read_text(errors="replace"))
    if not known:
        raise InvalidInput(
            f"heads is {str(path)!r}, in which no head stands (head:audit#57=1f0c…); `switchyard audit heads` shows "
            "some, and a gateway's log has lines `logs end with …`",
            param="heads",
        )
    return known


def _order(entry: AuditEntry) -> str:
    return entry.route if entry.method is None else f"{entry.method} {entry.path}"


def _changed(entry: AuditEntry) -> str | None:
    tables = dict.fromkeys(change.table for change in entry.changes)
    rows = len(entry.changes) + entry.rows_untold
    return f"{rows} of {', '.join(tables)}" if rows else None


def _lines(entry: AuditEntry) -> Iterator[str]:
    yield f"{_order(entry)} by {entry.actor}" + (f" ({entry.key_id})" if entry.key_id else "")
    yield f"  at       {when(entry.at_ms)}" + (f" from {entry.address}" if entry.address else "")
    yield f"  about    {entry.object or '–'}"
    yield f"  outcome  {entry.outcome}" + (f": {entry.error}" if entry.error else "")
    for name, value in entry.body.items():
        yield f"  {name} = {value!r}"
    for change in entry.changes:
        yield f"  {change.table} {change.key}" + (f" ({', '.join(change.statements)})" if change.statements else "")
        for name in {**(change.before or {}), **(change.after or {})}:
            before, after = (side.get(name) if side is not None else None for side in (change.before, change.after))
            yield f"    {name}: {before!r} → {after!r}"
    if entry.rows_untold:
        yield f"  and {entry.rows_untold} more rows"
