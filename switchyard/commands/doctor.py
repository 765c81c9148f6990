"""`switchyard doctor`: what is there, what is known to be wrong with it, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from registry.words import many
from switchyard.console import print_json, print_table, say
from switchyard.options import JsonFlag

if TYPE_CHECKING:
    from gateway.checks import Check


def doctor(
    isolation: bool = typer.Option(
        False,
        "--isolation",
        help="Also ask each engine whether adapters and base stay apart; from some seconds to two minutes each.",
    ),
    defects: bool = typer.Option(
        False,
        "--defects",
        help="Also list what is known to be wrong with each engine's vLLM, and what is done about it.",
    ),
    json_output: bool = JsonFlag,
) -> None:
    """Check wheels, CPU, memory, ports, base model and running engines; say what to do about each finding."""
    from gateway.doctor import examine_installation

    found = examine_installation(isolation=isolation)
    if json_output:
        print_json([_document(check) for check in found])
    else:
        _print(found, defects=defects)
    if not all(check.ok for check in found):
        raise typer.Exit(1)


def _document(check: Check) -> dict[str, Any]:
    """A check for scripts; defects as what people need to know of them."""
    defects = [
        {"name": defect.name, "effect": defect.effect, "cure": defect.cure, "upstream": defect.upstream}
        for defect in check.defects
    ]
    return {**asdict(check), "remedy": None if check.ok else check.remedy, "defects": defects}


def _print(found: Sequence[Check], *, defects: bool) -> None:
    print_table(
        ("CHECK", "", "FOUND", "WHAT TO DO"),
        ((check.name, "ok" if check.ok else "!!", check.found, "" if check.ok else check.remedy) for check in found),
    )
    for check in found:
        if check.defects and defects:
            say("", f"Known defects of {check.name}, {check.found}:")
            print_table(
                ("DEFECT", "WHAT HAPPENS", "WHAT WE DO", "UPSTREAM"),
                ((defect.name, defect.effect, defect.cure, defect.upstream) for defect in check.defects),
            )
    known = len({defect.name for check in found for defect in check.defects})
    if known and not defects:
        say("", f"{many(known, 'defect')} of vLLM known and worked around: `switchyard doctor --defects` lists them")
    wrong = sum(not check.ok for check in found)
    say(
        "", f"To be done: what stands beside {wrong} of {many(len(found), 'check')}" if wrong else "Nothing to be done."
    )
