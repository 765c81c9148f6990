"""`switchyard ledger reconcile`: the ledger against the engines' own counters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from registry.days import when, window_ms
from switchyard.console import print_json, print_table, say
from switchyard.options import JsonFlag
from switchyard.registry_access import open_registry

if TYPE_CHECKING:
    from gateway.cost.reconcile import Balance

SHIPPING_MS = 5_000
"""What ended more recently may not have been shipped to the ledger yet."""


def reconcile_ledger(
    since: str | None = typer.Option(None, "--from", help="First day, YYYY-MM-DD (UTC); default: the beginning."),
    until: str | None = typer.Option(None, "--until", help="YYYY-MM-DD (UTC), exclusive; default: five seconds ago."),
    json_output: bool = JsonFlag,
) -> None:
    """Compare the ledger with what engines counted, and explain the difference; exit status 1 when some is left.

    Readings are kept at the first and the last moment that a controller saw a boot, and once a minute between. What an
    engine did before its first reading or after its last is not compared.
    """
    from gateway.cost.reconcile import Tokens, reconcile
    from registry.db import now_ms

    with open_registry() as registry:
        balances = reconcile(registry.readings, *window_ms(since, until, (0, now_ms() - SHIPPING_MS)))
    print_json(balances) if json_output else _print(balances)
    if any(one.unexplained != Tokens() for one in balances):
        raise typer.Exit(1)


def _print(balances: list[Balance]) -> None:
    for one in balances:
        say(f"{one.engine}, booted {when(one.boot_ms)}: {when(one.since_ms)} to {when(one.until_ms)}")
        print_table(
            ("", "PROMPT", "COMPLETION", "ATTEMPTS"),
            (
                ("counted by the engine", one.counted.prompt, one.counted.completion, one.attempts),
                ("tenants", one.tenants.prompt, one.tenants.completion, None),
                ("read again for more answers", one.reread.prompt, one.reread.completion, None),
                ("our probes", one.system.prompt, one.system.completion, None),
                ("after aborts", one.abort_overrun.prompt, one.abort_overrun.completion, one.broken_off),
                ("in flight at a reading", one.in_flight.prompt, one.in_flight.completion, one.overlapping),
                ("lost with a process", one.lost.prompt, one.lost.completion, one.unrecorded),
                ("UNEXPLAINED", one.unexplained.prompt, one.unexplained.completion, None),
            ),
        )
        say()
    if not balances:
        say("no engine was read twice in this window; a running gateway reads each once a minute")
